"""Journal: every visit that was ever made for a table, in order, never rewritten.

One SQLite file (WAL, ``synchronous=FULL``): a visit is committed to the disk before the next is
taken, so a killed process loses none that it was told of. Triggers refuse UPDATE and DELETE.
One process writes, holding a lock on the file ``journal.sqlite.lock``, which the system takes
back when that process ends, however it ends; any number may read meanwhile.

A visit that a job on a device made is known by its origin, and arrives once: a device that was
out of reach may hand in again what it had handed in before. `latency_tables.journal_schema` has
the tables and their history.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from device_agents.floor import fastest_pace_ns
from device_agents.measurement import Condition, FailedVisit, Origin, Outcome, Role, Visit
from device_agents.packs import PackVisit
from device_agents.processes import ProcessVisit
from device_agents.tools.op_profile import OpProfile, OpRow
from latency_tables.errors import JournalDamaged
from latency_tables.journal_schema import lock, mapped, open_for_reading, open_for_writing

Purpose = Literal["profile", "validate", "refresh", "anchors", "anchors-within"]
"""Why it is measured; rows are made of ``profile`` and ``refresh`` alone.

Sessions of ``anchors``, numbered from 0 by their seeds, ask whether the device has drifted; an
empty session ``anchors-within`` behind them says that it had not. Behind a new table's last visits
they are its references.
"""
_PROCESS = (
    "warmup_runs", "runs", "init_ns", "first_ns", "min_ns", "mean_ns", "max_ns", "median_ns",
    "p5_ns", "p95_ns",
)  # fmt: skip
_SELECT_VISITS = f"""
    SELECT sha256, visits.started_unix_s, status, detail,
        cold_wall_ns, cold_cpu_ns, hot_wall_ns, hot_cpu_ns, preemptions, load, steal, pace_ns,
        raw, job, origins.number, profiles.runs, rows, delegates,
        {", ".join(f"processes.{name}" for name in _PROCESS)}, visits.id, session
    FROM visits JOIN sessions ON sessions.id = session
        LEFT JOIN processes ON processes.visit = visits.id
        LEFT JOIN profiles ON profiles.visit = visits.id
        LEFT JOIN printed ON printed.visit = visits.id
        LEFT JOIN origins ON origins.visit = visits.id
"""


@dataclass(frozen=True, slots=True)
class Session:
    """One opening of a journal for measuring: why, where, under which condition.

    ``serial`` is the specimen at that address, None where it has none or nobody asked.
    """

    id: int
    started_unix_s: float
    purpose: Purpose
    address: str
    tool_version: str
    seed: int
    condition: Condition
    serial: str | None


@dataclass(frozen=True, slots=True)
class Model:
    """What a measured file is: its name for people, and the keys of its layers in order.

    ``operators`` are the TFLite operators of each layer, of a pack only.
    """

    sha256: str
    role: Role
    label: str
    layers: tuple[str, ...]
    operators: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One visit in the journal: its id, which grows in the order of writing, and its session."""

    id: int
    session: int
    outcome: Outcome


def outcomes_of(entries: Mapping[str, Sequence[Entry]]) -> dict[str, list[Outcome]]:
    """Return visits without their ids, by the model's sha256."""
    return {sha256: [entry.outcome for entry in some] for sha256, some in entries.items()}


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
        with mapped(path):
            return cls(path, open_for_reading(path))

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
        rows = self._rows("SELECT sha256, role, label, layers, operators FROM models ORDER BY id")
        return tuple(
            Model(
                sha256, role, label, tuple(json.loads(layers)),
                tuple(tuple(names) for names in json.loads(operators)),
            )
            for sha256, role, label, layers, operators in rows
        )  # fmt: skip

    def visits(
        self, condition: Condition, *, purposes: Sequence[Purpose] = ("profile", "refresh")
    ) -> dict[str, list[Outcome]]:
        """Return the visits made under ``condition``, in order, by the model's sha256.

        What was measured to validate a table is left out unless it is asked for.
        """
        return outcomes_of(self.entries(condition, purposes=purposes))

    def entries(
        self, condition: Condition, *, purposes: Sequence[Purpose] = ("profile", "refresh")
    ) -> dict[str, list[Entry]]:
        """Return what `visits` does, each visit with its id and its session's."""
        rows = self._rows(
            f"{_SELECT_VISITS} WHERE condition = ? AND purpose IN"
            f" ({', '.join('?' * len(purposes))}) ORDER BY visits.id",
            (_condition_text(condition), *purposes),
        )
        by_model: dict[str, list[Entry]] = {}
        for row in rows:
            by_model.setdefault(row[0], []).append(Entry(row[-2], row[-1], _parse_visit(row)))
        return by_model

    def visits_of(self, session: int) -> dict[str, list[Outcome]]:
        """Return the visits of one session, in order, by the model's sha256."""
        sql = f"{_SELECT_VISITS} WHERE session = ? ORDER BY visits.id"
        by_model: dict[str, list[Outcome]] = {}
        for row in self._rows(sql, (session,)):
            by_model.setdefault(row[0], []).append(_parse_visit(row))
        return by_model

    def pace_ns(self, condition: Condition) -> int | None:
        """Return the pace of the core that floors under ``condition`` are stated at, if known."""
        rows = self._rows(
            "SELECT pace_ns FROM visits JOIN sessions ON sessions.id = session"
            " WHERE condition = ? AND purpose IN ('profile', 'refresh') AND hot_wall_ns NOT NULL",
            (_condition_text(condition),),
        )
        return fastest_pace_ns(pace_ns for (pace_ns,) in rows)

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
        with mapped(self.path):
            yield from self._connection.execute(sql, values)


class JournalWriter(Journal):
    """The one process that appends; made by ``open``, let go by ``close``."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int) -> None:
        super().__init__(path, connection)
        self._lock = lock
        self._numbers = Counter[int]()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create the journal where there is none, and become its only writer.

        Raises:
            JournalLocked: another process is; nothing is waited for.
            JournalError: damaged, newer, or no room.
        """
        held = lock(path)
        try:
            with mapped(path):
                connection = open_for_writing(path)
        except BaseException:
            os.close(held)
            raise
        return cls(path, connection, held)

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
        serial: str | None = None,
    ) -> int:
        """Append a session and return its id; several may be open at once, one a device."""
        values = (
            started_unix_s, purpose, address, tool_version, seed, _condition_text(condition),
            serial,
        )  # fmt: skip
        with mapped(self.path):
            return self._insert("sessions", None, *values)

    def name(self, models: Iterable[Model]) -> None:
        """Append what these files are; known ones are left as they are."""
        with mapped(self.path), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "INSERT INTO models VALUES (NULL, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (m.sha256, m.role, m.label, json.dumps(m.layers), json.dumps(m.operators))
                    for m in models
                ],
            )

    def append(self, session: int, outcome: Outcome) -> int | None:
        """Append a visit; when this returns its number in the session, it is on the disk.

        None of a visit that a job made and that is in the journal: it is not stored again.

        Raises:
            JournalFull: no room; the visit is not in the journal, those before it are.
        """
        origin = outcome.origin
        number = self._numbers[session] + 1
        with mapped(self.path), self._connection:
            self._connection.execute("BEGIN")
            if origin is not None and self._is_known(origin):
                return None
            head = (session, outcome.sha256, number, outcome.started_unix_s)
            visit = self._insert("visits", None, *head, *_samples(outcome))
            if isinstance(outcome, ProcessVisit):
                self._insert("processes", visit, *(getattr(outcome, name) for name in _PROCESS))
            elif isinstance(outcome, PackVisit):
                profile = outcome.profile
                texts = (_rows_text(profile.rows), _rows_text(profile.delegates))
                self._insert("profiles", visit, profile.runs, *texts)
            if not isinstance(outcome, Visit) and outcome.raw:
                self._insert("printed", visit, outcome.raw)
            if origin is not None:
                self._insert("origins", *origin, visit)
        self._numbers[session] = number
        return number

    def _is_known(self, origin: Origin) -> bool:
        sql = "SELECT 1 FROM origins WHERE job = ? AND number = ?"
        return self._connection.execute(sql, origin).fetchone() is not None

    def _insert(self, table: str, *values: object) -> int:
        sql = f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})"
        return int(self._connection.execute(sql, values).lastrowid or 0)


def _samples(outcome: Outcome) -> tuple[object, ...]:
    """Return status, detail and the columns of a resident visit, which others leave empty."""
    if isinstance(outcome, FailedVisit):
        return outcome.reason, outcome.detail, *(None,) * 8
    if not isinstance(outcome, Visit):
        return "ok", "", *(None,) * 8
    return (
        "ok", "", outcome.cold_wall_ns, outcome.cold_cpu_ns,
        json.dumps(outcome.hot_wall_ns), json.dumps(outcome.hot_cpu_ns),
        outcome.preemptions, outcome.load, outcome.steal, outcome.pace_ns,
    )  # fmt: skip


def _parse_session(row: tuple[Any, ...]) -> Session:
    number, started, purpose, address, tool_version, seed, condition, serial = row
    return Session(
        number, started, purpose, address, tool_version, seed,
        Condition.from_dict(json.loads(condition)), serial,
    )  # fmt: skip


def _parse_visit(row: tuple[Any, ...]) -> Outcome:
    sha256, started, status, detail, *resident = row[:12]
    raw, job, number, runs, rows, delegates, *process = row[12:-2]
    origin = None if job is None else (job, number)
    if status != "ok":
        return FailedVisit(sha256, started, status, detail, raw or "", origin)
    if process[0] is not None:
        figures = dict(zip(_PROCESS, process, strict=True))
        return ProcessVisit(sha256, started, **figures, raw=raw or "", origin=origin)
    if rows is not None:
        profile = OpProfile(_parse_rows(rows), _parse_rows(delegates), runs)
        return PackVisit(sha256, started, profile, raw or "", origin)
    cold_wall, cold_cpu, hot_wall, hot_cpu, preemptions, load, steal, pace = resident
    hot = tuple(json.loads(hot_wall)), tuple(json.loads(hot_cpu))
    return Visit(sha256, started, cold_wall, cold_cpu, *hot, preemptions, load, steal, pace, origin)


def _rows_text(rows: Iterable[OpRow]) -> str:
    return json.dumps([astuple(row) for row in rows])


def _parse_rows(text: str) -> tuple[OpRow, ...]:
    return tuple(OpRow(*values) for values in json.loads(text))


def _condition_text(condition: Condition) -> str:
    return json.dumps(condition.to_dict(), sort_keys=True)
