"""Rebase: a new table for a device that has changed; the old one stays as it is.

    old rows --priors--> order of measuring, and predicted rows until a layer is measured
    anchors, whole networks, then the most valuable layers, within the budget --> new table

No row of the old table is ever taken for a measured one.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from device_agents.measurement import Agent, Condition
from device_agents.packs import PackedPlan
from exporters.catalog import make_exporter
from latency_tables.drift_report import NETWORK, Cause, DriftReport
from latency_tables.errors import ConditionMismatch, NotChanged, NotMeasured, TableError
from latency_tables.floors import default_plan
from latency_tables.granularity import granularity_of
from latency_tables.journal import Journal, JournalWriter
from latency_tables.measuring import Progress, silent
from latency_tables.plan_time import format_duration, plan_time
from latency_tables.priorities import Candidate, rank
from latency_tables.priors import rows_of, with_priors
from latency_tables.publishing import build_table
from latency_tables.refresh import RefreshResult, check_drift, result_of
from latency_tables.refresh_session import RefreshRequest, profile_seed, wanted_units
from latency_tables.remeasuring import Remeasuring
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.names import find_network

CHANGES = frozenset({"os_build", "runtime", "power_mode"})
"""What a device may change in and be the same device."""


def rebase(
    agent: Agent,
    directory: TableDirectory,
    target: TableDirectory,
    wanted: RefreshRequest,
    *,
    progress: Progress | None = None,
) -> RefreshResult:
    """Begin the table ``target`` for the device of ``directory``, which has changed.

    The result's drift says how. Stopped before anything was published, it goes on when it is
    asked for again; afterwards ``target`` is refreshed like any table.

    Raises:
        NotChanged: the device is what it was: refresh its table.
        ConditionMismatch: it is not the same device, or not measured as it was.
        NotMeasured: the budget is too small for anything.
        TableError: its rows are of packs; and what `refresh.refresh` raises.
    """
    started_s, report = time.monotonic(), progress or silent
    old = directory.load()
    plan = wanted.plan or default_plan(agent, old.condition.method)
    if isinstance(plan, PackedPlan):
        raise TableError(
            f"table {old.name!r}: expected rows timed one by one, found packs: make the new table"
            " with hilnas profile --method packed"
        )
    condition = agent.condition(precision=old.condition.precision, plan=plan)
    wanted = replace(wanted, plan=plan)
    drift = _change(agent, directory, old, condition, wanted, report)
    budget_s, least_s = wanted.budget_s, plan_time(1, len(old.networks), plan).wall_s
    if budget_s is not None and budget_s < least_s:
        raise NotMeasured(
            f"expected a budget of {format_duration(least_s)} or more, which whole networks and one"
            f" layer take, found {format_duration(budget_s)}; nothing was measured"
        )
    with Journal.open(directory.journal) as journal:
        seed = profile_seed(journal, old.condition)
        units = wanted_units(wanted, old, journal)
    with (
        JournalWriter.open(target.journal) as journal,
        tempfile.TemporaryDirectory(prefix="hilnas-") as work,
    ):

        def build() -> LatencyTable:
            table = build_table(target.name, journal, condition, plan, address=agent.address)
            return with_priors(table, rows_of(old), old.name)

        candidates = _anchors_first(
            old,
            rank(
                build(), units, wanted.uses, drifted={}, now_unix_s=wanted.now_unix_s(),
                max_age_s=wanted.max_age_s,
            ),
        )  # fmt: skip
        remeasuring = Remeasuring(
            journal, agent, condition, plan, granularity_of(old), Path(work), seed,
            wanted.exporter or make_exporter(precision=condition.precision, seed=seed),
            wanted.tool_version, None if budget_s is None else started_s + budget_s,
            wanted.now_unix_s(),
        )  # fmt: skip
        networks = [find_network(network.label) for network in old.networks]
        taken = remeasuring.measure([c.unit for c in candidates], networks, report)
        table = build()
        if not any(row.status != "predicted" for row in rows_of(table)):
            raise NotMeasured("no layer was measured within the budget: run it again to go on")
        target.publish(table)
    return result_of(table, target, wanted, candidates, taken, drift, started_s)


def _change(
    agent: Agent,
    directory: TableDirectory,
    old: LatencyTable,
    condition: Condition,
    wanted: RefreshRequest,
    progress: Progress,
) -> DriftReport:
    """Return in what the device has changed."""
    fields = old.condition.differences(condition)
    if set(fields) - CHANGES:
        raise ConditionMismatch(f"rebase {old.name!r}", old.condition, condition)
    if fields:
        text = ", ".join(f"{name} {was!r} | {now!r}" for name, (was, now) in fields.items())
        cause: Cause = "os-build" if set(fields) == {"os_build"} else "condition"
        return DriftReport(cause, f"changed (then | now): {text}")
    drift = check_drift(agent, directory, wanted, progress=progress)
    if not drift.is_drifted:
        raise NotChanged(
            f"table {old.name!r}: expected a changed device, found its anchors {drift.text};"
            " refresh it without --rebase"
        )
    return drift


def _anchors_first(old: LatencyTable, candidates: list[Candidate]) -> list[Candidate]:
    """Return these in their order, but the old anchors first: each kind gets its factor."""
    anchors = {anchor.label for anchor in old.anchors if anchor.kind != NETWORK}
    return sorted(candidates, key=lambda candidate: candidate.unit.key not in anchors)
