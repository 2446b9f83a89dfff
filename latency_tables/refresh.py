"""Refresh: a table kept fresh: the anchors first, then the rows that are worth the most.

    anchors --beyond their bands--> no row is touched; the report says what changed
            --within--> missing, predicted, unstable, drifted, stale rows, the most valuable first,
                        within the budget --> the table's next version

Every visit is in the journal before the next is made: a refresh that was killed goes on where it
stopped when it is run again. A second one at the same time finds the journal locked.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device_agents.measurement import Agent
from latency_tables.coverage import measure_coverage
from latency_tables.drift_report import DriftReport
from latency_tables.errors import DeviceChanged
from latency_tables.floors import default_plan
from latency_tables.guards import require_known, require_same
from latency_tables.journal import Journal, JournalWriter
from latency_tables.measuring import Progress, silent
from latency_tables.priorities import Candidate, require_clock
from latency_tables.priors import rows_of
from latency_tables.refresh_session import RefreshRequest, RefreshSession, wanted_units
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What a refresh came to.

    ``layers`` are wanted; of these ``measured`` have a row that was measured, ``unstable`` among
    them one whose visits did not agree, ``invalid`` failed (key -> reason). ``wanting`` says how
    many were to be measured again, by reason, of which ``remaining`` were not for lack of time.
    ``coverage`` is measured / layers. A drifted device leaves the table as it was.
    """

    table: Path
    layers: int
    measured: int
    unstable: int
    invalid: Mapping[str, str]
    wanting: Mapping[str, int]
    remaining: int
    coverage: float
    wall_s: float
    journal: Path
    drift: DriftReport

    @property
    def is_done(self) -> bool:
        """Whether the device is what it was and nothing remains."""
        return not self.drift.is_drifted and not self.remaining


def refresh(
    agent: Agent,
    directory: TableDirectory,
    wanted: RefreshRequest,
    *,
    progress: Progress | None = None,
) -> RefreshResult:
    """Hold the device against the table's anchors; measure again what is worth it; publish.

    Raises:
        JournalLocked: another process profiles into or refreshes this table.
        ConditionMismatch: the device measures under another condition, by more than its OS build.
        ClockWentBack: rows were measured in what is the future now.
        DeviceSwapped: another device answers at its address.
        NotMeasured: the budget is too small for anything, or no anchor could be measured.
        DeviceError: the device as a whole cannot measure.
    """
    started_s, report = time.monotonic(), progress or silent
    table = directory.load()
    plan = wanted.plan or default_plan(agent, table.condition.method)
    condition = agent.condition(precision=table.condition.precision, plan=plan)
    try:
        require_same(f"refresh {directory.name!r}", table.condition, condition)
    except DeviceChanged as changed:
        drift = DriftReport("os-build", str(changed), thermal=wanted.thermal())
        return result_of(table, directory, wanted, [], 0, drift, started_s)
    require_clock(table, wanted.now_unix_s())
    with (
        JournalWriter.open(directory.journal) as journal,
        tempfile.TemporaryDirectory(prefix="hilnas-") as work,
    ):
        require_known(agent, journal)
        session = RefreshSession(
            agent, directory, wanted, table, plan, journal, Path(work), started_s
        )
        drift = session.check(report)
        if drift.is_drifted:
            return result_of(table, directory, wanted, [], 0, drift, started_s)
        candidates = session.candidates(drift.beyond)
        taken = session.measure(candidates, drift, report)
        built = session.build(again=True)
        if replace(built, anchors=table.anchors) != table or not table.anchors:
            directory.publish(built)
    return result_of(built, directory, wanted, candidates, taken, drift, started_s)


def check_drift(
    agent: Agent,
    directory: TableDirectory,
    wanted: RefreshRequest,
    *,
    progress: Progress | None = None,
) -> DriftReport:
    """Return what the anchors alone say of the device; for what is raised see `refresh`."""
    table = directory.load()
    plan = wanted.plan or default_plan(agent, table.condition.method)
    with (
        JournalWriter.open(directory.journal) as journal,
        tempfile.TemporaryDirectory(prefix="hilnas-") as work,
    ):
        require_known(agent, journal)
        session = RefreshSession(
            agent, directory, wanted, table, plan, journal, Path(work), time.monotonic()
        )
        return session.check(progress or silent)


def result_of(
    table: LatencyTable,
    directory: TableDirectory,
    wanted: RefreshRequest,
    candidates: Sequence[Candidate],
    taken: int,
    drift: DriftReport,
    started_s: float,
) -> RefreshResult:
    """Return the result of a refresh that left its directory with this table.

    Args:
        taken: how many of the candidates there was time for.
        started_s: by ``time.monotonic``.
    """
    with Journal.open(directory.journal) as journal:
        units = wanted_units(wanted, table, journal)
    coverage = measure_coverage(table, units)
    keys = {unit.key for unit in units}
    rows = [row for row in rows_of(table) if row.layer in keys]
    measured = [row for row in rows if row.status != "predicted"]
    missing = set(coverage.missing)
    return RefreshResult(
        table=directory.current(),
        layers=coverage.layers,
        measured=len(measured),
        unstable=sum(row.status == "unstable" for row in measured),
        invalid={layer: why for layer, why in table.invalid.items() if layer in missing},
        wanting=dict(Counter(candidate.reason for candidate in candidates)),
        remaining=len(candidates) - taken,
        coverage=len(measured) / coverage.layers if coverage.layers else 1.0,
        wall_s=time.monotonic() - started_s,
        journal=directory.journal,
        drift=drift,
    )
