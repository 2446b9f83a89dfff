"""References: the anchors of a new table, measured at once in fresh processes for later refreshes.

A row is of one process, in which memory lay as it happened to. Held against the rows alone, the
anchors of an undisturbed device are beyond their bands more often at a table's first refresh than
at later ones, which have more references (`benchmarks.drift` prints both). So a profile that has
made a whole table takes some itself, as a refresh would take them. They are references as they
are: nothing older could say that the device has changed since. Of the resident method alone: of
the others each visit is a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from device_agents.measurement import DEFAULT_PLAN, Agent, ModelFile, ResidentPlan
from latency_tables.anchor_check import AnchorCheck, check_time_s
from latency_tables.anchors import FRESH_PROCESSES
from latency_tables.campaigns import PAUSE_S
from latency_tables.coverage import measure_coverage
from latency_tables.journal import Journal, JournalWriter, Model
from latency_tables.measuring import Progress
from latency_tables.plan_time import plan_time
from latency_tables.table import LatencyTable
from networks.operators import Unit

SHARE = 1 / 3  # of the time that the plan gives the table's visits, at most


def refresh_plan(plan: ResidentPlan) -> ResidentPlan:
    """Return how a refresh takes the anchors of a table that was made by this plan."""
    return replace(plan, min_span_s=min(plan.min_span_s, DEFAULT_PLAN.min_span_s))


def wants_references(
    journal: Journal, table: LatencyTable, layers: Sequence[Unit], plan: ResidentPlan
) -> bool:
    """Return whether this table is whole, of one day, without references, and worth the time.

    Whole: each of the layers has a row or was refused, and the table is calibrated. Worth it: they
    take at most `SHARE` of what its plan takes.
    """
    if not table.anchors or table.calibration is None:
        return False
    if set(measure_coverage(table, layers).missing) - table.invalid.keys():
        return False
    days = table.rows["measured_unix_s"].to_numpy()
    if days.max() - days.min() > PAUSE_S:
        return False
    if any(
        s.purpose == "anchors-within" and s.condition == table.condition for s in journal.sessions()
    ):
        return False
    whole_s = plan_time(len(table), len(table.networks), plan).wall_s
    return check_time_s(table.anchors, refresh_plan(plan)) <= SHARE * whole_s


def take_references(
    journal: JournalWriter,
    agent: Agent,
    table: LatencyTable,
    models: Sequence[tuple[Model, ModelFile]],
    plan: ResidentPlan,
    *,
    tool_version: str,
    deadline_s: float | None,
    progress: Progress,
) -> int:
    """Measure the table's anchors in fresh sessions; return how many there was time for.

    Args:
        models: those of the anchors among them, exported.
        deadline_s: when to stop, by ``time.monotonic``.

    Raises:
        DeviceError: the device as a whole cannot measure any more.
    """
    plan = refresh_plan(plan)
    ends_s = time.monotonic() + check_time_s(table.anchors, plan)
    if deadline_s is not None and ends_s > deadline_s:
        return 0
    wanted = {anchor.sha256 for anchor in table.anchors}
    files = {
        model.sha256: (replace(file, role="layer"), model.label)
        for model, file in models
        if model.sha256 in wanted
    }

    def tell(done: int, total: int, text: str) -> None:
        progress(done, total, "anchors for later refreshes")

    check = AnchorCheck(
        journal, agent, table.anchors, table.condition, plan,
        tool_version=tool_version, deadline_s=deadline_s, progress=tell,
    )  # fmt: skip
    sessions = (check.take(files) for _ in range(FRESH_PROCESSES))
    taken = sum(1 for _ in takewhile(lambda session: session is not None, sessions))
    if taken:
        check.accept()
    return taken
