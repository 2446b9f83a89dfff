"""Trial: one proposal of a search and what came of it, and the file that keeps them.

    trials.sqlite   proposal   what was asked, committed before it is evaluated
                    measured   latencies that a device gave, committed before the evaluation
                    result     what came back, once for each distinct network
                    spent      where a batch's time went; the last second's are lost with a process
                    trial      (a view) proposals and results, with repeats filled in: read this one

Rows are appended, never rewritten. A proposal of a network that the run has seen points to the
first trial of that network and has no result of its own. The write-ahead log is synced at each
commit, so a killed process or a power cut loses what was being evaluated and nothing else.

Format history (``PRAGMA user_version``):
    1   first
    2   when a network was asked for, its latency's standard deviation, violation of limits, other
        costs; measured latencies. A file of format 1 becomes one of 2 when it is opened to write
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import NormalDist
from sys import intern
from typing import Any

from search.errors import NotARun, StoreError
from search.latency import FailedLatency, Latency

FORMAT = 2
COMMIT_EVERY_S = 0.2

_SCHEMA = """
CREATE TABLE proposal (
    number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, first INTEGER NOT NULL,
    genotype TEXT NOT NULL, canonical TEXT NOT NULL, hash TEXT NOT NULL,
    seed INTEGER NOT NULL, searcher TEXT NOT NULL);
CREATE TABLE result (
    number INTEGER PRIMARY KEY REFERENCES proposal, status TEXT NOT NULL,
    quality REAL, latency_ms REAL, reward REAL, seconds REAL, reason TEXT);
"""
_SPENT = """
CREATE TABLE IF NOT EXISTS spent (
    batch INTEGER PRIMARY KEY, ask_s REAL NOT NULL, latency_s REAL NOT NULL, tell_s REAL NOT NULL,
    wall_s REAL NOT NULL);
"""
_FORMAT_2 = """
ALTER TABLE proposal ADD COLUMN asked_unix_s REAL;
ALTER TABLE result ADD COLUMN latency_std_ms REAL;
ALTER TABLE result ADD COLUMN violation REAL NOT NULL DEFAULT 0;
ALTER TABLE result ADD COLUMN costs TEXT NOT NULL DEFAULT '{}';
CREATE TABLE measured (
    number INTEGER PRIMARY KEY REFERENCES proposal,
    latency_ms REAL, latency_std_ms REAL, reason TEXT);
DROP VIEW IF EXISTS trial;
CREATE VIEW trial AS
    SELECT proposal.*, status, quality, latency_ms, reward, seconds, latency_std_ms, violation,
        costs, reason
    FROM proposal JOIN result ON result.number = proposal.first ORDER BY proposal.number;
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One network that a searcher asked for.

    ``first`` is the number of the run's first proposal of the same network, ``hash`` names that
    network within its space, ``seed`` is what its evaluation uses; ``asked_unix_s`` is None in
    runs of format 1.
    """

    number: int
    batch: int
    first: int
    genotype: tuple[int, ...]
    canonical: tuple[int, ...]
    hash: str
    seed: int
    searcher: str
    asked_unix_s: float | None = field(default=None, kw_only=True, compare=False)

    @property
    def is_repeat(self) -> bool:
        """Whether the run had proposed this network before."""
        return self.first != self.number


@dataclass(frozen=True, slots=True)
class Trial(Proposal):
    """A proposal that was evaluated; see `Scored`."""

    quality: float
    latency_ms: float
    reward: float
    seconds: float = field(compare=False)
    latency_std_ms: float | None = None
    violation: float = 0.0
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def interval_ms(self) -> tuple[float, float] | None:
        """Where a measurement of the network would lie, 90 %; None where unknown."""
        if self.latency_std_ms is None:
            return None
        reach = NormalDist().inv_cdf(0.95) * self.latency_std_ms
        return self.latency_ms - reach, self.latency_ms + reach


@dataclass(frozen=True, slots=True)
class FailedTrial(Proposal):
    """A proposal whose evaluation gave no quality: what happened, in one line."""

    reason: str


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of a network; ``seconds`` is what its evaluation took.

    ``latency_std_ms`` is None where unknown, ``violation`` 0 within all limits, ``costs`` other
    costs by name.
    """

    quality: float
    latency_ms: float
    reward: float
    seconds: float
    latency_std_ms: float | None = None
    violation: float = 0.0
    costs: Mapping[str, float] = field(default_factory=dict)


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
            found = self._version()
            if create and found == 0:
                self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = 1;COMMIT;")
            if not writable:
                self._read_as_newest(found)
            if self._version() == 1:
                self._db.executescript(f"BEGIN;{_FORMAT_2}PRAGMA user_version = 2;COMMIT;")
            if writable or found == 1:
                self._db.execute(_SPENT)
            found = self._version()
        if found != FORMAT:
            self._db.close()
            raise NotARun(f"{path}: trials of format {FORMAT} expected, found {found}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def propose(self, proposals: Iterable[Proposal]) -> None:
        """Append proposals, in one transaction."""
        rows = [
            (p.number, p.batch, p.first, json.dumps(p.genotype), json.dumps(p.canonical), p.hash,
             p.seed, p.searcher, p.asked_unix_s)
            for p in proposals
        ]  # fmt: skip
        self._append("INSERT INTO proposal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def measure(self, latencies: Iterable[tuple[int, Latency | FailedLatency]]) -> None:
        """Append measured latencies, each the device's answer for a proposal's number, at once."""
        for number, latency in latencies:
            row: tuple[object, ...]
            if isinstance(latency, Latency):
                row = (number, latency.latency_ms, latency.std_ms, None)
            else:
                row = (number, None, None, latency.reason)
            self._append("INSERT INTO measured VALUES (?, ?, ?, ?)", [row])

    def spend(self, seconds: Iterable[tuple[int, float, float, float, float]]) -> None:
        """Append seconds that went into a batch: its number, ask, latency, tell, and in all."""
        self._append("INSERT OR IGNORE INTO spent VALUES (?, ?, ?, ?, ?)", list(seconds))

    def spent(self) -> dict[str, float]:
        """Return the seconds that went into ask, latency, tell, and in all (``wall``), summed.

        Empty where the run's batches were not timed.
        """
        if not self.select("SELECT name FROM sqlite_master WHERE name = 'spent'"):
            return {}
        names = ("ask", "latency", "tell", "wall")
        sums = ", ".join(f"sum({name}_s)" for name in names)
        found = dict(zip(names, self.select(f"SELECT {sums} FROM spent")[0], strict=True))
        return {} if found["wall"] is None else found

    def measured(self) -> dict[int, Latency | FailedLatency]:
        """Return measured latencies by the proposal's number."""
        with self._mapped():
            return {
                number: FailedLatency(reason) if latency_ms is None else Latency(latency_ms, std_ms)
                for number, latency_ms, std_ms, reason in self._db.execute("SELECT * FROM measured")
            }

    @contextmanager
    def recording(self, clock: Callable[[], float] = time.monotonic) -> Iterator[Recorder]:
        """Give what appends results; they are committed at the end, whatever ends it."""
        recorder = Recorder(self._append_results, clock)
        try:
            yield recorder
        finally:
            recorder.commit()

    def _append_results(self, rows: Sequence[tuple[object, ...]]) -> None:
        self._append(
            "INSERT INTO result (number, status, quality, latency_ms, reward, seconds,"
            " latency_std_ms, violation, costs, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def proposals(self) -> list[Proposal]:
        """Return all proposals, in order."""
        with self._mapped():
            return [
                Proposal(*_proposal(row[:8]), asked_unix_s=row[8])
                for row in self._db.execute("SELECT * FROM proposal ORDER BY number")
            ]

    def results(self) -> Mapping[int, Scored | Failed]:
        """Return the results by the number of the proposal that was evaluated."""
        with self._mapped():
            rows = self._db.execute(
                "SELECT number, status, reason, quality, latency_ms, reward, seconds,"
                " latency_std_ms, violation, costs FROM result"
            )
            return {
                number: _scored(values) if status == "ok" else Failed(reason)
                for number, status, reason, *values in rows
            }

    def trials(self, clause: str = "", values: Sequence[object] = ()) -> list[Trial | FailedTrial]:
        """Return every proposal that has its result, in order; or those of a clause of SQL."""
        with self._mapped():
            found = self._db.execute(f"SELECT * FROM trial {clause}", values)
            return [_trial(row) for row in found]

    def select(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, such as of the view ``trial``."""
        with self._mapped():
            return self._db.execute(query, values).fetchall()

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

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _read_as_newest(self, found: int) -> None:
        """Read an older file from a copy in memory, which is brought to the newest format."""
        if found != 1:
            return
        copy = sqlite3.connect(":memory:", isolation_level=None)
        self._db.backup(copy)
        self._db.close()
        self._db = copy

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}; finished trials are kept") from error


class Recorder:
    """Appends the result of a proposal's number, slow ones one by one, fast ones together.

    A result that comes `COMMIT_EVERY_S` or more after the last commit is committed, with those
    before it.
    """

    def __init__(
        self, append: Callable[[Sequence[tuple[object, ...]]], None], clock: Callable[[], float]
    ) -> None:
        self._append, self._clock = append, clock
        self._rows: list[tuple[object, ...]] = []
        self._committed_s = clock()

    def __call__(self, number: int, result: Scored | Failed) -> None:
        """Append one."""
        if isinstance(result, Scored):
            *values, costs = (getattr(result, f.name) for f in fields(Scored))
            self._rows.append((number, "ok", *values, json.dumps(dict(costs)), None))
        else:
            self._rows.append((number, "failed", *(None,) * 5, 0.0, "{}", result.reason))
        if self._clock() - self._committed_s >= COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Write what was appended to the disk."""
        rows, self._rows = self._rows, []
        self._append(rows)
        self._committed_s = self._clock()


def _proposal(row: Sequence[Any]) -> tuple[Any, ...]:
    number, batch, first, genotype, canonical, hash_, seed, searcher = row
    options = _ints(genotype)  # shared with the canonical form, where they are equal
    network = options if canonical == genotype else _ints(canonical)
    return (number, batch, first, options, network, hash_, seed, intern(searcher))


def _trial(row: Sequence[Any]) -> Trial | FailedTrial:
    asked_unix_s, status, *values, reason = row[8:]
    proposal = Proposal(*_proposal(row[:8]), asked_unix_s=asked_unix_s)
    about = {f.name: getattr(proposal, f.name) for f in fields(Proposal)}
    if status != "ok":
        return FailedTrial(**about, reason=reason)
    scored = _scored(values)
    return Trial(**about, **{f.name: getattr(scored, f.name) for f in fields(Scored)})


def _scored(values: Sequence[Any]) -> Scored:
    named = dict(zip((f.name for f in fields(Scored)), values, strict=True))
    return Scored(**{**named, "costs": json.loads(named["costs"])})


def _ints(text: str) -> tuple[int, ...]:
    return tuple(json.loads(text))
