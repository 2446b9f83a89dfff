"""Profiling with several devices: who shares a table, and a table for each who does not.

conditions --> anchors on every device --> groups that agree within 3 % --> one queue, one table
NAME             the devices that agree with the table as it is, or with the first of them
NAME-SERIAL      another group, by its first device
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from device_agents.errors import DeviceError
from device_agents.measurement import Agent, Condition, ModelFile, Outcome, Plan
from exporters.catalog import make_exporter
from latency_tables.anchors import Floors, anchor_floors, choose_anchors
from latency_tables.fleet import Fleet
from latency_tables.granularity import granularity_of_units
from latency_tables.journal import Journal
from latency_tables.measuring import Progress, export_models, silent
from latency_tables.profile import ProfileResult, Request, profile_group
from latency_tables.specimens import by_model, group_alike, known_specimens, measure_anchors
from latency_tables.store import TableDirectory, TableStore
from networks.operators import Unit


@dataclass(frozen=True, slots=True)
class FleetResult:
    """What became of each table, and the addresses that failed before they could join one."""

    tables: tuple[ProfileResult, ...]
    drained: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Member:
    agent: Agent
    condition: Condition
    outcomes: list[Outcome]
    floors: Floors


def profile_fleet(
    agents: Sequence[Agent],
    layers: Sequence[Unit],
    store: TableStore,
    name: str,
    request: Request,
    *,
    progress: Progress | None = None,
) -> FleetResult:
    """Profile with several devices at once; see the module, and `profile.profile`.

    What a device measures of its anchors is in the journal once it is known whose table it is
    for; until then, for a minute or two, it is in memory alone.

    Raises:
        DeviceError: the first device's, when none is left.
        LatencyTableError: a group's own; the other groups have published by then.
    """
    report = _Together(progress or silent)
    plan = request.plan or agents[0].default_plan
    with tempfile.TemporaryDirectory(prefix="hilnas-") as work:
        exporter = request.exporter or make_exporter(precision=request.precision, seed=request.seed)
        models = export_models(
            layers, request.networks, Path(work), request.seed, exporter, report.part(),
            granularity_of_units(layers),
        )  # fmt: skip
        anchors = choose_anchors(models)
        members, drained = _join(agents, anchors, request, plan, report)
    groups = _group(members, anchors, store, name, plan)

    def profile(directory: TableDirectory, group: Sequence[_Member]) -> ProfileResult:
        fleet = Fleet(*(member.agent for member in group))
        given = {member.agent.address: member.outcomes for member in group}
        return profile_group(fleet, layers, directory, request, report.part(), given)

    if len(groups) == 1:
        return FleetResult((profile(*groups[0]),), drained)
    with ThreadPoolExecutor(len(groups)) as threads:
        running = [threads.submit(profile, *group) for group in groups]
        try:
            wait(running)
        except BaseException:  # such as Ctrl-C: every group ends with its next visit
            report.stop()
            raise
    return FleetResult(tuple(table.result() for table in running), drained)


def _join(
    agents: Sequence[Agent],
    anchors: Sequence[ModelFile],
    request: Request,
    plan: Plan,
    report: _Together,
) -> tuple[list[_Member], dict[str, str]]:
    """Return the devices that measured the anchors, and why others did not."""
    members, errors = [], dict[str, DeviceError]()
    measured = measure_anchors(agents, anchors, plan, part=report.part)
    for agent, outcomes in zip(agents, measured, strict=True):
        try:
            if isinstance(outcomes, DeviceError):
                raise outcomes
            condition = agent.condition(precision=request.precision, plan=plan)
        except DeviceError as error:
            errors[agent.address] = error
            continue
        floors = anchor_floors(anchors, by_model(outcomes), condition, plan)
        members.append(_Member(agent, condition, outcomes, floors))
    if not members:
        raise next(iter(errors.values()))
    return members, {at: f"{type(error).__name__}: {error}" for at, error in errors.items()}


def _group(
    members: Sequence[_Member],
    anchors: Sequence[ModelFile],
    store: TableStore,
    name: str,
    plan: Plan,
) -> list[tuple[TableDirectory, list[_Member]]]:
    """Return the tables and the members of each, the one called ``name`` first, if it has any."""
    named = store.directory(name)
    conditions = dict.fromkeys(member.condition for member in members)
    before = {
        condition: floors
        for condition in conditions
        if (floors := _table_floors(named, anchors, condition, plan)) is not None
    }
    groups: list[tuple[TableDirectory, list[_Member]]] = []
    for condition in conditions:
        alike = [member for member in members if member.condition == condition]
        # The table as it is comes first, as if it were a specimen: who agrees with it, joins it
        seats: list[_Member | None] = [None, *alike] if condition in before else [*alike]
        seated = [before[condition] if seat is None else seat.floors for seat in seats]
        for numbers in group_alike(seated):
            group = [seat for n in numbers if (seat := seats[n]) is not None]
            if not group:
                continue
            joins = len(group) < len(numbers) if before else not groups
            agent = group[0].agent
            own = f"{name}-{agent.serial or agent.address}".replace("/", "-")
            groups.append((named if joins else store.directory(own), group))
    return groups


def _table_floors(
    directory: TableDirectory, anchors: Sequence[ModelFile], condition: Condition, plan: Plan
) -> Floors | None:
    """Return what the table's devices made of the anchors, if it has any of this condition."""
    if not directory.journal.exists():
        return None
    with Journal.open(directory.journal) as journal:
        if not known_specimens(journal, condition):
            return None
        return anchor_floors(anchors, journal.visits(condition), condition, plan)


class _Together:
    """One progress of several threads: the sums of their parts."""

    def __init__(self, report: Progress) -> None:
        self._report, self._lock = report, threading.Lock()
        self._parts: list[tuple[int, int]] = []
        self._stopping = False

    def stop(self) -> None:
        """End every thread the next time that it reports."""
        self._stopping = True

    def part(self) -> Progress:
        """Return the progress of one thread."""
        with self._lock:
            number = len(self._parts)
            self._parts.append((0, 0))

        def report(done: int, total: int, text: str) -> None:
            if self._stopping:
                raise KeyboardInterrupt
            with self._lock:
                self._parts[number] = (done, total)
                done, total = (sum(column) for column in zip(*self._parts, strict=True))
                self._report(done, total, text)

        return report
