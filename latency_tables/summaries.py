"""Summary: what the visits of one layer or network by itself say, before it becomes a row.

    entries of the journal --those of the newest campaign--> Summary --> Row or MeasuredNetwork

The order of visits is that of the journal, never that of a clock: clocks are set back and ahead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from device_agents.floor import paced_minima
from device_agents.measurement import (
    Condition,
    FailedVisit,
    Floor,
    Outcome,
    Plan,
    ResidentPlan,
    Visit,
)
from device_agents.processes import ProcessVisit
from latency_tables.campaigns import newest_campaign
from latency_tables.errors import NotMeasured
from latency_tables.floors import clean_plan, floor_of, least_visits, measured, session_floor
from latency_tables.intervals import Evidence
from latency_tables.journal import Entry
from latency_tables.table import Status


@dataclass(frozen=True, slots=True)
class Summary:
    """See the module; ``entries`` are the visits that count, ``evidence`` is in nanoseconds."""

    floor: Floor
    status: Status
    reason: str
    entries: tuple[Entry, ...]
    samples: int
    p90_ns: float | None
    evidence: Evidence

    @property
    def last_id(self) -> int:
        """The id of the last visit."""
        return self.entries[-1].id

    @property
    def last_unix_s(self) -> float:
        """When the last visit started, by the clock of that time."""
        return self.entries[-1].outcome.started_unix_s

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the visits."""
        return tuple(entry.id for entry in self.entries)


def summarize_entries(
    entries: Sequence[Entry], condition: Condition, plan: Plan, *, pace_ns: int | None
) -> Summary | None:
    """Return what all entries of one model say, in order; None where that is no value yet.

    It is none below the plan's least visits, nor while they disagree and some failed for reasons
    of the model's own: until as many as the least came after the last failure, as when a tool that
    crashed was replaced.
    """
    newest = {id(o) for o in newest_campaign(_outcomes(entries), least_visits(plan))}
    counting = [entry for entry in entries if id(entry.outcome) in newest]
    visits = measured(_outcomes(counting))
    if len(visits) < least_visits(plan):
        return None
    floor = floor_of(visits, condition, plan, pace_ns=pace_ns)
    if not floor.settled and _still_fails(_outcomes(counting), least_visits(plan)):
        return None
    used = tuple(e for e in counting if isinstance(e.outcome, Visit | ProcessVisit))
    return Summary(
        floor,
        "ok" if floor.settled else "unstable",
        "" if floor.settled else _why_unstable(floor, plan),
        used,
        samples=sum(v.runs if isinstance(v, ProcessVisit) else len(v.hot_wall_ns) for v in visits),
        p90_ns=_p90_ns(visits, condition),
        evidence=_evidence(floor, entries, used, condition, plan, pace_ns),
    )


def _still_fails(outcomes: Sequence[Outcome], least: int) -> bool:
    """Return whether fewer than ``least`` visits came after the model's own last failure."""
    own = [isinstance(o, FailedVisit) and o.reason != "invalid" for o in outcomes]
    after = outcomes[len(own) - own[::-1].index(True) :] if any(own) else ()
    return any(own) and len(measured(after)) < least


def serial_of(entries: Sequence[Entry], serials: Mapping[int, str | None]) -> str | None:
    """Return the specimen, or all of them, that made these visits.

    Args:
        serials: of each session.
    """
    found = {serials[entry.session] for entry in entries} - {None}
    return ", ".join(sorted(map(str, found))) or None


def last_failure(outcomes: Sequence[Outcome]) -> str | None:
    """Return the reason of the last failure, if there was one."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, FailedVisit)]
    return f"{failures[-1].reason}: {failures[-1].detail}" if failures else None


def _evidence(
    floor: Floor,
    entries: Sequence[Entry],
    used: Sequence[Entry],
    condition: Condition,
    plan: Plan,
    pace_ns: int | None,
) -> Evidence:
    """Return what the visits and the sessions of a model say of its scatter."""
    sessions: dict[int, float] = {}
    numbers = dict.fromkeys(entry.session for entry in entries)
    for session in numbers if len(numbers) > 1 else ():  # one alone tells of no other
        outcomes = [entry.outcome for entry in entries if entry.session == session]
        try:
            sessions[session] = session_floor(outcomes, condition, plan, pace_ns=pace_ns).hot_ns
        except NotMeasured:
            continue
    whole = sessions.keys() & {entry.session for entry in used}
    values = _values(_outcomes(used), condition, plan)
    return Evidence(floor.hot_ns, values, tuple(sessions.values()), max(1, len(whole)))


def _values(outcomes: Sequence[Outcome], condition: Condition, plan: Plan) -> Sequence[float]:
    clean = clean_plan(plan)
    if isinstance(clean, ResidentPlan):
        visits = [outcome for outcome in outcomes if isinstance(outcome, Visit)]
        return paced_minima(visits, condition.statistic, clean)
    return [outcome.value_ns for outcome in outcomes if isinstance(outcome, ProcessVisit)]


def _p90_ns(visits: Sequence[Visit | ProcessVisit], condition: Condition) -> float | None:
    """Return the 90th percentile of hot samples; the timing tool of phones does not keep them."""
    cpu = condition.statistic == "thread-cpu-time"
    samples = [
        ns
        for visit in visits
        if isinstance(visit, Visit)
        for ns in (visit.hot_cpu_ns if cpu else visit.hot_wall_ns)
    ]
    return float(np.quantile(samples, 0.9)) if samples else None


def _why_unstable(floor: Floor, plan: Plan) -> str:
    clean = clean_plan(plan)
    which = f"the {clean.agree} smallest of" if isinstance(clean, ResidentPlan) else "values of"
    return (
        f"{which} {floor.visits} visits differ by {100 * floor.spread:.2f} %,"
        f" over {100 * clean.tolerance:g} %"
    )


def _outcomes(entries: Sequence[Entry]) -> list[Outcome]:
    return [entry.outcome for entry in entries]
