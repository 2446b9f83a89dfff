"""Transfer: a table for a new device in minutes, from tables of other conditions and few layers.

    priors --> in which order --> profile a few layers, to learn the pace --> profile as many more
    as fit --> predict what is left, flagged --> calibrate with whole networks --> publish

Each session is an ordinary profile into the journal, so that a later profile goes on from it and
replaces predictions by measurements.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from device_agents.measurement import Agent, ResidentPlan
from latency_tables.conformal import MEAN_ERROR, expected_errors
from latency_tables.errors import NotMeasured, TableNotFound
from latency_tables.features import features_of
from latency_tables.journal import JournalWriter
from latency_tables.layer_model import LayerModel, fit_layers
from latency_tables.measuring import Progress, silent
from latency_tables.missing import (
    LEAST_ROWS,
    predicted_layers,
    predicted_rows,
    prior_ms,
    with_predictions,
)
from latency_tables.plan_time import forecast, format_duration, plan_time
from latency_tables.profile import ProfileResult, Request, profile
from latency_tables.selection import Selection, layer_weights, select_layers
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.layers import Layer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Of the time that is left, what a session's visits may take by plan: the first before anything is
# known of the device's pace; a session that its deadline cuts short gives nothing.
FIRST_SHARE, SECOND_SHARE = 1 / 6, 0.8
# What follows the last visit, mostly a tuned fit, takes up to so many times what choosing the first
# layers did: recorded on one thread, beside other work.
PUBLISHING = 6.0
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What a profile with priors came to.

    ``profile`` counts as that of any profile, but for ``remaining``: layers without any row.
    ``predicted`` have one that nobody measured. ``expected_layer_error_pct`` is the mean error to
    expect of these, ``expected_network_error_pct`` that of a whole network, by the calibration
    networks; ``next_layers`` are those that another minute would measure, and
    ``next_layer_error_pct`` what the error of the layers that are predicted then would be.
    """

    profile: ProfileResult
    predicted: int
    expected_layer_error_pct: float
    expected_network_error_pct: float | None
    next_layers: int
    next_layer_error_pct: float

    def __str__(self) -> str:
        p = self.profile
        network = self.expected_network_error_pct
        of_networks = "" if network is None else f", whole networks within {network:.1f} %"
        more = (
            f"; another minute measures {self.next_layers} more and brings that to"
            f" {self.next_layer_error_pct:.1f} %"
            if self.next_layers
            else ""
        )
        return (
            f"{p.table}\n{p.measured} of {p.layers} layers measured in {p.wall_s:.0f} s,"
            f" {self.predicted} predicted, {len(p.invalid)} invalid, {p.remaining} remaining\n"
            f"expected error of predicted layers {self.expected_layer_error_pct:.1f} %"
            f"{of_networks}{more}"
        )


def profile_with_priors(
    agent: Agent,
    layers: Sequence[Layer],
    directory: TableDirectory,
    priors: Sequence[LatencyTable],
    request: Request,
    *,
    budget_s: float,
    most: int | None = None,
    uses: Mapping[Layer, float] | None = None,
    progress: Progress | None = None,
) -> TransferResult:
    """Measure what the budget allows of these layers, predict the others, and publish the table.

    Args:
        priors: tables of other conditions with rows of some of the layers.
        request: as of `profile`; its own budget does not count.
        budget_s: wall-clock seconds for everything.
        most: layers to measure at most, however many fit.
        uses: how often a network has each layer, see `selection.layer_uses`; by default alike.

    Raises:
        TableError: a prior prices none of the layers.
        NotMeasured: the budget is too small for `LEAST_ROWS` layers and the networks.
        Otherwise as `profile`.
    """
    started_s, report = time.monotonic(), progress or silent
    report(0, 1, "reading priors")
    plan = request.plan or agent.default_plan
    least_s = plan_time(LEAST_ROWS, len(request.networks), plan).wall_s
    if least_s > budget_s:
        raise NotMeasured(
            f"expected a budget of {format_duration(least_s)} or more, which {LEAST_ROWS} layers"
            f" and {len(request.networks)} networks take, found {format_duration(budget_s)}"
        )
    session = _Session(
        agent, list(layers), directory, [prior_ms(prior, layers) for prior in priors],
        replace(request, plan=plan), np.array([(uses or {}).get(x, 1.0) for x in layers]), report,
        budget_s - least_s,
    )  # fmt: skip
    ends_s = started_s + budget_s
    for share in (FIRST_SHARE, SECOND_SHARE):
        fit = session.fits(ends_s - session.reserve_s - time.monotonic(), share)
        most = len(layers) if most is None else most
        most -= session.measure(min(fit, most), ends_s)
    return session.publish(len(priors), started_s)


class _Session:
    """Profiles of one device in a row; ``pace`` is how much longer they take than planned.

    ``reserve_s`` is kept for what follows the last visit, at most the ``spare_s`` that the budget
    has beyond the least.
    """

    def __init__(
        self,
        agent: Agent,
        layers: Sequence[Layer],
        directory: TableDirectory,
        priors: Sequence[Floats],
        request: Request,
        uses: Floats,
        report: Progress,
        spare_s: float,
    ) -> None:
        self.agent, self.layers, self.directory = agent, layers, directory
        self.priors, self.request, self.uses, self.report = priors, request, uses, report
        self.networks = len(request.networks)  # that are not measured yet
        self.features = features_of(layers)
        self.plan = request.plan or agent.default_plan
        self.pace, self.spare_s, self.reserve_s = 1.0, spare_s, 0.0

    def fits(self, seconds: float, share: float = 1.0) -> int:
        """Return how many layers, beside the networks, fit into that time.

        Their visits may take that share of it, however far the plan spreads them.
        """
        at_once = (
            replace(self.plan, min_span_s=0.0) if isinstance(self.plan, ResidentPlan) else self.plan
        )
        limits = [len(self.layers)]
        for plan, plan_s in ((self.plan, seconds), (at_once, share * seconds)):
            found = forecast(limits[0], self.networks, plan, budget_s=max(plan_s / self.pace, 0.0))
            limits.append(limits[0] if found.layers_that_fit is None else found.layers_that_fit)
        return min(limits)

    def model(self, *, tuned: bool = True) -> LayerModel:
        """Return what the rows measured so far, and the priors, say of all layers."""
        keys = [layer.key for layer in self.layers]
        try:
            table = self.directory.load()
        except TableNotFound:
            nothing = np.zeros(0, dtype=np.int64)
            return fit_layers(self.features, nothing, np.zeros(0), self.priors, tuned=tuned)
        predicted = set(predicted_layers(table, keys))
        rows = [i for i, key in enumerate(keys) if key in table and key not in predicted]
        latency_ms = table.hot_ms([keys[row] for row in rows])
        numbers = np.array(rows, dtype=np.int64)
        return fit_layers(self.features, numbers, latency_ms, self.priors, tuned=tuned)

    def measure(self, most: int, ends_s: float) -> int:
        """Measure so many of the layers that come next, and return how many there were."""
        started_s = time.monotonic()
        chosen = self._next(most)
        if not self.reserve_s:
            self.reserve_s = min(PUBLISHING * (time.monotonic() - started_s), self.spare_s)
        if not chosen:
            return 0
        planned_s = plan_time(len(chosen), self.networks, self.plan).wall_s
        request, started_s = self.request, time.monotonic()
        profile(
            self.agent, chosen, self.directory, networks=request.networks,
            precision=request.precision, plan=self.plan,
            budget_s=ends_s - self.reserve_s - started_s,
            seed=request.seed, exporter=request.exporter, tool_version=request.tool_version,
            progress=self.report,
        )  # fmt: skip
        self.pace, self.networks = max(1.0, (time.monotonic() - started_s) / planned_s), 0
        return len(chosen)

    def publish(self, priors: int, started_s: float) -> TransferResult:
        """Predict what is left, publish all of it, and say what more would buy."""
        with JournalWriter.open(self.directory.journal):
            table, model = self.directory.load(), self.model()
            rows = predicted_rows(model, self.layers, priors)
            lacking = [r for r in rows if r.layer not in table and r.layer not in table.invalid]
            table = with_predictions(table, lacking)
            file = self.directory.publish(table)
        keys = [layer.key for layer in self.layers]
        predicted = predicted_layers(table, keys)
        invalid = {key: why for key, why in table.invalid.items() if key in keys}
        measured = [row for key in keys if key in table and (row := table.row(key)).visits]
        counts = ProfileResult(
            table=file, layers=len(keys), measured=len(measured),
            unstable=sum(row.status == "unstable" for row in measured), invalid=invalid,
            remaining=len(keys) - len(measured) - len(predicted) - len(invalid),
            coverage=len(measured) / len(keys), wall_s=time.monotonic() - started_s,
            journal=self.directory.journal, drained={}, validated=table.is_validated,
        )  # fmt: skip
        errors = expected_errors(model)
        left = np.array([key in set(predicted) for key in keys])
        more = self._select(model, self.fits(MINUTE_S))
        now, then = more.std[0], more.std[-1]
        error_pct = 100 * float(errors[left].mean()) if left.any() else 0.0
        return TransferResult(
            counts, len(predicted), error_pct, _network_error_pct(table),
            len(more.order), error_pct * then / now if now else 0.0,
        )  # fmt: skip

    def _select(self, model: LayerModel, most: int) -> Selection:
        return select_layers(model, layer_weights(self.uses, model.mean), most)

    def _next(self, most: int) -> list[Layer]:
        """Return the layers to measure next, without those that the device refused."""
        refused: Mapping[str, str] = {}
        with suppress(TableNotFound):
            refused = self.directory.load().invalid
        order = self._select(self.model(tuned=False), most + len(refused)).order
        chosen = [self.layers[i] for i in order if self.layers[i].key not in refused]
        return chosen[:most]


def _network_error_pct(table: LatencyTable) -> float | None:
    """Return the mean error to expect of a network, by those that the table is calibrated with."""
    calibration = table.calibration
    if calibration is None or calibration.residual is None:
        return None
    spread = calibration.residual * math.sqrt(1 + 1 / calibration.networks)
    return 100 * MEAN_ERROR * spread
