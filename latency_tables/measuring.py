"""Measuring session: files made of layers and networks, visited, each visit into the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from device_agents.measurement import Condition, FailedVisit, ModelFile, Outcome, Plan
from exporters.exporter import Exporter, export_network
from exporters.layer_files import export_layers
from latency_tables.fleet import Fleet, Outcomes
from latency_tables.floors import is_enough, least_visits, measured, plan_of
from latency_tables.granularity import Granularity, units_of
from latency_tables.journal import Journal, JournalWriter, Model, Purpose
from networks.names import NamedNetwork, name_network
from networks.operators import Unit

Progress = Callable[[int, int, str], None]
"""Called with done, total, and what is being done."""


def silent(done: int, total: int, text: str) -> None:
    """Take no notice."""


def export_models(
    layers: Sequence[Unit],
    networks: Sequence[NamedNetwork],
    work: Path,
    seed: int,
    exporter: Exporter | None,
    progress: Progress,
    granularity: Granularity = "layer",
) -> list[tuple[Model, ModelFile]]:
    """Export units and networks with random weights into ``work``.

    Args:
        granularity: what the table prices, which says what the networks are sums of.

    Raises:
        NotAChain: of a network of cells, layers are wanted.
    """
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
        keys = tuple(unit.key for unit in units_of(granularity, network))
        models.append((Model(file.sha256, "network", name_network(network), keys), file))
        progress(len(models), total, "exporting")
    return models


def earlier_visits(
    journal: Journal, files: Sequence[ModelFile], condition: Condition
) -> dict[str, list[Outcome]]:
    """Return what the journal has of these files, by sha256; failures may be tried again."""
    found = journal.visits(condition)
    return {
        file.sha256: [o for o in found.get(file.sha256, ()) if not isinstance(o, FailedVisit)]
        for file in files
    }


def measure_into(
    journal: JournalWriter,
    fleet: Fleet,
    files: Sequence[ModelFile],
    plan: Plan,
    *,
    condition: Condition,
    purpose: Purpose,
    seed: int,
    tool_version: str,
    deadline_s: float | None,
    progress: Progress,
    done: Outcomes | None = None,
    given: Mapping[str, Sequence[Outcome]] | None = None,
) -> dict[str, list[Outcome]]:
    """Append visits of these files to the journal until each has enough; return the new ones.

    What a job on the device hands in again is in the journal already, and is not among them.

    Args:
        deadline_s: when to stop, by ``time.monotonic``.
        done: earlier visits that count, see `earlier_visits`.
        given: by address, what devices of the fleet made of some of the files a moment ago.
    """
    tally = _Tally(files, done or {}, condition, plan)
    made: dict[str, list[Outcome]] = {}
    if tally.done == tally.total:
        return made

    def keep(agent: str, visit: Outcome) -> None:
        if journal.append(sessions[agent], visit) is not None:
            made.setdefault(visit.sha256, []).append(visit)
            tally.add(visit)
            progress(tally.done, tally.total, tally.text)

    sessions = {
        agent.address: journal.begin(
            started_unix_s=time.time(), purpose=purpose, address=agent.address,
            tool_version=tool_version, seed=seed, condition=condition, serial=agent.serial,
        )
        for agent in fleet.agents
    }  # fmt: skip
    for address, outcomes in (given or {}).items():
        for outcome in outcomes:
            keep(address, outcome)
    done = {
        file.sha256: [*(done or {}).get(file.sha256, ()), *measured(made.get(file.sha256, ()))]
        for file in files
    }
    visits = fleet.measure(files, plan, condition=condition, done=done, seed=seed)
    with closing(visits):  # devices are told at once that nobody waits for more
        for agent, visit in visits:
            keep(agent.address, visit)
            if deadline_s is not None and time.monotonic() >= deadline_s:
                break
    return made


class _Tally:
    """How far a session is, in visits of the least that each model needs."""

    def __init__(
        self,
        files: Sequence[ModelFile],
        done: Outcomes,
        condition: Condition,
        plan: Plan,
    ) -> None:
        self._condition = condition
        self._plans = {file.sha256: plan_of(plan, file.role) for file in files}
        self._visits = {sha256: list(done.get(sha256, ())) for sha256 in self._plans}
        self._failed: set[str] = set()
        self._counts = {sha256: self._count(sha256) for sha256 in self._visits}
        self.done = sum(self._counts.values())
        self.total = sum(map(least_visits, self._plans.values()))
        self._finished = sum(map(self._is_finished, self._visits))

    @property
    def text(self) -> str:
        failed = f", {len(self._failed)} failed" if self._failed else ""
        return f"measured {self._finished} of {len(self._visits)} models{failed}"

    def add(self, outcome: Outcome) -> None:
        """Count a visit; an earlier job may hand in visits of models that are not asked for."""
        sha256 = outcome.sha256
        if sha256 not in self._visits:
            return
        if isinstance(outcome, FailedVisit):
            self._failed.add(sha256)
        else:
            self._visits[sha256].append(outcome)
        before, was_finished = self._counts[sha256], self._is_finished(sha256)
        self._counts[sha256] = self._count(sha256)
        self.done += self._counts[sha256] - before
        self._finished += self._is_finished(sha256) - was_finished

    def _is_finished(self, sha256: str) -> bool:
        return self._counts[sha256] == least_visits(self._plans[sha256])

    def _count(self, sha256: str) -> int:
        """Return the visits that count: one is held back until the model is done."""
        visits, plan = self._visits[sha256], self._plans[sha256]
        if is_enough(visits, self._condition, plan):
            return least_visits(plan)
        return min(len(visits), least_visits(plan) - 1)
