"""Floors by method: what the visits of one model say under a plan, whichever method it is of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from device_agents.floor import is_done, summarize
from device_agents.measurement import (
    Agent,
    Condition,
    FailedVisit,
    Floor,
    Method,
    Outcome,
    Plan,
    ResidentPlan,
    Role,
    Visit,
)
from device_agents.packs import PackedPlan, PackVisit
from device_agents.processes import ProcessPlan, ProcessVisit, is_measured, process_floor
from latency_tables.errors import NotMeasured


def plan_of(plan: Plan, role: Role) -> Plan:
    """Return the plan for a model of this role."""
    if isinstance(plan, PackedPlan):
        return plan if role == "pack" else plan.clean
    return plan.of(role) if isinstance(plan, ResidentPlan) else plan


def default_plan(agent: Agent, method: Method) -> Plan:
    """Return the plan that the agent measures by, in a table of this method."""
    own = agent.default_plan
    return PackedPlan(clean=own) if method == "packed" and isinstance(own, ProcessPlan) else own


def clean_plan(plan: Plan) -> ResidentPlan | ProcessPlan:
    """Return how a layer or network by itself is timed under the plan."""
    return plan.clean if isinstance(plan, PackedPlan) else plan


def least_visits(plan: Plan) -> int:
    """Return the number of visits without which a model has no value; see `plan_of`."""
    if isinstance(plan, PackedPlan):
        return 1  # of each pack: layers are dealt into others before they are visited again
    return plan.min_visits if isinstance(plan, ResidentPlan) else plan.min_processes


def measured(outcomes: Iterable[Outcome]) -> list[Visit | ProcessVisit]:
    """Return the visits that timed a model by itself."""
    return [outcome for outcome in outcomes if isinstance(outcome, Visit | ProcessVisit)]


def is_enough(outcomes: Iterable[Outcome], condition: Condition, plan: Plan) -> bool:
    """Return whether a model needs no more visits: they agree, or are at the plan's maximum."""
    if isinstance(plan, PackedPlan):
        return any(isinstance(outcome, PackVisit) for outcome in outcomes)
    if isinstance(plan, ResidentPlan):
        return is_done(_resident(outcomes), condition.statistic, plan)
    return is_measured(_processes(outcomes), plan)


def floor_of(
    outcomes: Iterable[Outcome],
    condition: Condition,
    plan: Plan,
    *,
    pace_ns: int | None = None,
) -> Floor:
    """Return the floor of one layer's or network's visits, by itself.

    Args:
        pace_ns: what the resident method states it at, see `device_agents.floor.summarize`.

    Raises:
        NoVisits: none of them gave a number.
    """
    plan = clean_plan(plan)
    if isinstance(plan, ResidentPlan):
        return summarize(_resident(outcomes), condition.statistic, plan, pace_ns=pace_ns)
    return process_floor(_processes(outcomes), plan)


def session_floor(
    outcomes: Sequence[Outcome],
    condition: Condition,
    plan: Plan,
    *,
    pace_ns: int | None = None,
) -> Floor:
    """Return the floor of one model's visits in one session, at a table's pace if it is given.

    Raises:
        NotMeasured: too few of them gave a number; says why the last did not.
    """
    plan = clean_plan(plan)
    visits, least = measured(outcomes), least_visits(plan)
    if len(visits) < least:
        failures = [outcome for outcome in outcomes if isinstance(outcome, FailedVisit)]
        why = f": {failures[-1].reason}, {failures[-1].detail}" if failures else ""
        raise NotMeasured(f"expected {least} visits, found {len(visits)}{why}")
    return floor_of(visits, condition, plan, pace_ns=pace_ns)


def _resident(outcomes: Iterable[Outcome]) -> list[Visit]:
    return [outcome for outcome in outcomes if isinstance(outcome, Visit)]


def _processes(outcomes: Iterable[Outcome]) -> list[ProcessVisit]:
    return [outcome for outcome in outcomes if isinstance(outcome, ProcessVisit)]
