from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from device_agents.measurement import FailedVisit
from latency_tables.errors import (
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalNewer,
)
from latency_tables.journal import Journal, JournalWriter, Model
from tests.latency_tables.conftest import CONDITION, OTHER_CONDITION, make_visit

LAYER = Model("a" * 64, "layer", "v1/x", ("v1/x",))
NETWORK = Model("b" * 64, "network", "n", ("v1/x", "v1/x"))
WRITER = Path(__file__).with_name("journal_writer.py")


def begin(journal: JournalWriter, *, other: bool = False) -> int:
    return journal.begin(
        started_unix_s=1.0,
        purpose="profile",
        address="test:",
        tool_version="0",
        seed=3,
        condition=OTHER_CONDITION if other else CONDITION,
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
        assert reader.models() == (LAYER, NETWORK)
        assert [s.condition for s in reader.sessions()] == [CONDITION, OTHER_CONDITION]
        assert reader.count_visits() == 4


@pytest.mark.parametrize("table", ["sessions", "models", "visits"])
@pytest.mark.parametrize("sql", ["UPDATE {} SET id = 99", "DELETE FROM {}"])
def test_no_row_is_ever_rewritten(tmp_path: Path, table: str, sql: str) -> None:
    with JournalWriter.open(tmp_path / "j.sqlite") as journal:
        journal.append(begin(journal), make_visit())
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
