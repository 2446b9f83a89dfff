from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from device_agents.measurement import Condition, FailedVisit, ModelFile, Plan, Visit
from device_agents.processes import ProcessVisit
from device_agents.simulated import (
    PACE_NS,
    START_UNIX_S,
    SimulatedAgent,
    latency_of_sha256_ns,
)
from exporters.exporter import export_layer
from latency_tables.errors import (
    ClockWentBack,
    ConditionMismatch,
    JournalLocked,
    NoJournal,
    NotChanged,
    NotMeasured,
)
from latency_tables.journal import Journal, JournalWriter
from latency_tables.profile import profile
from latency_tables.rebase import rebase
from latency_tables.refresh import RefreshResult, refresh
from latency_tables.refresh_session import DAY_S, RefreshRequest
from latency_tables.store import TableDirectory, directory_of
from tests.latency_tables.test_profile import BODIES, HEAD, LAYERS, NETWORKS, PLAN

WEEK = 8 * DAY_S


class Device(SimulatedAgent):
    """A device whose OS build and patience can be told."""

    def __init__(
        self,
        latency_ns: Callable[[str], float] = latency_of_sha256_ns,
        *,
        after_s: float = 0.0,
        os_build: str = "simulated",
        pace_ns: int = PACE_NS,
        stop_at: int | None = None,
        noise: float = 0.001,
        seed: int = 1,
    ) -> None:
        super().__init__(latency_ns, noise=noise, seed=seed, pace_ns=pace_ns)
        self.now_unix_s = START_UNIX_S + after_s
        self.os_build, self.stop_at, self.visits = os_build, stop_at, 0

    def condition(self, *, precision: str, plan: Plan = PLAN) -> Condition:
        return replace(super().condition(precision=precision, plan=plan), os_build=self.os_build)

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[Visit | ProcessVisit]] | None = None,
        seed: int = 0,
    ) -> Iterator[Visit | FailedVisit]:
        for visit in super().measure(models, plan, done=done, seed=seed):
            if self.visits == self.stop_at:
                raise KeyboardInterrupt
            self.visits += 1
            yield visit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TableDirectory:
    directory = TableDirectory(tmp_path_factory.mktemp("made") / "table")
    profile(Device(seed=0), LAYERS, directory, networks=NETWORKS, plan=PLAN)
    return directory


@pytest.fixture
def table(made: TableDirectory, tmp_path: Path) -> TableDirectory:
    """A table of eight layers that a week-long nobody has looked at."""
    shutil.copytree(made.path, tmp_path / "table")
    return TableDirectory(tmp_path / "table")


def run(agent: Device, directory: TableDirectory, **wanted: object) -> RefreshResult:
    return refresh(agent, directory, request(agent, **wanted))


def request(agent: Device, **wanted: object) -> RefreshRequest:
    values = {"plan": PLAN, "now_unix_s": lambda: agent.now_unix_s, **wanted}
    return RefreshRequest(**values)  # type: ignore[arg-type]


def slowed(factor: float) -> Callable[[str], float]:
    """Return the latencies of a device that is slower at everything."""
    return lambda sha256: factor * latency_of_sha256_ns(sha256)


def by_kind(table: TableDirectory, kind: str, factor: float) -> Callable[[str], float]:
    """Return the latencies of a device that is slower at layers of one kind."""
    with Journal.open(table.journal) as journal:
        slow = {m.sha256 for m in journal.models() if f"v1/{kind}/" in m.label}
    return lambda sha256: latency_of_sha256_ns(sha256) * (factor if sha256 in slow else 1.0)


def count(table: TableDirectory) -> int:
    with Journal.open(table.journal) as journal:
        return journal.count_visits()


def test_a_table_has_a_network_and_layers_of_each_kind_as_anchors(table: TableDirectory) -> None:
    anchors = table.load().anchors
    kinds = [anchor.kind for anchor in anchors]
    assert kinds == ["network", "bottleneck", "bottleneck", "bottleneck", "classifier", "conv"]
    for anchor in anchors[1:]:
        assert table.load().row(anchor.label).hot_ms == pytest.approx(anchor.latency_ms)


def test_a_fresh_table_stays_as_it_is(table: TableDirectory) -> None:
    before = table.current()
    result = run(Device(after_s=DAY_S), table)
    assert (result.wanting, result.remaining, result.measured) == ({}, 0, 8)
    assert result.is_done
    assert (result.table, result.coverage) == (before, 1.0)
    assert "within its bands" in result.drift.text


def test_stale_rows_are_measured_anew_and_old_visits_no_longer_count(
    table: TableDirectory,
) -> None:
    result = run(Device(slowed(1.01), after_s=WEEK), table)
    assert (result.wanting, result.remaining) == ({"stale": 8}, 0)
    was, now = (table.versions()[i] for i in (0, 1))
    assert result.table == now
    old, new = (type(table.load()).load(file) for file in (was, now))
    for layer in LAYERS:
        assert new.row(layer.key).hot_ms / old.row(layer.key).hot_ms == pytest.approx(
            1.01, abs=4e-3
        )
        assert new.row(layer.key).measured_unix_s > START_UNIX_S + WEEK


def test_references_are_of_the_first_two_refreshes_and_a_creeping_change_is_found(
    table: TableDirectory,
) -> None:
    references, causes = [], []
    for week in range(1, 9):
        agent = Device(slowed(1.007**week), after_s=week * WEEK, seed=week)
        causes.append(run(agent, table).drift.cause)
        references.append([anchor.latency_ms for anchor in table.load().anchors])
    assert references[0] != references[1] == references[2] == references[-1]
    assert causes[:3] == ["none"] * 3
    assert causes[-1] == "uniform"


@pytest.mark.parametrize("kind", ["uniform", "bottleneck", "clock"])
def test_a_drifted_device_touches_no_row_and_leaks_into_none(
    table: TableDirectory, kind: str
) -> None:
    before = table.load()
    agents = {
        "uniform": Device(slowed(1.08), after_s=WEEK),
        "bottleneck": Device(by_kind(table, "bottleneck", 1.15), after_s=WEEK),
        "clock": Device(slowed(1.06), after_s=WEEK, pace_ns=round(1.06 * PACE_NS)),
    }
    cause = {"uniform": "uniform", "bottleneck": "kind", "clock": "pace"}[kind]
    result = run(agents[kind], table, thermal=lambda: "thermal: 2 (moderate)")
    assert (result.drift.cause, result.drift.thermal) == (cause, "thermal: 2 (moderate)")
    assert not result.is_done
    assert table.load() == before
    assert len(table.versions()) == 1
    with JournalWriter.open(table.journal):
        pass
    later = run(Device(after_s=WEEK + DAY_S), table)
    assert later.drift.cause == "none"
    for layer in LAYERS:
        assert table.load().row(layer.key).hot_ms == pytest.approx(
            before.row(layer.key).hot_ms, rel=0.01
        )


def test_another_os_build_is_a_changed_device(table: TableDirectory) -> None:
    visits = count(table)
    result = run(Device(after_s=WEEK, os_build="new"), table)
    assert result.drift.cause == "os-build"
    assert "os_build 'simulated' | 'new'" in result.drift.text
    assert count(table) == visits


def test_another_condition_is_refused(table: TableDirectory) -> None:
    class Other(Device):
        def condition(self, *, precision: str, plan: Plan = PLAN) -> Condition:
            return replace(super().condition(precision=precision, plan=plan), threads=4)

    with pytest.raises(ConditionMismatch, match=r"threads 1 \| 4"):
        run(Other(after_s=WEEK), table)


@pytest.mark.parametrize("after", [3, 25, 90])
def test_a_killed_refresh_goes_on(table: TableDirectory, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Device(after_s=WEEK, stop_at=after), table)
    killed_at = count(table)
    result = run(Device(after_s=WEEK + 60), table)
    assert (result.remaining, result.measured) == (0, 8)
    assert count(table) > killed_at
    oldest = min(table.load().rows["measured_unix_s"].to_pylist())
    assert oldest > START_UNIX_S + WEEK


def test_a_second_refresh_finds_the_journal_locked(table: TableDirectory) -> None:
    with JournalWriter.open(table.journal), pytest.raises(JournalLocked):
        run(Device(after_s=WEEK), table)


def test_a_budget_too_small_for_anything_is_refused_before_anything(table: TableDirectory) -> None:
    visits = count(table)
    with pytest.raises(
        NotMeasured, match=r"expected a budget of 1 s or more.* nothing was measured"
    ):
        run(Device(after_s=WEEK), table, budget_s=0.1)
    assert count(table) == visits


def test_a_clock_that_went_backwards_is_said(table: TableDirectory) -> None:
    with pytest.raises(ClockWentBack, match="expected a clock that is past its newest row"):
        run(Device(after_s=-WEEK), table)
    assert len(table.versions()) == 1


def test_what_failed_and_what_is_missing_is_tried_again(
    tmp_path: Path, table: TableDirectory
) -> None:
    bad = export_layer(BODIES[0], tmp_path / "x.tflite").sha256
    directory = TableDirectory(tmp_path / "partial")
    agent = SimulatedAgent(faults={bad: ["rejected"]})
    profile(agent, LAYERS[:-1], directory, networks=NETWORKS, plan=PLAN)
    assert set(directory.load().invalid) == {BODIES[0].key}
    result = run(Device(after_s=DAY_S), directory)
    assert (result.wanting, result.invalid, result.measured) == ({"missing": 1}, {}, 7)
    result = run(Device(after_s=DAY_S), directory, units=LAYERS)
    assert (result.wanting, result.measured, result.layers) == ({"missing": 1}, 8, 8)
    assert HEAD.key in directory.load()


def test_a_rebased_table_is_new_and_the_old_one_stays(
    table: TableDirectory, tmp_path: Path
) -> None:
    before, target = table.load(), TableDirectory(tmp_path / "table-2")
    slow = Device(slowed(1.08), after_s=WEEK)
    result = rebase(slow, table, target, request(slow))
    assert (result.drift.cause, result.measured, result.wanting) == (
        "uniform", 8, {"predicted": 8},
    )  # fmt: skip
    assert table.load() == before
    new = target.load()
    assert {row["status"] for row in new.rows.to_pylist()} == {"ok"}
    assert new.calibration is not None
    assert run(slow, target).drift.cause == "none"


def test_a_device_that_has_not_changed_is_not_rebased(
    table: TableDirectory, tmp_path: Path
) -> None:
    agent = Device(after_s=WEEK)
    with pytest.raises(NotChanged, match="refresh it without --rebase"):
        rebase(agent, table, TableDirectory(tmp_path / "table-2"), request(agent))
    assert not (tmp_path / "table-2").exists()


def test_a_rebase_that_was_killed_goes_on(table: TableDirectory, tmp_path: Path) -> None:
    target = TableDirectory(tmp_path / "table-2")
    killed = Device(after_s=WEEK, os_build="new", stop_at=30)
    with pytest.raises(KeyboardInterrupt):
        rebase(killed, table, target, request(killed))
    assert count(target) == 30
    agent = Device(after_s=WEEK + 60, os_build="new")
    result = rebase(agent, table, target, request(agent))
    assert (result.drift.cause, result.measured) == ("os-build", 8)
    assert target.load().condition.os_build == "new"


def test_a_file_without_its_journal_cannot_be_refreshed(
    table: TableDirectory, tmp_path: Path
) -> None:
    assert directory_of(table.current()).journal == table.journal
    alone = tmp_path / "elsewhere" / "x.parquet"
    alone.parent.mkdir()
    shutil.copy(table.current(), alone)
    with pytest.raises(NoJournal, match="a file alone cannot be measured again"):
        directory_of(alone)
