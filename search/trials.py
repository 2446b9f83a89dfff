"""Trial: one proposal of a search and what came of it, and the file that keeps them.

    trials.sqlite   proposal   what was asked, committed before it is evaluated
                    result     what came back, once for each distinct network
                    trial      (a view) both, with repeats filled in: read this one

Rows are appended, never rewritten. A proposal of a network that the run has seen points to the
first trial of that network and has no result of its own. The write-ahead log is synced at each
commit, so a killed process or a power cut loses what was being evaluated and nothing else.

Format history: 1 (``PRAGMA user_version``).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from search.errors import NotARun, StoreError

FORMAT = 1
COMMIT_EVERY_S = 0.2

_SCHEMA = """
CREATE TABLE proposal (
    number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, first INTEGER NOT NULL,
    genotype TEXT NOT NULL, canonical TEXT NOT NULL, hash TEXT NOT NULL,
    seed INTEGER NOT NULL, searcher TEXT NOT NULL);
CREATE TABLE result (
    number INTEGER PRIMARY KEY REFERENCES proposal, status TEXT NOT NULL,
    quality REAL, latency_ms REAL, reward REAL, seconds REAL, reason TEXT);
CREATE VIEW trial AS
    SELECT proposal.*, status, quality, latency_ms, reward, seconds, reason
    FROM proposal JOIN result ON result.number = proposal.first ORDER BY proposal.number;
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One network that a searcher asked for.

    ``first`` is the number of the run's first proposal of the same network, ``hash`` names that
    network within its space, ``seed`` is what its evaluation uses.
    """

    number: int
    batch: int
    first: int
    genotype: tuple[int, ...]
    canonical: tuple[int, ...]
    hash: str
    seed: int
    searcher: str

    @property
    def is_repeat(self) -> bool:
        """Whether the run had proposed this network before."""
        return self.first != self.number


@dataclass(frozen=True, slots=True)
class Trial(Proposal):
    """A proposal that was evaluated."""

    quality: float
    latency_ms: float
    reward: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FailedTrial(Proposal):
    """A proposal whose evaluation gave no quality: what happened, in one line."""

    reason: str


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of a network; ``seconds`` is what its evaluation took."""

    quality: float
    latency_ms: float
    reward: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A network that could not be evaluated, and why."""

    reason: str


class TrialStore:
    """The trials of one run, in SQLite. One process writes at a time: the run's lock sees to it.

    Raises:
        NotARun: there is no such file, or it is of another format.
        StoreError: it cannot be read or written.
    """

    def __init__(self, path: Path, *, create: bool = False, writable: bool = True) -> None:
        if not create and not path.is_file():
            raise NotARun(f"{path} is missing: the run directory is incomplete")
        self.path = path
        with self._mapped():
            mode = "rwc" if create else "rw" if writable else "ro"
            uri = f"{path.resolve().as_uri()}?mode={mode}"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None)
            if writable:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if create and found == 0:
                self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {FORMAT};COMMIT;")
                found = FORMAT
        if found != FORMAT:
            self._db.close()
            raise NotARun(f"{path}: trials of format {FORMAT} expected, found {found}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def propose(self, proposals: Iterable[Proposal]) -> None:
        """Append proposals, in one transaction."""
        rows = [
            tuple(json.dumps(value) if isinstance(value, tuple) else value for value in astuple(p))
            for p in proposals
        ]
        self._append("INSERT INTO proposal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    @contextmanager
    def recording(
        self, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[Callable[[int, Scored | Failed], None]]:
        """Give a function that appends the result of a proposal's number.

        Results are committed at the end, whatever ends it, and after a result that came
        `COMMIT_EVERY_S` or more after the last commit: slow ones one by one, fast ones together.
        """
        rows: list[tuple[object, ...]] = []
        committed_s = clock()

        def commit() -> None:
            nonlocal committed_s
            done, rows[:] = rows[:], []
            self._append("INSERT INTO result VALUES (?, ?, ?, ?, ?, ?, ?)", done)
            committed_s = clock()

        def record(number: int, result: Scored | Failed) -> None:
            if isinstance(result, Scored):
                values = (result.quality, result.latency_ms, result.reward, result.seconds)
                rows.append((number, "ok", *values, None))
            else:
                rows.append((number, "failed", None, None, None, None, result.reason))
            if clock() - committed_s >= COMMIT_EVERY_S:
                commit()

        try:
            yield record
        finally:
            commit()

    def proposals(self) -> list[Proposal]:
        """Return all proposals, in order."""
        with self._mapped():
            return [
                Proposal(*_proposal(row))
                for row in self._db.execute("SELECT * FROM proposal ORDER BY number")
            ]

    def results(self) -> Mapping[int, Scored | Failed]:
        """Return the results by the number of the proposal that was evaluated."""
        with self._mapped():
            return {
                number: Scored(*values) if status == "ok" else Failed(reason)
                for number, status, *values, reason in self._db.execute("SELECT * FROM result")
            }

    def trials(self) -> list[Trial | FailedTrial]:
        """Return every proposal that has its result, in order."""
        with self._mapped():
            return [
                Trial(*_proposal(row), *row[9:13])
                if row[8] == "ok"
                else FailedTrial(*_proposal(row), *row[13:])
                for row in self._db.execute("SELECT * FROM trial")
            ]

    def _append(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        with self._mapped():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}; finished trials are kept") from error


def _proposal(row: Sequence[Any]) -> tuple[Any, ...]:
    number, batch, first, genotype, canonical, *rest = row[:8]
    return (number, batch, first, _ints(genotype), _ints(canonical), *rest)


def _ints(text: str) -> tuple[int, ...]:
    return tuple(json.loads(text))
