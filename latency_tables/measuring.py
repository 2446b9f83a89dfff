"""Measuring session: files made of layers and networks, visited, each visit into the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from device_agents.floor import is_done, summarize
from device_agents.measurement import (
    Agent,
    Condition,
    FailedVisit,
    Floor,
    ModelFile,
    Outcome,
    ResidentPlan,
    Visit,
)
from device_agents.processes import ProcessVisit
from exporters.exporter import Exporter, export_network
from exporters.layer_files import export_layers
from latency_tables.errors import NotMeasured
from latency_tables.journal import JournalWriter, Model, Purpose
from networks.block_strings import format_network
from networks.layers import Layer
from networks.network import Network

Progress = Callable[[int, int, str], None]
"""Called with done, total, and what is being done."""


def silent(done: int, total: int, text: str) -> None:
    """Take no notice."""


def export_models(
    layers: Sequence[Layer],
    networks: Sequence[Network],
    work: Path,
    seed: int,
    exporter: Exporter | None,
    progress: Progress,
) -> list[tuple[Model, ModelFile]]:
    """Export layers and networks with random weights into ``work``."""
    models = []
    total = len(layers) + len(networks)
    for layer, exported in export_layers(layers, work, seed=seed, exporter=exporter):
        file = ModelFile(exported.path, exported.sha256, "layer")
        models.append((Model(file.sha256, "layer", layer.key, (layer.key,)), file))
        progress(len(models), total, "exporting")
    for number, network in enumerate(networks):
        exported = export_network(
            network, work / f"network-{number}.tflite", seed=seed, exporter=exporter
        )
        file = ModelFile(exported.path, exported.sha256, "network")
        keys = tuple(layer.key for layer in network.layers)
        models.append((Model(file.sha256, "network", format_network(network), keys), file))
        progress(len(models), total, "exporting")
    return models


def measure_into(
    journal: JournalWriter,
    agent: Agent,
    files: Sequence[ModelFile],
    plan: ResidentPlan,
    *,
    condition: Condition,
    purpose: Purpose,
    seed: int,
    tool_version: str,
    deadline_s: float | None,
    progress: Progress,
    resume: bool = True,
) -> dict[str, list[Visit | FailedVisit]]:
    """Append visits of these files to the journal until each has enough; return the new ones.

    Args:
        deadline_s: when to stop, by ``time.monotonic``.
        resume: whether earlier visits count.
    """
    earlier = journal.visits(condition, purposes=["profile", "refresh"]) if resume else {}
    done = {
        file.sha256: [v for v in earlier.get(file.sha256, ()) if isinstance(v, Visit)]
        for file in files
    }
    tally = _Tally(files, done, condition, plan)
    made: dict[str, list[Visit | FailedVisit]] = {}
    if tally.done == tally.total:
        return made
    session = journal.begin(
        started_unix_s=time.time(), purpose=purpose, address=agent.address,
        tool_version=tool_version, seed=seed, condition=condition,
    )  # fmt: skip
    visits = agent.measure(files, plan, done=done, seed=seed)
    try:
        for visit in visits:
            assert not isinstance(visit, ProcessVisit)  # journals hold resident visits only so far
            journal.append(session, visit)
            made.setdefault(visit.sha256, []).append(visit)
            tally.add(visit)
            progress(tally.done, tally.total, tally.text)
            if deadline_s is not None and time.monotonic() >= deadline_s:
                break
    finally:  # the agent is told at once that nobody waits for more
        if isinstance(visits, Generator):
            visits.close()
    return made


class _Tally:
    """How far a session is, in visits of the least that each model needs."""

    def __init__(
        self,
        files: Sequence[ModelFile],
        done: Mapping[str, Sequence[Visit]],
        condition: Condition,
        plan: ResidentPlan,
    ) -> None:
        self._statistic = condition.statistic
        self._plans = {file.sha256: plan.of(file.role) for file in files}
        self._visits = {sha256: list(done[sha256]) for sha256 in self._plans}
        self._failed: set[str] = set()
        self._counts = {sha256: self._count(sha256) for sha256 in self._visits}
        self.done = sum(self._counts.values())
        self.total = sum(plan.min_visits for plan in self._plans.values())
        self._finished = sum(map(self._is_finished, self._visits))

    @property
    def text(self) -> str:
        failed = f", {len(self._failed)} failed" if self._failed else ""
        return f"measured {self._finished} of {len(self._visits)} models{failed}"

    def add(self, visit: Visit | FailedVisit) -> None:
        sha256 = visit.sha256
        if isinstance(visit, Visit):
            self._visits[sha256].append(visit)
        else:
            self._failed.add(sha256)
        before, was_finished = self._counts[sha256], self._is_finished(sha256)
        self._counts[sha256] = self._count(sha256)
        self.done += self._counts[sha256] - before
        self._finished += self._is_finished(sha256) - was_finished

    def _is_finished(self, sha256: str) -> bool:
        return self._counts[sha256] == self._plans[sha256].min_visits

    def _count(self, sha256: str) -> int:
        """Return the visits that count: one is held back until the model is done."""
        visits, plan = self._visits[sha256], self._plans[sha256]
        if is_done(visits, self._statistic, plan):
            return plan.min_visits
        return min(len(visits), plan.min_visits - 1)


def session_floor(
    outcomes: Sequence[Outcome],
    condition: Condition,
    plan: ResidentPlan,
    *,
    pace_ns: int | None = None,
) -> Floor:
    """Return the floor of one model's visits in one session, at a table's pace if it is given.

    Raises:
        NotMeasured: too few of them gave a number; says why the last did not.
    """
    visits = [outcome for outcome in outcomes if isinstance(outcome, Visit)]
    if len(visits) < plan.min_visits:
        failures = [outcome for outcome in outcomes if isinstance(outcome, FailedVisit)]
        why = f": {failures[-1].reason}, {failures[-1].detail}" if failures else ""
        raise NotMeasured(f"expected {plan.min_visits} visits, found {len(visits)}{why}")
    return summarize(visits, condition.statistic, plan, pace_ns=pace_ns)
