"""Schema of a journal: its tables, how each version came of the one before, and the lock.

History of the schema (``user_version``):
    1   sessions, models, visits
    2   sessions name the device's serial, models the operators of a pack's layers; processes of
        the timing tool, its op profiles, what was printed, and from which job of a device a
        visit was taken in

A new journal takes all steps, an older one those that it lacks: on a copy, which takes the old
file's place when it is whole. A reader makes that copy in memory and leaves the file alone.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from latency_tables.errors import (
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalNewer,
)

SCHEMA_VERSION = 2
_APPLICATION_ID = 0x68696C6E  # "hiln"


def _append_only(*tables: str) -> str:
    return "".join(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} BEGIN"
        " SELECT RAISE(ABORT, 'the journal is append-only'); END;"
        for table in tables
        for verb in ("UPDATE", "DELETE")
    )


_STEPS: Sequence[str] = (
    """
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
    + _append_only("sessions", "models", "visits"),
    """
    ALTER TABLE sessions ADD COLUMN serial TEXT;
    ALTER TABLE models ADD COLUMN operators TEXT NOT NULL DEFAULT '[]';
    CREATE TABLE processes (
        visit INTEGER PRIMARY KEY REFERENCES visits (id),
        warmup_runs INTEGER NOT NULL, runs INTEGER NOT NULL, init_ns INTEGER NOT NULL,
        first_ns INTEGER NOT NULL, min_ns INTEGER NOT NULL, mean_ns INTEGER NOT NULL,
        max_ns INTEGER NOT NULL, median_ns INTEGER, p5_ns INTEGER, p95_ns INTEGER
    ) STRICT;
    CREATE TABLE profiles (
        visit INTEGER PRIMARY KEY REFERENCES visits (id), runs INTEGER NOT NULL,
        rows TEXT NOT NULL, delegates TEXT NOT NULL
    ) STRICT;
    CREATE TABLE printed (
        visit INTEGER PRIMARY KEY REFERENCES visits (id), raw TEXT NOT NULL
    ) STRICT;
    CREATE TABLE origins (
        job TEXT NOT NULL, number INTEGER NOT NULL,
        visit INTEGER NOT NULL UNIQUE REFERENCES visits (id), PRIMARY KEY (job, number)
    ) STRICT;
    """
    + _append_only("processes", "profiles", "printed", "origins"),
)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads; of an older schema, to a copy in memory.

    Raises:
        JournalError: there is none, it is damaged, or of a newer schema.
    """
    if not path.is_file():
        raise JournalError(f"{path}: expected a journal, found no file; profile first")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
    if _version(path, connection) == SCHEMA_VERSION:
        return connection
    copy = sqlite3.connect(":memory:", isolation_level=None)
    with closing(connection):
        connection.backup(copy)
    _take_steps(copy)
    return copy


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection to the journal of the newest schema, created or migrated if need be.

    Only for the holder of the `lock`.

    Raises:
        JournalLocked: it is of an older schema, and another process reads it.
        JournalError: damaged, newer, or no room.
    """
    connection = _connect(path)
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        _take_steps(connection)
    if _version(path, connection) < SCHEMA_VERSION:
        with closing(connection):
            _migrate(path, connection)
        connection = _connect(path)
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _take_steps(connection: sqlite3.Connection) -> None:
    """Take the steps that are missing in one transaction: killed in between, none was taken."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.executescript(
        f"BEGIN; {''.join(_STEPS[version:])} PRAGMA application_id = {_APPLICATION_ID};"
        f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Put a migrated copy in the file's place; until it is whole the file is as it was."""
    connection.execute("PRAGMA busy_timeout = 1000")
    try:  # into one file, without a write-ahead log beside it: nobody else may have it open
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        raise JournalLocked(path, None) from error
    new = path.with_name(f".{path.name}.migrating")
    try:
        new.unlink(missing_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = FULL")
            connection.backup(copy)
            _take_steps(copy)
            if copy.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                raise JournalDamaged(f"{path}: expected a whole journal, found damaged pages")
        new.replace(path)
    except OSError as error:
        raise JournalError(f"{new}: cannot be written: {error.strerror}; make room") from error


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """Return the version of this journal's schema, or close it and say why it has none."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if application != _APPLICATION_ID:
        connection.close()
        raise JournalDamaged(
            f"{path}: expected a hilnas journal, found another SQLite file; name another table"
        )
    if version > SCHEMA_VERSION:
        connection.close()
        raise JournalNewer(path, version, SCHEMA_VERSION)
    return version


def lock(path: Path) -> int:
    """Become the journal's only writer; return what to close to let another process.

    Raises:
        JournalLocked: another process is; nothing is waited for.
        JournalError: the lock cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
    except OSError as error:
        raise JournalError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.read(held, 32).decode(errors="replace").strip()
        os.close(held)
        raise JournalLocked(path, int(holder) if holder.isdigit() else None) from error
    except OSError as error:
        os.close(held)
        raise JournalFull(f"{path}: cannot be locked: {error.strerror}") from error
    return held


@contextmanager
def mapped(path: Path) -> Iterator[None]:
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
