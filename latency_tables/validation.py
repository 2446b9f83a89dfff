"""Validation: a table's predictions beside whole networks measured end to end.

Each network is measured twice by new processes, the second time after all have had their first;
no prediction can be better than those two agree. Multiply-adds, the predictor that needs no
device, are compared beside the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from device_agents.measurement import Agent, Plan
from exporters.catalog import make_exporter
from exporters.exporter import Exporter
from latency_tables.errors import NotMeasured, ValidationError
from latency_tables.fleet import Fleet
from latency_tables.floors import default_plan, session_floor
from latency_tables.guards import require_known, require_same
from latency_tables.journal import JournalWriter
from latency_tables.measuring import Progress, export_models, measure_into, silent
from latency_tables.predictor import predict_network
from latency_tables.table import LatencyTable
from networks.network import Network

Floats = npt.NDArray[np.float64]
LEAST_NETWORKS = 3


@dataclass(frozen=True, slots=True)
class ValidatedNetwork:
    """One network: what the table says, what two passes measured, and its multiply-adds."""

    network: str
    predicted_ms: float
    first_ms: float
    second_ms: float
    madds: int

    @property
    def measured_ms(self) -> float:
        """Mean of the two passes."""
        return (self.first_ms + self.second_ms) / 2

    @property
    def error_pct(self) -> float:
        """(predicted - measured) / measured, in percent."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)


@dataclass(frozen=True, slots=True)
class Validation:
    """How predictions compare with measurements.

    mape_pct, bias_pct      mean of |error| and of error, relative to the measured latency
    spearman, kendall       rank correlations of predicted and measured
    repeatability_pct       median over networks of |first - second| / mean
    madds_mape_pct          the same for the best factor times multiply-adds
    madds_spearman          and their rank correlation
    points                  the networks; ``failed`` those that could not be measured, and why
    """

    networks: int
    mape_pct: float
    bias_pct: float
    spearman: float
    kendall: float
    repeatability_pct: float
    madds_mape_pct: float
    madds_spearman: float
    points: tuple[ValidatedNetwork, ...]
    failed: Mapping[str, str]

    @property
    def worst(self) -> ValidatedNetwork:
        """The network with the largest error."""
        return max(self.points, key=lambda point: abs(point.error_pct))


def validate(
    agent: Agent,
    table: LatencyTable,
    networks: Mapping[str, Network],
    journal: Path,
    *,
    plan: Plan | None = None,
    seed: int = 0,
    exporter: Exporter | None = None,
    tool_version: str = "",
    progress: Progress | None = None,
) -> Validation:
    """Measure these networks, by name, and compare the table with them.

    Visits go into the journal as validation; the table's rows and scale never see them.

    Raises:
        ConditionMismatch: the agent measures under another condition than the table's.
        DeviceSwapped: another device answers at the address of the table's.
        MissingLayers: the table does not price a layer of one of them.
        ValidationError: fewer than 3 networks could be measured.
    """
    exporter = exporter or make_exporter(precision=table.condition.precision, seed=seed)
    plan = plan or default_plan(agent, table.condition.method)
    condition = agent.condition(precision=table.condition.precision, plan=plan)
    require_same(f"validate {table.name!r}", table.condition, condition)
    predicted_ms = {
        name: predict_network(table, network).latency_ms for name, network in networks.items()
    }
    report = progress or silent
    with tempfile.TemporaryDirectory(prefix="hilnas-") as work, JournalWriter.open(journal) as log:
        models = export_models([], list(networks.values()), Path(work), seed, exporter, silent)
        require_known(agent, log)
        log.name(model for model, _ in models)
        pace_ns = log.pace_ns(condition)
        passes = [
            measure_into(
                log, Fleet(agent), [file for _, file in models], plan, condition=condition,
                purpose="validate", seed=seed + number, tool_version=tool_version,
                deadline_s=None,
                progress=_one_of_two(report, number),
            )
            for number in range(2)
        ]  # fmt: skip
    points, failed = [], {}
    for (model, _), (name, network) in zip(models, networks.items(), strict=True):
        try:
            first, second = (
                session_floor(made.get(model.sha256, ()), condition, plan, pace_ns=pace_ns).hot_ns
                / 1e6
                for made in passes
            )
        except NotMeasured as error:
            failed[name] = str(error)
        else:
            points.append(ValidatedNetwork(name, predicted_ms[name], first, second, network.madds))
    return compare(points, failed=failed)


def compare(
    points: Sequence[ValidatedNetwork], *, failed: Mapping[str, str] | None = None
) -> Validation:
    """Return the figures of these networks.

    Raises:
        ValidationError: fewer than 3, or all of them predicted or measured alike.
    """
    if len(points) < LEAST_NETWORKS:
        why = "; ".join(f"{name}: {reason}" for name, reason in (failed or {}).items())
        raise ValidationError(
            f"expected {LEAST_NETWORKS} networks or more, measured {len(points)}"
            + (f" ({why})" if why else "")
        )
    predicted, measured, first, second, madds = (
        np.array([getattr(point, name) for point in points], dtype=np.float64)
        for name in ("predicted_ms", "measured_ms", "first_ms", "second_ms", "madds")
    )
    if min(len(np.unique(values)) for values in (predicted, measured, madds)) < 2:
        raise ValidationError("expected networks of different latencies, found all alike")
    error = predicted / measured - 1
    return Validation(
        networks=len(points),
        mape_pct=100 * float(np.abs(error).mean()),
        bias_pct=100 * float(error.mean()),
        spearman=float(stats.spearmanr(predicted, measured).statistic),
        kendall=float(stats.kendalltau(predicted, measured).statistic),
        repeatability_pct=100 * float(np.median(np.abs(first - second) / measured)),
        madds_mape_pct=100 * _best_scaled_error(madds, measured),
        madds_spearman=float(stats.spearmanr(madds, measured).statistic),
        points=tuple(points),
        failed=dict(failed or {}),
    )


def _one_of_two(report: Progress, number: int) -> Progress:
    """Return the progress of one pass, told as a half of the whole."""
    return lambda done, total, text: report(
        number * total + done, 2 * total, f"pass {number + 1} of 2: {text}"
    )


def _best_scaled_error(values: Floats, measured: Floats) -> float:
    """Return the least mean |c value / measured - 1| over all factors c.

    The error is piecewise linear in c with its corners at measured / value: one is the least.
    """
    corners = measured / values
    errors = np.abs(corners[:, None] * (values / measured) - 1).mean(axis=1)
    return float(errors.min())
