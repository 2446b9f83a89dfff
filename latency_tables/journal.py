"""Journal: every visit that was ever made for a table, in order, never rewritten.

One SQLite file (WAL, ``synchronous=FULL``): a visit is committed to the disk before the next is
taken, so a killed process loses none that it was told of. Triggers refuse UPDATE and DELETE.
One process writes, holding a lock on the file ``journal.sqlite.lock``, which the system takes
back when that process ends, however it ends; any number may read meanwhile.

History of the schema (``user_version``):
    1   sessions, models, visits
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from device_agents.floor import reference_pace_ns
from device_agents.measurement import Condition, FailedVisit, Role, Visit
from latency_tables.errors import (
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalNewer,
)

SCHEMA_VERSION = 1
Purpose = Literal["profile", "validate", "refresh"]
_APPLICATION_ID = 0x68696C6E  # "hiln"
_SCHEMA = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, started_unix_s REAL NOT NULL, purpose TEXT NOT NULL,
    address TEXT NOT NULL, tool_version TEXT NOT NULL, seed INTEGER NOT NULL,
    condition TEXT NOT NULL
) STRICT;
CREATE TABLE models (
    id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, role TEXT NOT NULL, label TEXT NOT NULL,
    layers TEXT NOT NULL, UNIQUE (sha256, role, label)
) STRICT;
CREATE TABLE visits (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions (id),
    sha256 TEXT NOT NULL, number INTEGER NOT NULL, started_unix_s REAL NOT NULL,
    status TEXT NOT NULL, detail TEXT NOT NULL,
    cold_wall_ns INTEGER, cold_cpu_ns INTEGER, hot_wall_ns TEXT, hot_cpu_ns TEXT,
    preemptions INTEGER, load REAL, steal REAL, pace_ns INTEGER,
    UNIQUE (session, number)
) STRICT;
CREATE INDEX visits_by_model ON visits (sha256);
"""
_TRIGGERS = "".join(
    f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} BEGIN"
    " SELECT RAISE(ABORT, 'the journal is append-only'); END;"
    for table in ("sessions", "models", "visits")
    for verb in ("UPDATE", "DELETE")
)
_INSERT_VISIT = f"INSERT INTO visits VALUES (NULL{', ?' * 14})"


@dataclass(frozen=True, slots=True)
class Session:
    """One opening of a journal for measuring: why, where, under which condition."""

    id: int
    started_unix_s: float
    purpose: Purpose
    address: str
    tool_version: str
    seed: int
    condition: Condition


@dataclass(frozen=True, slots=True)
class Model:
    """What a measured file is: its name for people, and the keys of its layers in order."""

    sha256: str
    role: Role
    label: str
    layers: tuple[str, ...]


class Journal:
    """A journal open for reading; ``JournalWriter`` also appends."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing journal for reading, while another process may be writing.

        Raises:
            JournalError: there is none, it is damaged, or of a newer schema.
        """
        if not path.is_file():
            raise JournalError(f"{path}: expected a journal, found no file; profile first")
        with _mapped(path):
            uri = f"{path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
            _check_version(path, connection)
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def sessions(self) -> tuple[Session, ...]:
        """Return all sessions in order."""
        return tuple(map(_parse_session, self._rows("SELECT * FROM sessions ORDER BY id")))

    def models(self) -> tuple[Model, ...]:
        """Return all models in order of first appearance."""
        rows = self._rows("SELECT sha256, role, label, layers FROM models ORDER BY id")
        return tuple(
            Model(sha256, role, label, tuple(json.loads(layers)))
            for sha256, role, label, layers in rows
        )

    def visits(
        self, condition: Condition, *, purposes: Sequence[Purpose] = ("profile", "refresh")
    ) -> dict[str, list[Visit | FailedVisit]]:
        """Return the visits made under ``condition``, in order, by the model's sha256.

        What was measured to validate a table is left out unless it is asked for.
        """
        rows = self._rows(
            "SELECT sha256, visits.started_unix_s, status, detail, cold_wall_ns, cold_cpu_ns,"
            " hot_wall_ns, hot_cpu_ns, preemptions, load, steal, pace_ns"
            " FROM visits JOIN sessions ON sessions.id = session"
            f" WHERE condition = ? AND purpose IN ({', '.join('?' * len(purposes))})"
            " ORDER BY visits.id",
            (_condition_text(condition), *purposes),
        )
        by_model: dict[str, list[Visit | FailedVisit]] = {}
        for row in rows:
            by_model.setdefault(row[0], []).append(_parse_visit(row))
        return by_model

    def pace_ns(self, condition: Condition) -> int | None:
        """Return the pace of the core that floors under ``condition`` are stated at, if known."""
        outcomes = (v for visits in self.visits(condition).values() for v in visits)
        return reference_pace_ns(v for v in outcomes if isinstance(v, Visit))

    def count_visits(self) -> int:
        """Return the number of visits of any kind."""
        return int(next(self._rows("SELECT count(*) FROM visits"))[0])

    def check(self) -> None:
        """Read every page.

        Raises:
            JournalDamaged: one does not check out.
        """
        problems = [row[0] for row in self._rows("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise JournalDamaged(f"{self.path}: damaged: {'; '.join(problems)}")

    def _rows(self, sql: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with _mapped(self.path):
            yield from self._connection.execute(sql, values)


class JournalWriter(Journal):
    """The one process that appends; made by ``open``, let go by ``close``."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int) -> None:
        super().__init__(path, connection)
        self._lock = lock
        self._number = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create the journal where there is none, and become its only writer.

        Raises:
            JournalLocked: another process is; nothing is waited for.
            JournalError: damaged, newer, or no room.
        """
        lock = _lock(path)
        try:
            with _mapped(path):
                connection = sqlite3.connect(path, isolation_level=None, timeout=30)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                _create_or_check(path, connection)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, connection, lock)

    def close(self) -> None:
        """Close the file and let another process write."""
        super().close()
        os.close(self._lock)

    def begin(
        self,
        *,
        started_unix_s: float,
        purpose: Purpose,
        address: str,
        tool_version: str,
        seed: int,
        condition: Condition,
    ) -> int:
        """Append a session and return its id."""
        self._number = 0
        values = (started_unix_s, purpose, address, tool_version, seed, _condition_text(condition))
        return self._insert("INSERT INTO sessions VALUES (NULL, ?, ?, ?, ?, ?, ?)", values)

    def name(self, models: Iterable[Model]) -> None:
        """Append what these files are; known ones are left as they are."""
        with _mapped(self.path), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "INSERT INTO models VALUES (NULL, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(m.sha256, m.role, m.label, json.dumps(m.layers)) for m in models],
            )

    def append(self, session: int, visit: Visit | FailedVisit) -> int:
        """Append a visit; when this returns its number, it is on the disk.

        Raises:
            JournalFull: no room; the visit is not in the journal, those before it are.
        """
        self._number += 1
        outcome: tuple[str, str]
        samples: tuple[object, ...]
        if isinstance(visit, FailedVisit):
            outcome, samples = (visit.reason, visit.detail), (None,) * 8
        else:
            hot = json.dumps(visit.hot_wall_ns), json.dumps(visit.hot_cpu_ns)
            outcome = ("ok", "")
            samples = (
                visit.cold_wall_ns, visit.cold_cpu_ns, *hot,
                visit.preemptions, visit.load, visit.steal, visit.pace_ns,
            )  # fmt: skip
        head = (session, visit.sha256, self._number, visit.started_unix_s, *outcome)
        self._insert(_INSERT_VISIT, (*head, *samples))
        return self._number

    def _insert(self, sql: str, values: tuple[object, ...]) -> int:
        with _mapped(self.path):
            return int(self._connection.execute(sql, values).lastrowid or 0)


def _parse_session(row: tuple[Any, ...]) -> Session:
    number, started, purpose, address, tool_version, seed, condition = row
    return Session(
        number, started, purpose, address, tool_version, seed,
        Condition.from_dict(json.loads(condition)),
    )  # fmt: skip


def _parse_visit(row: tuple[Any, ...]) -> Visit | FailedVisit:
    sha256, started, status, detail, *samples = row
    if status != "ok":
        return FailedVisit(sha256, started, status, detail)
    cold_wall, cold_cpu, hot_wall, hot_cpu, *state = samples
    hot = tuple(json.loads(hot_wall)), tuple(json.loads(hot_cpu))
    return Visit(sha256, started, cold_wall, cold_cpu, *hot, *state)


def _condition_text(condition: Condition) -> str:
    return json.dumps(condition.to_dict(), sort_keys=True)


def _lock(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
    except OSError as error:
        raise JournalError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise JournalLocked(path, int(holder) if holder.isdigit() else None) from error
    except OSError as error:
        os.close(lock)
        raise JournalFull(f"{path}: cannot be locked: {error.strerror}") from error
    return lock


def _create_or_check(path: Path, connection: sqlite3.Connection) -> None:
    """Create the schema in one transaction, so that a killed creation leaves an empty file."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
        connection.executescript(
            f"BEGIN; {_SCHEMA} {_TRIGGERS} PRAGMA application_id = {_APPLICATION_ID};"
            f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    _check_version(path, connection)


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION_ID:
        connection.close()
        raise JournalDamaged(
            f"{path}: expected a hilnas journal, found another SQLite file; name another table"
        )
    if version > SCHEMA_VERSION:
        connection.close()
        raise JournalNewer(path, version, SCHEMA_VERSION)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into this folder's."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise JournalFull(
                f"{path}: cannot append ({error}); what was committed is kept:"
                " make room and run the same command again"
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise JournalDamaged(
                f"{path}: expected a journal, found a damaged file ({error});"
                " move it away and profile again"
            ) from error
        raise JournalError(f"{path}: {error}") from error
