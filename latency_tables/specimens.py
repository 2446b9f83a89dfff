"""Specimens: devices of one model, which share a table only if their anchors agree within 3 %."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile

from device_agents.errors import DeviceError
from device_agents.measurement import Agent, Condition, ModelFile, Outcome, Plan
from latency_tables.anchors import AGREE, Floors, anchor_floors, differ
from latency_tables.errors import SpecimenDiffers
from latency_tables.fleet import Fleet, measuring
from latency_tables.floors import least_visits, plan_of
from latency_tables.journal import Journal
from latency_tables.measuring import Progress, silent

Given = Mapping[str, Sequence[Outcome]]
"""What devices made of the anchors before anything else, by address."""


def measure_anchors(
    agents: Sequence[Agent],
    anchors: Sequence[ModelFile],
    plan: Plan,
    *,
    seed: int = 0,
    part: Callable[[], Progress] = lambda: silent,
) -> list[list[Outcome] | DeviceError]:
    """Return what each device, all at once, made of the anchors, or why it could not.

    Args:
        part: gives the progress of one device.
    """

    stopping = threading.Event()
    least = sum(least_visits(plan_of(plan, anchor.role)) for anchor in anchors)

    def measure(agent: Agent) -> list[Outcome] | DeviceError:
        report, made = part(), list[Outcome]()
        try:
            with measuring(agent, anchors, plan, done={}, seed=seed) as outcomes:
                for outcome in takewhile(lambda _: not stopping.is_set(), outcomes):
                    made.append(outcome)
                    report(min(len(made), least), least, "measuring the anchors of each device")
        except DeviceError as error:
            return error
        return made

    if not agents:
        return []
    with ThreadPoolExecutor(len(agents)) as threads:
        try:
            return list(threads.map(measure, agents))
        except BaseException:  # such as Ctrl-C: every device ends with its next outcome
            stopping.set()
            raise


def by_model(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Return outcomes by their model's sha256, in order."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.sha256, []).append(outcome)
    return found


def known_specimens(journal: Journal, condition: Condition) -> frozenset[str]:
    """Return the serials of the devices that measured for this journal under the condition."""
    return frozenset(
        session.serial
        for session in journal.sessions()
        if session.condition == condition and session.serial is not None
    )


def group_alike(floors: Sequence[Floors], *, agree: float = AGREE) -> list[list[int]]:
    """Return the numbers of specimens in groups, of which any two agree in all anchors.

    Args:
        floors: of each specimen.
        agree: the largest relative difference.
    """
    groups: list[list[int]] = []
    for number, mine in enumerate(floors):
        alike = (g for g in groups if all(differ(mine, floors[other]) <= agree for other in g))
        group = next(alike, None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    return groups


def admit(
    journal: Journal,
    fleet: Fleet,
    anchors: Sequence[ModelFile],
    condition: Condition,
    plan: Plan,
    given: Given,
) -> Given:
    """Return what specimens that are new to the table made of its anchors, if they agree with it.

    Raises:
        SpecimenDiffers: they do not.
    """
    known = known_specimens(journal, condition)
    new = [agent for agent in fleet.agents if agent.serial and agent.serial not in known]
    if not known or not new:
        return given
    expected = anchor_floors(anchors, journal.visits(condition), condition, plan)
    unmeasured = [agent for agent in new if agent.address not in given]
    for agent, outcomes in zip(unmeasured, measure_anchors(unmeasured, anchors, plan), strict=True):
        if isinstance(outcomes, DeviceError):
            raise outcomes
        given = {**given, agent.address: outcomes}
    for agent in new:
        found = anchor_floors(anchors, by_model(given[agent.address]), condition, plan)
        if (difference := differ(found, expected)) > AGREE:
            raise SpecimenDiffers(agent.address, sorted(known), difference)
    return given
