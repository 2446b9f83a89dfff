"""Validation: a table's predictions beside whole networks measured end to end.

    networks -> priced by the table? -> two passes, new processes -> ValidatedNetwork -> Validation

Each network is measured twice, the second time after all have had their first; no prediction can
be better than those two agree. Multiply-adds, the predictor that needs no device, are compared
beside the table. What was measured stays in the journal; `validation_history` reads it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import stats

from device_agents.measurement import Agent, Plan
from exporters.catalog import make_exporter
from exporters.exporter import Exporter
from latency_tables.errors import MissingLayers, NotMeasured, ValidationError
from latency_tables.fleet import Fleet
from latency_tables.floors import default_plan, session_floor
from latency_tables.granularity import granularity_of
from latency_tables.guards import require_known, require_same
from latency_tables.journal import JournalWriter
from latency_tables.measuring import Progress, export_models, measure_into, silent
from latency_tables.operator_pricing import predict_any
from latency_tables.predictor import Prediction
from latency_tables.table import LEVEL, LatencyTable
from networks.cells import CellNetwork
from networks.names import NamedNetwork, name_network
from networks.network import Network
from networks.spaces.space import NetworkSpace

Floats = npt.NDArray[np.float64]
Drawn = TypeVar("Drawn", Network, CellNetwork)
LEAST_NETWORKS = 3
DRAWS = 5  # of as many networks as are wanted, before a space is taken to be smaller
CHANCE = 0.01
"""Intervals do not hold where as few measurements inside would be rarer than this."""


@dataclass(frozen=True, slots=True)
class ValidatedNetwork:
    """One network: what the table says, what two passes measured, and its multiply-adds.

    ``interval_ms`` is where the table expects another session's value, 90 %; None where it cannot
    tell.
    """

    network: str
    predicted_ms: float
    first_ms: float
    second_ms: float
    madds: int
    interval_ms: tuple[float, float] | None = None

    @property
    def measured_ms(self) -> float:
        """Mean of the two passes."""
        return (self.first_ms + self.second_ms) / 2

    @property
    def error_pct(self) -> float:
        """(predicted - measured) / measured, in percent."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)

    @property
    def inside(self) -> float | None:
        """Share of the two measurements that lie in the interval: 0, 0.5 or 1."""
        if self.interval_ms is None:
            return None
        low, high = self.interval_ms
        return sum(low <= value <= high for value in (self.first_ms, self.second_ms)) / 2


@dataclass(frozen=True, slots=True)
class Validation:
    """How predictions compare with measurements.

    mape_pct, bias_pct      mean of |error| and of error, relative to the measured latency
    spearman, kendall       rank correlations of predicted and measured
    repeatability_pct       median over networks of |first - second| / mean
    passes_pct              median of second / first - 1: what all networks shared between passes
    inside_pct              share of measurements in their 90 % intervals; None where the table
                            gives none
    madds_mape_pct          the error of the best factor times multiply-adds
    madds_spearman          and their rank correlation
    points                  the networks; ``failed`` those that could not be measured, and
                            ``unpriced`` those that the table cannot price, and why
    """

    networks: int
    mape_pct: float
    bias_pct: float
    spearman: float
    kendall: float
    repeatability_pct: float
    passes_pct: float
    inside_pct: float | None
    madds_mape_pct: float
    madds_spearman: float
    points: tuple[ValidatedNetwork, ...]
    failed: Mapping[str, str]
    unpriced: Mapping[str, str]

    @property
    def worst(self) -> ValidatedNetwork:
        """The network with the largest error."""
        return max(self.points, key=lambda point: abs(point.error_pct))

    @property
    def intervals_hold(self) -> bool:
        """Whether as many measurements lie in their 90 % intervals as chance allows.

        They do not where 90 % would give so few of that many networks in less than 1 % of cases;
        a network's two passes count as one. True where the table gives no intervals.
        """
        if self.inside_pct is None:
            return True
        inside = self.networks * self.inside_pct / 100
        return bool(stats.binom.cdf(inside, self.networks, LEVEL) >= CHANCE)


def validate(
    agent: Agent,
    table: LatencyTable,
    networks: Mapping[str, NamedNetwork],
    journal: Path,
    *,
    plan: Plan | None = None,
    seed: int = 0,
    exporter: Exporter | None = None,
    tool_version: str = "",
    progress: Progress | None = None,
) -> Validation:
    """Measure these networks, by name, and compare the table with them.

    Visits go into the journal as validation; the table's rows and scale never see them. A network
    that the table cannot price is not measured, and named with the reason.

    Raises:
        ConditionMismatch: the agent measures under another condition than the table's.
        DeviceSwapped: another device answers at the address of the table's.
        Uncalibrated: the table has no scale.
        ValidationError: fewer than 3 networks are priced, or could be measured.
    """
    exporter = exporter or make_exporter(precision=table.condition.precision, seed=seed)
    plan = plan or default_plan(agent, table.condition.method)
    condition = agent.condition(precision=table.condition.precision, plan=plan)
    require_same(f"validate {table.name!r}", table.condition, condition)
    predicted, unpriced = price_networks(table, networks)
    chosen = {name: networks[name] for name in predicted}
    report = progress or silent
    with tempfile.TemporaryDirectory(prefix="hilnas-") as work, JournalWriter.open(journal) as log:
        models = export_models(
            [],
            list(chosen.values()),
            Path(work),
            seed,
            exporter,
            silent,
            granularity_of(table),
        )
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
    for (model, _), (name, network) in zip(models, chosen.items(), strict=True):
        try:
            first, second = (
                session_floor(made.get(model.sha256, ()), condition, plan, pace_ns=pace_ns).hot_ns
                / 1e6
                for made in passes
            )
        except NotMeasured as error:
            failed[name] = str(error)
        else:
            points.append(validated(name, predicted[name], first, second, network.madds))
    return compare(points, failed=failed, unpriced=unpriced)


def draw_networks(
    space: NetworkSpace[Drawn], n: int, *, seed: int, table: LatencyTable | None = None
) -> tuple[Drawn, ...]:
    """Return up to ``n`` different networks of the space, uniform over networks, in drawn order.

    Those that the table was calibrated with are not among them; a space that holds fewer gives
    fewer.
    """
    rng = np.random.default_rng(seed)
    known = set() if table is None else {network.label for network in table.networks}
    drawn: dict[Drawn, None] = {}
    for _ in range(DRAWS):
        rows = space.sample(n, rng, uniform_over="networks")
        drawn |= dict.fromkeys(
            network for network in map(space.decode, rows) if name_network(network) not in known
        )
        if len(drawn) >= n:
            break
    return tuple(drawn)[:n]


def price_networks(
    table: LatencyTable, networks: Mapping[str, NamedNetwork]
) -> tuple[dict[str, Prediction], dict[str, str]]:
    """Return the prediction of each network that the table prices, and why it does not others.

    Raises:
        Uncalibrated: the table has no scale.
        ValidationError: fewer than 3 are priced.
    """
    predicted: dict[str, Prediction] = {}
    unpriced: dict[str, str] = {}
    for name, network in networks.items():
        try:
            predicted[name] = predict_any(table, network)
        except MissingLayers as error:
            unpriced[name] = str(error)
    if len(predicted) < LEAST_NETWORKS:
        raise ValidationError(
            f"expected {LEAST_NETWORKS} networks or more that table {table.name!r} prices, found"
            f" {len(predicted)} of {len(networks)}"
            + "".join(f"; {name}: {why}" for name, why in list(unpriced.items())[:1])
        )
    return predicted, unpriced


def validated(
    name: str, prediction: Prediction, first_ms: float, second_ms: float, madds: int
) -> ValidatedNetwork:
    """Return a prediction beside what two passes measured."""
    return ValidatedNetwork(
        name, prediction.latency_ms, first_ms, second_ms, madds, prediction.interval()
    )


def compare(
    points: Sequence[ValidatedNetwork],
    *,
    failed: Mapping[str, str] | None = None,
    unpriced: Mapping[str, str] | None = None,
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
    inside = [point.inside for point in points if point.inside is not None]
    return Validation(
        networks=len(points),
        mape_pct=100 * float(np.abs(error).mean()),
        bias_pct=100 * float(error.mean()),
        spearman=float(stats.spearmanr(predicted, measured).statistic),
        kendall=float(stats.kendalltau(predicted, measured).statistic),
        repeatability_pct=100 * float(np.median(np.abs(first - second) / measured)),
        passes_pct=100 * float(np.median(second / first - 1)),
        inside_pct=100 * float(np.mean(inside)) if len(inside) == len(points) else None,
        madds_mape_pct=100 * _best_scaled_error(madds, measured),
        madds_spearman=float(stats.spearmanr(madds, measured).statistic),
        points=tuple(points),
        failed=dict(failed or {}),
        unpriced=dict(unpriced or {}),
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
