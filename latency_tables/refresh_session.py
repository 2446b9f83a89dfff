"""Refresh session: the steps of one refresh, behind its checks of table and device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from device_agents.measurement import Agent, Condition, Plan
from device_agents.packs import PackedPlan
from exporters.catalog import make_exporter
from exporters.exporter import Exporter
from latency_tables.anchor_check import AnchorCheck, check_time_s
from latency_tables.drift_report import DriftReport
from latency_tables.errors import NotMeasured
from latency_tables.granularity import granularity_of
from latency_tables.journal import Journal, JournalWriter
from latency_tables.measuring import Progress
from latency_tables.plan_time import format_duration, plan_time
from latency_tables.priorities import Candidate, Uses, drifted_rows, rank
from latency_tables.priors import predicted_rows, rows_of, with_priors
from latency_tables.publishing import build_table
from latency_tables.remeasuring import Remeasuring
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from latency_tables.units import parse_unit
from networks.names import NamedNetwork, find_network
from networks.operators import Unit

DAY_S = 86400.0
MAX_AGE_S = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """What is wanted of a refresh.

    units       the layers or operators that the table is for; None: those that it knows, those
                that failed among them
    uses        expected uses of each in a network, by key; empty: all alike
    max_age_s   rows measured longer ago are stale
    budget_s    wall-clock seconds for all; None: until all is done
    thermal     asks the device for its heat, in words; None where it cannot say
    """

    units: Sequence[Unit] | None = None
    uses: Uses = field(default_factory=dict)
    max_age_s: float = MAX_AGE_S
    budget_s: float | None = None
    plan: Plan | None = None
    exporter: Exporter | None = None
    tool_version: str = ""
    thermal: Callable[[], str | None] = lambda: None
    now_unix_s: Callable[[], float] = time.time


class RefreshSession:
    """One refresh, behind its checks of table and device."""

    def __init__(
        self,
        agent: Agent,
        directory: TableDirectory,
        wanted: RefreshRequest,
        table: LatencyTable,
        plan: Plan,
        journal: JournalWriter,
        work: Path,
        started_s: float,
    ) -> None:
        self._agent, self._directory, self._wanted = agent, directory, wanted
        self._published, self._plan, self._journal = table, plan, journal
        self._work, self._condition = work, table.condition
        self._deadline_s = None if wanted.budget_s is None else started_s + wanted.budget_s
        self._seed = profile_seed(journal, table.condition)
        self._built: LatencyTable | None = None
        self._exporter = wanted.exporter or make_exporter(
            precision=table.condition.precision, seed=self._seed
        )

    def build(self, *, again: bool = False) -> LatencyTable:
        """Return the table as the journal has it, predicted rows kept until they are measured."""
        if self._built is not None and not again:
            return self._built
        built = build_table(
            self._directory.name, self._journal, self._condition, self._plan,
            address=self._published.provenance.address,
        )  # fmt: skip
        self._built = with_priors(built, predicted_rows(self._published), self._published.name)
        return self._built

    def check(self, progress: Progress) -> DriftReport:
        """Return what the anchors say; those of a table without any are chosen now."""
        anchors = self.build().anchors
        if not anchors:
            return DriftReport("none", "the table has no anchors yet: no row of it is settled")
        self._require_budget(check_time_s(anchors, self._plan))
        check = AnchorCheck(
            self._journal, self._agent, anchors, self._condition, self._plan,
            tool_version=self._wanted.tool_version, deadline_s=self._deadline_s,
            progress=progress,
        )  # fmt: skip
        drift = check.run(self._work / "anchors", self._seed, self._exporter)
        return drift.with_thermal(self._wanted.thermal()) if drift.is_drifted else drift

    def candidates(self, beyond: Mapping[str, float]) -> list[Candidate]:
        """Return what to measure again, the most valuable first.

        Args:
            beyond: anchors that moved by themselves, and how far.
        """
        table = self.build()
        visits = self._journal.visits(self._condition)
        pace_ns = self._journal.pace_ns(self._condition)
        moved = drifted_rows(visits, rows_of(table), self._condition, self._plan, pace_ns=pace_ns)
        return rank(
            table, wanted_units(self._wanted, table, self._journal), self._wanted.uses,
            drifted={**moved, **beyond}, now_unix_s=self._wanted.now_unix_s(),
            max_age_s=self._wanted.max_age_s,
        )  # fmt: skip

    def measure(
        self, candidates: Sequence[Candidate], drift: DriftReport, progress: Progress
    ) -> int:
        """Measure stale networks and these in order; return how many there was time for.

        Networks only if they are in their band: beside other work they are slower.
        """
        if isinstance(self._plan, PackedPlan):
            return 0
        remeasuring = Remeasuring(
            self._journal, self._agent, self._condition, self._plan,
            granularity_of(self._published), self._work, self._seed, self._exporter,
            self._wanted.tool_version, self._deadline_s, self._wanted.now_unix_s(),
        )  # fmt: skip
        networks = self._stale_networks() if drift.are_networks_within else []
        return remeasuring.measure([c.unit for c in candidates], networks, progress)

    def _stale_networks(self) -> list[NamedNetwork]:
        oldest = self._wanted.now_unix_s() - self._wanted.max_age_s
        return [
            find_network(network.label)
            for network in self._published.networks
            if network.status != "ok" or network.measured_unix_s < oldest
        ]

    def _require_budget(self, anchors_s: float) -> None:
        budget_s = self._wanted.budget_s
        least_s = anchors_s + plan_time(1, 0, self._plan).wall_s
        if budget_s is not None and budget_s < least_s:
            raise NotMeasured(
                f"expected a budget of {format_duration(least_s)} or more, which the anchors and"
                f" one layer take, found {format_duration(budget_s)}; nothing was measured"
            )


def profile_seed(journal: Journal, condition: Condition) -> int:
    """Return the seed of the weights that the rows were measured with: the latest profile's."""
    seeds = [
        session.seed
        for session in journal.sessions()
        if session.condition == condition and session.purpose in ("profile", "refresh")
    ]
    return seeds[-1] if seeds else 0


def wanted_units(
    wanted: RefreshRequest, table: LatencyTable, journal: Journal | None
) -> list[Unit]:
    """Return the units that a table is for: those asked for, else all that are known of it."""
    if wanted.units is not None:
        return list(dict.fromkeys(wanted.units))
    known = [m.label for m in journal.models() if m.role == "layer"] if journal else []
    keys: Iterable[str] = (*table.rows["layer"].to_pylist(), *table.invalid, *known)
    return [parse_unit(key) for key in dict.fromkeys(keys)]
