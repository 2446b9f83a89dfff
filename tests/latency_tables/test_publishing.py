"""What a row says beside its latency: interval, visits, specimen, why it is unstable; any clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agents.measurement import Condition, FailedVisit, Outcome, ResidentPlan, Visit
from device_agents.processes import ProcessPlan
from latency_tables.journal import JournalWriter, Model
from latency_tables.publishing import build_table
from latency_tables.table import LatencyTable
from tests.latency_tables.conftest import CONDITION, make_process

PLAN = ResidentPlan(hot=2, min_visits=4, max_visits=12, min_span_s=0.2)
PROCESSES = ProcessPlan()
KEYS = [f"v1/conv/8x8x{c}/c8/k1/s1/relu/se0/none" for c in (3, 4)]
SHAS = ["a" * 64, "b" * 64]
DAY_S = 86400.0


def visit(sha256: str, at: float, ns: int) -> Visit:
    hot = (ns, ns + 10)
    return Visit(sha256, at, 2 * ns, 2 * ns, hot, hot, 0, 0.0, 0.0, 9600)


def publish(
    path: Path,
    sessions: Sequence[tuple[str | None, Sequence[Outcome]]],
    *,
    keys: Sequence[str] = KEYS,
    plan: ResidentPlan | ProcessPlan = PLAN,
    condition: Condition = CONDITION,
) -> LatencyTable:
    """Return the table of these sessions, each with the serial of its specimen."""
    with JournalWriter.open(path) as journal:
        journal.name(Model(sha, "layer", key, (key,)) for sha, key in zip(SHAS, keys, strict=True))
        for serial, outcomes in sessions:
            number = journal.begin(
                started_unix_s=outcomes[0].started_unix_s, purpose="profile", address="x",
                tool_version="1", seed=0, condition=condition, serial=serial,
            )  # fmt: skip
            for outcome in outcomes:
                journal.append(number, outcome)
        return build_table("t", journal, condition, plan, address="x")


def visits(times: Sequence[float], ns: int = 10000) -> list[Outcome]:
    """Return a visit of either model at each of these times; they spread by 0.5 %."""
    return [
        visit(sha, at, (1 + place) * ns + 10 * number)
        for number, at in enumerate(times)
        for place, sha in enumerate(SHAS)
    ]


def test_a_row_names_its_visits_its_specimen_and_its_interval(tmp_path: Path) -> None:
    table = publish(tmp_path / "j", [("S1", visits(range(6)))])
    row = table.row(KEYS[1])
    assert (row.status, row.reason, row.serial) == ("ok", "", "S1")
    assert (row.visits, row.samples, row.journal_rows) == (6, 12, (2, 4, 6, 8, 10, 12))
    assert row.low_ms is not None
    assert row.high_ms is not None
    assert row.low_ms < row.hot_ms < row.high_ms < 1.02 * row.hot_ms
    assert row.p90_ms == pytest.approx(20059e-6, rel=1e-3)
    assert row.measured_unix_s == 5.0


def test_an_unstable_row_says_why(tmp_path: Path) -> None:
    restless: list[Outcome] = [visit(SHAS[0], at, 10000 + 500 * at) for at in range(5)]
    row = publish(tmp_path / "j", [(None, restless)]).row(KEYS[0])
    assert row.status == "unstable"
    assert row.reason == "the 3 smallest of 5 visits differ by 10.00 %, over 1.5 %"
    assert row.serial is None


def test_a_layer_that_failed_has_a_row_once_enough_visits_came_after_that(tmp_path: Path) -> None:
    restless: list[Outcome] = [visit(SHAS[0], at, 10000 + 500 * at) for at in range(8)]
    crash = FailedVisit(SHAS[0], 3.5, "crashed", "exit code 139")
    still = publish(tmp_path / "still", [(None, [*restless[:4], crash, *restless[4:7]])])
    assert KEYS[0] not in still
    assert still.invalid == {KEYS[0]: "crashed: exit code 139"}
    mended = publish(tmp_path / "mended", [(None, [*restless[:4], crash, *restless[4:]])])
    assert mended.row(KEYS[0]).status == "unstable"
    assert mended.invalid == {}


def test_specimens_that_share_a_row_are_both_named_and_their_difference_shows(
    tmp_path: Path,
) -> None:
    alike = publish(tmp_path / "alike", [("B", visits(range(6))), ("A", visits(range(6, 12)))])
    apart = publish(
        tmp_path / "apart", [("B", visits(range(6))), ("A", visits(range(6, 12), ns=10300))]
    )
    assert alike.row(KEYS[0]).serial == "A, B"
    assert (alike.row(KEYS[0]).relative_std or 1) < (apart.row(KEYS[0]).relative_std or 0)


def test_processes_have_intervals_and_no_percentile(tmp_path: Path) -> None:
    made = [
        make_process(sha, float(number), 1000 + 5 * number) for number in range(5) for sha in SHAS
    ]
    row = publish(tmp_path / "j", [("P", made)], plan=PROCESSES).row(KEYS[0])
    assert row.low_ms is not None
    assert row.high_ms is not None
    assert row.low_ms < row.hot_ms < row.high_ms
    assert (row.p90_ms, row.cold_ms, row.samples) == (None, None, 250)
    wild = [make_process(SHAS[0], float(n), 1000 + 100 * n) for n in range(10)]
    unstable = publish(tmp_path / "k", [("P", wild)], plan=PROCESSES).row(KEYS[0])
    assert unstable.reason == "values of 10 visits differ by 62.07 %, over 5 %"


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-3600, 3600), min_size=6, max_size=6))
def test_a_clock_that_is_set_changes_no_row(
    tmp_path_factory: pytest.TempPathFactory, steps: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("clock")
    steady = publish(folder / "steady", [(None, visits(range(6)))]).rows
    moved = publish(folder / "moved", [(None, visits([1.7e9 + step for step in steps]))]).rows
    when = ["measured_unix_s"]
    assert moved.drop_columns(when).equals(steady.drop_columns(when))
    assert set(moved["measured_unix_s"].to_pylist()) == {1.7e9 + steps[-1]}


@pytest.mark.parametrize("later", [-3 * DAY_S, 3 * DAY_S])
def test_what_the_journal_holds_last_is_the_newest_whatever_the_clock_says(
    tmp_path: Path, later: float
) -> None:
    """A first session of a clock that was days ahead, or behind, does not win for ever."""
    sessions = [
        (None, visits([1.7e9 + n for n in range(6)], ns=9000)),
        (None, visits([1.7e9 + later + n for n in range(6)], ns=10000)),
    ]
    row = publish(tmp_path / "j", sessions).row(KEYS[0])
    assert row.hot_ms == pytest.approx(10000e-6, rel=0.01)
    assert row.measured_unix_s == 1.7e9 + later + 5
    assert row.journal_rows == (13, 15, 17, 19, 21, 23)


@pytest.mark.parametrize("later", [-DAY_S, DAY_S])
def test_of_two_files_of_one_layer_the_one_in_the_journal_last_counts(
    tmp_path: Path, later: float
) -> None:
    again: list[Outcome] = [visit(SHAS[0], later, 500)] * 4
    both = [(None, visits([0.0, 1, 2, 3])), (None, again)]
    table = publish(tmp_path / "j", both, keys=[KEYS[0]] * 2)
    assert table.row(KEYS[0]).hot_ms == pytest.approx(500e-6)


def test_the_last_failure_is_that_of_the_journal(tmp_path: Path) -> None:
    failures = [
        FailedVisit(SHAS[0], 9.0, "crashed", "signal 11"),
        FailedVisit(SHAS[0], 1.0, "hung", "30 s"),
    ]
    table = publish(tmp_path / "j", [(None, failures)])
    assert table.invalid == {KEYS[0]: "hung: 30 s"}
