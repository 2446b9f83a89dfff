from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agents.floor import reference_pace_ns
from device_agents.measurement import FailedVisit, Outcome
from device_agents.packs import PackVisit
from device_agents.tools.op_profile import OpProfile, OpRow
from latency_tables.errors import (
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalNewer,
)
from latency_tables.journal import Journal, JournalWriter, Model
from tests.latency_tables.conftest import CONDITION, OTHER_CONDITION, make_process, make_visit

LAYER = Model("a" * 64, "layer", "v1/x", ("v1/x",))
NETWORK = Model("b" * 64, "network", "n", ("v1/x", "v1/x"))
WRITER = Path(__file__).with_name("journal_writer.py")


def begin(journal: JournalWriter, *, other: bool = False, serial: str | None = None) -> int:
    return journal.begin(
        started_unix_s=1.0,
        purpose="profile",
        address="test:",
        tool_version="0",
        seed=3,
        condition=OTHER_CONDITION if other else CONDITION,
        serial=serial,
    )


def start_writer(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, WRITER, path, json.dumps(CONDITION.to_dict())],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(WRITER.parents[2])},
    )


def append_until_full(journal: JournalWriter, session: int) -> int:
    for committed in range(10_000):
        try:
            journal.append(session, make_visit())
        except JournalFull:
            return committed
    raise AssertionError("never full")


def test_the_pace_is_that_of_all_resident_visits_of_the_condition(tmp_path: Path) -> None:
    visits = [replace(make_visit(), pace_ns=9600 + 10 * n) for n in range(120)]
    with JournalWriter.open(tmp_path / "j.sqlite") as journal:
        session, other = begin(journal), begin(journal, other=True)
        journal.append(other, replace(make_visit(), pace_ns=1))
        journal.append(session, FailedVisit("b" * 64, 3.0, "crashed", "signal 11"))
        journal.append(session, make_process())
        assert journal.pace_ns(CONDITION) is None
        for visit in reversed(visits):
            journal.append(session, visit)
        assert journal.pace_ns(CONDITION) == reference_pace_ns(visits) == 9620
        journal.append(session, replace(make_visit(), pace_ns=None))
        assert journal.pace_ns(CONDITION) is None


def test_what_was_appended_is_read_back_by_condition(tmp_path: Path) -> None:
    failed = FailedVisit("b" * 64, 3.0, "crashed", "signal 11")
    visits = [make_visit(at=1.0), make_visit(at=0.5, hot_ns=900)]
    with JournalWriter.open(tmp_path / "j.sqlite") as journal:
        session = begin(journal)
        for visit in visits:
            journal.append(session, visit)
        journal.append(session, failed)
        journal.append(begin(journal, other=True), make_visit(hot_ns=1))
        journal.name([LAYER])
        journal.name([LAYER, NETWORK])
    with Journal.open(tmp_path / "j.sqlite") as reader:
        assert reader.visits(CONDITION) == {"a" * 64: visits, "b" * 64: [failed]}
        assert reader.visits(CONDITION, purposes=["validate"]) == {}
        entries = reader.entries(CONDITION)
        assert [(e.id, e.session) for e in entries["a" * 64]] == [(1, 1), (2, 1)]
        assert [(e.id, e.outcome) for e in entries["b" * 64]] == [(3, failed)]
        assert reader.models() == (LAYER, NETWORK)
        assert [s.condition for s in reader.sessions()] == [CONDITION, OTHER_CONDITION]
        assert reader.count_visits() == 4


processes = st.builds(
    make_process,
    st.sampled_from(["a" * 64, "b" * 64]),
    ns=st.integers(1, 10**9),
    median=st.booleans(),
    raw=st.text(max_size=20),
    origin=st.none() | st.tuples(st.sampled_from(["job-1", "job-2"]), st.integers(0, 3)),
)
failures = st.builds(
    FailedVisit,
    st.just("a" * 64),
    st.floats(0, 2e9),
    st.sampled_from(["crashed", "hung", "rejected", "unreadable", "invalid"]),
    st.text(max_size=9),
    raw=st.text(max_size=20),
    origin=st.none() | st.tuples(st.just("job-3"), st.integers(0, 3)),
)
rows = st.builds(
    OpRow, st.text(max_size=9), st.text(max_size=9), st.none() | st.integers(0, 99),
    st.floats(0, 1e9), st.integers(0, 50), st.booleans(),
)  # fmt: skip
packs = st.builds(
    PackVisit,
    st.just("d" * 64),
    st.floats(0, 2e9),
    st.builds(
        OpProfile, st.lists(rows, max_size=3).map(tuple), st.lists(rows, max_size=2).map(tuple),
        st.integers(1, 50),
    ),
    raw=st.text(max_size=20),
)  # fmt: skip


@given(st.lists(processes | failures | packs | st.just(make_visit()), max_size=12))
@settings(max_examples=30, deadline=None)
def test_a_visit_is_read_back_as_it_was_and_a_job_hands_in_each_once(
    outcomes: list[Outcome],
) -> None:
    kept: list[Outcome] = []
    with TemporaryDirectory() as folder, JournalWriter.open(Path(folder) / "j.sqlite") as journal:
        known: set[object] = set()
        for outcome in outcomes:
            session = begin(journal)  # whichever session hands it in
            number = journal.append(session, outcome)
            origin = getattr(outcome, "origin", None)
            assert number == (None if origin in known else 1)
            if origin not in known:
                kept.append(outcome)
            known |= {origin} - {None}
        read = [visit for visits in journal.visits(CONDITION).values() for visit in visits]
        assert journal.count_visits() == len(kept)
    assert sorted(read, key=repr) == sorted(kept, key=repr)


def test_sessions_of_several_devices_are_open_at_once(tmp_path: Path) -> None:
    with JournalWriter.open(tmp_path / "j.sqlite") as journal:
        first, second = begin(journal), begin(journal, serial="S2")
        assert [journal.append(s, make_visit()) for s in (first, second, first)] == [1, 1, 2]
        assert [session.serial for session in journal.sessions()] == [None, "S2"]


@pytest.mark.parametrize(
    "table", ["sessions", "models", "visits", "processes", "printed", "origins", "profiles"]
)
@pytest.mark.parametrize("sql", ["UPDATE {} SET rowid = 99", "DELETE FROM {}"])
def test_no_row_is_ever_rewritten(tmp_path: Path, table: str, sql: str) -> None:
    with JournalWriter.open(tmp_path / "j.sqlite") as journal:
        session = begin(journal)
        journal.append(session, make_process(raw="x", origin=("job", 1)))
        journal.append(session, PackVisit("c" * 64, 1.0, OpProfile((), (), 5)))
        journal.name([LAYER])
    connection = sqlite3.connect(tmp_path / "j.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(sql.format(table))
    connection.close()


def test_survives_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    path, rng = tmp_path / "j.sqlite", random.Random(5)
    acknowledged: set[tuple[int, int]] = set()
    for _ in range(50):
        with start_writer(path) as writer:
            assert writer.stdout is not None
            lines = []
            for _ in range(rng.randrange(1, 40)):
                lines.append(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.read().splitlines(keepends=True)
        whole = (line.split() for line in lines if line.endswith("\n"))
        acknowledged |= {(int(session), int(number)) for session, number in whole}
        with Journal.open(path) as reader:
            reader.check()
            rows = reader._rows("SELECT session, number FROM visits")
            assert acknowledged <= set(rows)
    assert len(acknowledged) > 500


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with start_writer(path) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(JournalLocked, match=f"found process {writer.pid} writing"):
            JournalWriter.open(path)
        with Journal.open(path) as reader:  # while the other goes on writing
            before = reader.count_visits()
            while reader.count_visits() == before:
                writer.stdout.readline()
        writer.kill()
    JournalWriter.open(path).close()  # the lock went with the process


def test_a_full_disk_is_one_line_and_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with JournalWriter.open(path) as journal:
        journal._connection.execute("PRAGMA max_page_count = 30")
        session = begin(journal)
        committed = append_until_full(journal, session)
        with pytest.raises(JournalFull, match=r"^[^\n]*cannot append[^\n]*run the same command"):
            journal.append(session, make_visit())
    assert committed > 10
    with JournalWriter.open(path) as journal:
        journal.check()
        assert journal.count_visits() == committed


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    JournalWriter.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    for opener in (Journal.open, JournalWriter.open):
        with pytest.raises(JournalNewer, match="schema 2 or older, found 7"):
            opener(path)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with pytest.raises(JournalError, match="found no file"):
        Journal.open(path)
    path.write_bytes(b"not a database" * 100)
    for opener in (Journal.open, JournalWriter.open):
        with pytest.raises(JournalDamaged, match="found a damaged file"):
            opener(path)
    assert path.read_bytes() == b"not a database" * 100
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(JournalDamaged, match="another SQLite file"):
        JournalWriter.open(path)
