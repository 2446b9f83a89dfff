"""Monitor: what a run shows in TensorBoard while it goes on, a point a batch that is told.

The step is the number of proposals told. Of the batch:

    reward/mean             mean reward of its evaluated proposals
    latency/mean_ms         mean latency of the same
    target/share            share of its proposals within the target and all limits; failed ones
                            are not
    evaluation/seconds      mean seconds that evaluating one of its new networks took
    time/ask_s, latency_s, tell_s, wall_s
                            seconds since the last point that went into asking, into latencies and
                            other costs, into telling; and in all

Of all that was told so far:

    quality/best            highest quality within the target and all limits
    front/hypervolume       area between the front of quality and latency and a corner, in quality x
                            ms: the lowest quality and the highest latency of the run's first
                            `FIRST` evaluated networks. The corner never moves, so that the curve
                            never falls; those of two runs have different corners
    trials/distinct         different networks proposed
    trials/failed           networks whose evaluation failed

``searcher/...`` are the searcher's own figures, such as the entropy of PPO: see `search.ppo`,
`search.reinforce` and `search.policy`. docs/search.md has them all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from search.book import meets
from search.config import RunConfig
from search.pareto import hypervolume, pareto_front
from search.trials import Failed, Proposal, Scored, TrialStore

FIRST = 20
"""Evaluated networks that fix the corner of the hypervolume."""

WRITE_EVERY_S = 1.0

Told = Sequence[tuple[Proposal, Scored | Failed]]
"""Proposals that were told, in order, with the results of their networks."""


class Monitor:
    """What a run that writes to ``store`` has told, of which ``told`` before this process.

    ``told`` is how many that are.
    """

    def __init__(self, config: RunConfig, store: TrialStore, told: Told = ()) -> None:
        self.curves = Curves(config)
        self.curves.add(told)
        self.told = len(told)
        self._store = store
        self._spent: list[tuple[int, float, float, float, float]] = []
        self._written_s = time.monotonic()

    def tell(
        self,
        batch: Sequence[Proposal],
        results: Mapping[int, Scored | Failed],
        seconds: Mapping[str, float],
    ) -> dict[str, float]:
        """Take in a batch and where its time went; return the point of each curve."""
        told = [(proposal, results[proposal.first]) for proposal in batch]
        self.told += len(told)
        self.curves.add(told)
        ask_s, latency_s, tell_s = (seconds.get(name, 0.0) for name in ("ask", "latency", "tell"))
        self._spent.append((batch[0].batch, ask_s, latency_s, tell_s, seconds["wall"]))
        if time.monotonic() - self._written_s >= WRITE_EVERY_S:
            self.close()
        return self.curves.point(told) | {f"time/{k}_s": v for k, v in seconds.items()}

    def close(self) -> None:
        """Write out what is still buffered."""
        spent, self._spent = self._spent, []
        self._store.spend(spent)
        self._written_s = time.monotonic()


class Curves:
    """The numbers of the module, of proposals in the order of their numbers."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._distinct = self._failed = 0
        self._best: float | None = None
        self._first: list[tuple[float, float]] = []
        self._front = np.empty((0, 2))

    def add(self, told: Told) -> None:
        """Take in proposals, with the results of their networks."""
        new = [result for proposal, result in told if not proposal.is_repeat]
        self._distinct += len(new)
        self._failed += sum(isinstance(result, Failed) for result in new)
        scored = [result for result in new if isinstance(result, Scored)]
        for result in scored:
            if meets(self._config, result) and (self._best is None or result.quality > self._best):
                self._best = result.quality
        points = [(result.quality, result.latency_ms) for result in scored]
        self._first += points[: FIRST - len(self._first)]
        if points:
            known = np.concatenate([self._front, np.array(points)])
            self._front = known[pareto_front(known[:, 0], known[:, 1])]

    def point(self, told: Told) -> dict[str, float]:
        """Return the point of each curve once ``told`` was added; absent: nothing to say yet."""
        scored = [result for _, result in told if isinstance(result, Scored)]
        seconds = [r.seconds for p, r in told if isinstance(r, Scored) and not p.is_repeat]
        means = {
            "reward/mean": [result.reward for result in scored],
            "latency/mean_ms": [result.latency_ms for result in scored],
            "evaluation/seconds": seconds,
        }
        values = {name: sum(found) / len(found) for name, found in means.items() if found}
        values["trials/distinct"] = float(self._distinct)
        values["trials/failed"] = float(self._failed)
        if told:
            values["target/share"] = sum(meets(self._config, r) for r in scored) / len(told)
        if self._best is not None:
            values["quality/best"] = self._best
        if self.hypervolume is not None:
            values["front/hypervolume"] = self.hypervolume
        return values

    @property
    def hypervolume(self) -> float | None:
        """See the module; None while there are fewer than `FIRST` evaluated networks."""
        if len(self._first) < FIRST:
            return None
        floor, ceiling_ms = min(q for q, _ in self._first), max(ms for _, ms in self._first)
        quality, latency_ms = self._front.T
        return hypervolume(quality, latency_ms, floor=floor, ceiling_ms=ceiling_ms)


class Stopwatch:
    """Seconds that went into each of several things since the last `take`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._started_s = clock()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Count what happens inside as ``what``."""
        started_s = self._clock()
        try:
            yield
        finally:
            self._seconds[what] = self._seconds.get(what, 0.0) + self._clock() - started_s

    def take(self) -> dict[str, float]:
        """Return the seconds of each, and ``wall``: all of them; and begin again."""
        now_s = self._clock()
        seconds = {**self._seconds, "wall": now_s - self._started_s}
        self._seconds, self._started_s = {}, now_s
        return seconds


class Scalars:
    """Writes events under a directory, or nothing where tensorboard is not installed."""

    _writer: Any = None

    def __init__(self, directory: Path) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            logging.getLogger(__name__).info("tensorboard is not installed: no events are written")
            return
        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(str(directory))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append one point to each curve."""
        if self._writer is not None:
            points = [
                self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()
            ]
            self._writer.add_event(
                self._event(step=step, wall_time=time.time(), summary=self._summary(value=points))
            )

    def close(self) -> None:
        """Write out what is still buffered."""
        if self._writer is not None:
            self._writer.close()
