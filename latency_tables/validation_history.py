"""Validation history: the validations in a journal, compared anew with a table of today.

A validation is two sessions, one a pass; a third of the same networks is the first of another.
Predictions are those of the table that is given, which may be a later one than was validated then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from device_agents.measurement import DEFAULT_PLAN, Method, Outcome, Plan
from device_agents.packs import PackedPlan
from device_agents.processes import ProcessPlan
from latency_tables.errors import NotMeasured, ValidationError
from latency_tables.floors import session_floor
from latency_tables.journal import Journal, Session
from latency_tables.table import LatencyTable
from latency_tables.validation import Validation, compare, price_networks, validated
from networks.names import NamedNetwork, find_network

Pass = Mapping[str, Sequence[Outcome]]
"""Visits of one session by the model's sha256."""


@dataclass(frozen=True, slots=True)
class PastValidation:
    """A validation and when its first pass began."""

    started_unix_s: float
    validation: Validation


def validations(
    journal: Path, table: LatencyTable, *, plan: Plan | None = None
) -> tuple[PastValidation, ...]:
    """Return the validations under the table's condition, oldest first.

    Networks go by their block or cell strings. One that was cut short, or whose networks the table
    does not price, is left out.

    Args:
        plan: what says how many visits a network needs; by default the method's own.

    Raises:
        JournalError: there is no journal, or it is damaged.
        Uncalibrated: the table has no scale.
    """
    plan = plan or _plan_of(table.condition.method)
    found = []
    with Journal.open(journal) as log:
        names = {m.sha256: m.label for m in log.models() if m.role == "network"}
        pace_ns = log.pace_ns(table.condition)
        for session, passes in _pairs(log, table):
            try:
                validation = _compare(passes, names, table, plan, pace_ns)
            except ValidationError:
                continue
            found.append(PastValidation(session.started_unix_s, validation))
    return tuple(found)


def _plan_of(method: Method) -> Plan:
    plans: dict[Method, Plan] = {
        "resident": DEFAULT_PLAN,
        "process": ProcessPlan(),
        "packed": PackedPlan(),
    }
    return plans[method]


def _pairs(log: Journal, table: LatencyTable) -> Iterator[tuple[Session, tuple[Pass, Pass]]]:
    """Yield first and second passes: sessions in a row, with seeds in a row and equal models."""
    sessions = [
        session
        for session in log.sessions()
        if session.purpose == "validate" and session.condition == table.condition
    ]
    taken = -1
    for first, second in pairwise(sessions):
        if first.id == taken or second.seed != first.seed + 1:
            continue
        passes = log.visits_of(first.id), log.visits_of(second.id)
        if passes[0].keys() == passes[1].keys():
            taken = second.id
            yield first, passes


def _compare(
    passes: tuple[Pass, Pass],
    names: Mapping[str, str],
    table: LatencyTable,
    plan: Plan,
    pace_ns: int | None,
) -> Validation:
    networks: dict[str, NamedNetwork] = {
        sha256: find_network(label) for sha256, label in names.items() if sha256 in passes[0]
    }
    predicted, unpriced = price_networks(table, networks)
    points, failed = [], {}
    for sha256, prediction in predicted.items():
        try:
            first, second = (
                session_floor(visits[sha256], table.condition, plan, pace_ns=pace_ns).hot_ns / 1e6
                for visits in passes
            )
        except NotMeasured as error:
            failed[names[sha256]] = str(error)
        else:
            points.append(
                validated(names[sha256], prediction, first, second, networks[sha256].madds)
            )
    return compare(
        points, failed=failed, unpriced={names[sha256]: why for sha256, why in unpriced.items()}
    )
