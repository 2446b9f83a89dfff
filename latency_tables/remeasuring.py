"""Measuring again: layers in order of their value, batch by batch, as far as the time goes.

A batch is as many layers as the plan's span has room for, so that each is whole before the next
is begun: when the time is over, the most valuable ones have been measured, not all of them a bit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_agents.measurement import Agent, Condition, FailedVisit, ModelFile, Outcome, Plan
from exporters.exporter import Exporter
from latency_tables.campaigns import PAUSE_S, split_campaigns
from latency_tables.fleet import Fleet
from latency_tables.floors import is_enough, least_visits, measured, plan_of
from latency_tables.granularity import Granularity
from latency_tables.journal import JournalWriter
from latency_tables.measuring import Progress, export_models, measure_into, silent
from latency_tables.plan_time import plan_time
from networks.names import NamedNetwork
from networks.operators import Unit

BATCH = 8  # at least, where a visit is a process
LARGEST = 400


@dataclass(frozen=True, slots=True)
class Remeasuring:
    """Who measures what into which journal, and until when by ``time.monotonic``."""

    journal: JournalWriter
    agent: Agent
    condition: Condition
    plan: Plan
    granularity: Granularity
    work: Path
    seed: int
    exporter: Exporter
    tool_version: str
    deadline_s: float | None
    now_unix_s: float

    def measure(
        self, units: Sequence[Unit], networks: Sequence[NamedNetwork], progress: Progress
    ) -> int:
        """Measure whole networks, then units in this order; return for how many there was time."""
        earlier = self.journal.visits(self.condition)
        taken = 0
        while True:
            room = self._room(len(units) - taken, len(networks))
            if not room and not (networks and self._fits(0, len(networks))):
                return taken
            report = _part(progress, taken, room, len(units))
            self._measure_batch(units[taken : taken + room], networks, earlier, report)
            taken, networks = taken + room, ()

    def _measure_batch(
        self,
        units: Sequence[Unit],
        networks: Sequence[NamedNetwork],
        earlier: Mapping[str, Sequence[Outcome]],
        progress: Progress,
    ) -> None:
        models = export_models(
            units, networks, self.work, self.seed, self.exporter, silent, self.granularity
        )
        self.journal.name(model for model, _ in models)
        files = [file for _, file in models]
        measure_into(
            self.journal, Fleet(self.agent), files, self.plan, condition=self.condition,
            purpose="refresh", seed=self.seed, tool_version=self.tool_version,
            deadline_s=self.deadline_s, progress=progress,
            done={file.sha256: self._begun(earlier.get(file.sha256, ()), file) for file in files},
        )  # fmt: skip
        for file in files:
            file.path.unlink(missing_ok=True)

    def _begun(self, outcomes: Sequence[Outcome], file: ModelFile) -> list[Outcome]:
        """Return the visits that count: of a measurement that was begun today and not finished.

        Of a model that never was measured to the end, all.
        """
        plan = plan_of(self.plan, file.role)
        visits: list[Outcome] = [
            outcome for outcome in outcomes if not isinstance(outcome, FailedVisit)
        ]
        if len(measured(visits)) < least_visits(plan):
            return visits
        newest = split_campaigns(visits)[-1]
        is_old = self.now_unix_s - newest[-1].started_unix_s > PAUSE_S
        return [] if is_old or is_enough(newest, self.condition, plan) else newest

    def _room(self, units: int, networks: int) -> int:
        """Return how many units the next batch holds: what there is time for, or none."""
        span_s = plan_time(1, 0, self.plan).wall_s
        each_s = plan_time(LARGEST, 0, self.plan).wall_s / LARGEST
        n = min(units, LARGEST, max(BATCH, int(span_s / each_s)))
        while n and not self._fits(n, networks):
            n //= 2
        return n

    def _fits(self, units: int, networks: int) -> bool:
        if self.deadline_s is None:
            return True
        left_s = self.deadline_s - time.monotonic()
        return plan_time(units, networks, self.plan).wall_s <= left_s


def _part(progress: Progress, done: int, n: int, total: int) -> Progress:
    """Return the progress of one batch, told in layers of all."""

    def tell(visits: int, of: int, text: str) -> None:
        progress(done + n * visits // max(1, of), total, "measuring again")

    return tell
