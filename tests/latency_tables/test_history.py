"""Files that older versions wrote still load; the fixtures were written by those versions."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agents.measurement import FailedVisit
from latency_tables.errors import JournalError, JournalLocked, TableDamaged
from latency_tables.journal import Journal, JournalWriter
from latency_tables.journal_schema import SCHEMA_VERSION
from latency_tables.publishing import build_table
from latency_tables.table import Calibration, LatencyTable, Row
from tests.latency_tables.conftest import make_visit
from tests.latency_tables.test_profile import PLAN

DATA = Path(__file__).with_name("data")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal of schema 1: 3 layers, of which 1 failed twice, and a network; 17 visits."""
    return Path(shutil.copy(DATA / "journal-schema-1.sqlite", tmp_path / "journal.sqlite"))


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_journal_of_schema_1_is_read_without_being_touched(old: Path) -> None:
    before = old.read_bytes()
    with Journal.open(old) as journal:
        journal.check()
        assert journal.count_visits() == 17
        (session,) = journal.sessions()
        assert (session.address, session.serial) == ("simulated", None)
        outcomes = [o for some in journal.visits(session.condition).values() for o in some]
    failed = [outcome for outcome in outcomes if isinstance(outcome, FailedVisit)]
    assert [failure.reason for failure in failed] == ["crashed", "rejected"]
    assert len(outcomes) == 17
    assert old.read_bytes() == before


def test_a_journal_of_schema_1_is_migrated_and_appended_to(old: Path) -> None:
    with Journal.open(old) as journal:
        (session,) = journal.sessions()
        before = journal.visits(session.condition)
    with JournalWriter.open(old) as writer:
        number = writer.begin(
            started_unix_s=1.0, purpose="profile", address="simulated", tool_version="1", seed=0,
            condition=session.condition, serial="S1",
        )  # fmt: skip
        assert writer.append(number, make_visit("c" * 64)) == 1
    assert version(old) == SCHEMA_VERSION
    assert [file.name for file in old.parent.iterdir() if "migrating" in file.name] == []
    with Journal.open(old) as journal:
        assert journal.visits(session.condition) == before | {"c" * 64: [make_visit("c" * 64)]}
        assert [s.serial for s in journal.sessions()] == [None, "S1"]


def test_a_migrated_journal_has_the_schema_of_a_new_one(old: Path, tmp_path: Path) -> None:
    JournalWriter.open(old).close()
    JournalWriter.open(tmp_path / "new.sqlite").close()
    schemas = []
    for path in (old, tmp_path / "new.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL")
            schemas.append({name: sql.split() for name, sql in rows})
    assert schemas[0] == schemas[1]


def test_the_old_journal_stays_until_the_new_one_is_whole(old: Path) -> None:
    """A copy that cannot be written, as on a full disk, leaves the journal as it was."""
    blocked = old.with_name(f".{old.name}.migrating")
    blocked.mkdir()
    with pytest.raises(JournalError, match="cannot be written"):
        JournalWriter.open(old)
    assert version(old) == 1
    blocked.rmdir()
    with Journal.open(old) as journal:
        assert journal.count_visits() == 17
    JournalWriter.open(old).close()
    assert version(old) == SCHEMA_VERSION


def test_a_journal_that_is_being_read_is_not_migrated(old: Path) -> None:
    with closing(sqlite3.connect(old)) as reader:
        reader.execute("PRAGMA journal_mode = WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM visits").fetchone()
        with pytest.raises(JournalLocked, match="another process"):
            JournalWriter.open(old)
        assert version(old) == 1
    JournalWriter.open(old).close()
    assert version(old) == SCHEMA_VERSION


def test_a_table_of_schema_1_loads_and_is_what_its_journal_gives(old: Path) -> None:
    table = LatencyTable.load(DATA / "table-schema-1.parquet")
    assert table.provenance.serial is None
    assert len(table) == 2
    with Journal.open(old) as journal:
        again = build_table(
            table.name, journal, table.condition, PLAN, address=table.provenance.address
        )
    since_3 = ["low_ms", "high_ms", "p90_ms", "samples", "reason", "serial", "journal_rows"]
    assert again.rows.drop_columns(since_3).equals(table.rows.drop_columns(since_3))
    assert again.calibration == table.calibration
    assert LatencyTable.from_bytes(table.to_bytes(), old) == table


def test_a_table_of_schema_2_loads_and_says_nothing_of_what_it_did_not_hold() -> None:
    table = LatencyTable.load(DATA / "table-schema-2.parquet")
    conv, classifier = "v1/conv/8x8x3/c8/k3/s2/relu/se0/none", "v1/classifier/4x4x8/c10/h0/linear"
    assert len(table) == 3
    row = table.row(conv)
    assert row == Row(conv, 0.0125, None, 5, "ok", 0.02, 1.7e9, "a" * 64)
    assert row.relative_std is None
    assert np.isnan(table.relative_std([conv, classifier])).all()
    (network,) = table.networks
    assert (network.layers, network.latency_ms) == ((conv, classifier), 0.0171)
    assert (network.low_ms, network.high_ms) == (None, None)
    assert table.calibration == Calibration(1.103, None, 1)
    assert table.calibration.is_additive
    assert table.check is not None
    assert table.check.holds
    assert table.anchors == ()
    assert table.provenance.serial == "SERIAL"
    assert LatencyTable.from_bytes(table.to_bytes(), DATA) == table


@pytest.mark.parametrize("name", ["table-schema-1.parquet", "table-schema-2.parquet"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_an_old_table_that_was_changed_or_cut_gives_no_number(
    name: str, data: st.DataObject
) -> None:
    whole = (DATA / name).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << bit
    for damaged in (bytes(flipped), whole[:place], whole[:place] + whole[place + 1 :]):
        with pytest.raises(TableDamaged, match=r"^old\.parquet: expected"):
            LatencyTable.from_bytes(damaged, Path("old.parquet"))
    assert len(LatencyTable.from_bytes(whole, Path("old.parquet"))) > 1


def test_old_tables_are_plain_parquet() -> None:
    for name in ("table-schema-1.parquet", "table-schema-2.parquet"):
        file = DATA / name
        frame = pd.read_parquet(file)
        assert frame["hot_ms"].tolist() == LatencyTable.load(file).rows["hot_ms"].to_pylist()
