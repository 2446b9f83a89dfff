"""Flow: the one order of asks and tells, whatever order results come in.

    batch 0   batch 1   ...   batch L - 1                        L = lookahead
    tell batch 0 -> batch L,   tell batch 1 -> batch L + 1,  ...

Batch j is asked for right after batch j - L is told, no sooner and no later, so that proposals do
not depend on which evaluation was faster, and a run that was interrupted replays to where it stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import numpy as np

from networks.spaces.space import Genotypes
from search.book import Book
from search.errors import EvaluatorError
from search.evaluators.evaluator import (
    Evaluation,
    Evaluator,
    FailedEvaluation,
    Job,
    StreamingEvaluator,
)
from search.monitor import Stopwatch
from search.searcher import Asked, Searcher, Told
from search.trials import Proposal

Begin = Callable[[Sequence[Proposal]], Sequence[Proposal]]
"""Gets the costs of proposals, and returns those that are still to be evaluated."""


class Flow:
    """Hands out the jobs of a run; ``on_tell`` hears of every batch that was told.

    ``watch`` knows how long it asked, told and got costs.
    """

    def __init__(
        self,
        book: Book,
        searcher: Searcher,
        begin: Begin,
        on_tell: Callable[[Sequence[Proposal]], None],
    ) -> None:
        self._book, self._searcher, self._begin, self._on_tell = book, searcher, begin, on_tell
        recorded = groupby(book.hand_over(), attrgetter("batch"))
        self._batches = [list(batch) for _, batch in recorded]
        self._told = 0
        self.watch = Stopwatch()

    def jobs(self) -> Iterator[Job | None]:
        """Yield what is to be evaluated; None where that depends on what is under way."""
        self._searcher.recover(self._history())
        self.watch.take()  # what a replay takes is no part of the search
        self._told = max(0, len(self._batches) - self._lookahead)
        self._batches[: self._told] = [[]] * self._told
        for batch in list(self._batches):
            yield from self._jobs(batch)
        while (left := self._book.config.budget - self._book.proposed) > 0:
            due = len(self._batches) - self._lookahead
            if due >= 0:
                while self._book.missing(self._batches[due]):
                    yield None
                self._tell()
            with self.watch("ask"):
                asked = self._searcher.ask(min(left, self._book.config.batch))
            self._batches.append(self._book.propose(asked))
            yield from self._jobs(self._batches[-1])

    def finish(self) -> None:
        """Tell the last batches, whose results only the searcher's figures still need."""
        while self._told < len(self._batches):
            self._tell()

    @property
    def _lookahead(self) -> int:
        return self._book.config.lookahead

    def _jobs(self, batch: Sequence[Proposal]) -> Iterator[Job]:
        with self.watch("latency"):
            begun = self._begin(self._book.missing(batch))
        for proposal in begun:
            yield Job(proposal.number, np.array(proposal.canonical, np.int8), proposal.seed)

    def _history(self) -> Iterator[Asked | Told]:
        for number, batch in enumerate(self._batches):
            if number >= self._lookahead:
                yield self._told_of(self._batches[number - self._lookahead])
            yield Asked(_genotypes(batch))

    def _tell(self) -> None:
        batch = self._batches[self._told]
        self._batches[self._told] = []  # a long run keeps in memory only what is under way
        self._told += 1
        told = self._told_of(batch)
        with self.watch("tell"):
            self._searcher.tell(told.genotypes, told.rewards, told.values)
        self._on_tell(batch)

    def _told_of(self, batch: Sequence[Proposal]) -> Told:
        judged = [self._book.judged(proposal) for proposal in batch]
        rewards = [None if result is None else result[0] for result in judged]
        values = [None if result is None else result[1] for result in judged]
        return Told(_genotypes(batch), rewards, values)


def evaluate(
    evaluator: Evaluator, jobs: Iterator[Job | None], *, batch: int
) -> Iterator[tuple[int, Evaluation | FailedEvaluation]]:
    """Yield the number and result of each job, as results come.

    Raises:
        EvaluatorError: the evaluator does not give one result a genotype.
    """
    if isinstance(evaluator, StreamingEvaluator):
        yield from evaluator.stream(jobs)
        return
    while waiting := _take(jobs, batch):
        genotypes = np.stack([job.genotype for job in waiting])
        seeds = np.array([job.seed for job in waiting], np.int64)
        results = iter(evaluator.evaluate(genotypes, seeds))
        for job in waiting:
            result = next(results, None)
            if result is None:
                raise EvaluatorError(
                    f"{evaluator.name}: one result a genotype expected, found fewer than"
                    f" {len(waiting)}"
                )
            yield job.number, result


def _take(jobs: Iterator[Job | None], most: int) -> list[Job]:
    """Return the next jobs that need no others' results."""
    taken: list[Job] = []
    for job in jobs:
        if job is None:
            break
        taken.append(job)
        if len(taken) == most:
            break
    return taken


def _genotypes(batch: Sequence[Proposal]) -> Genotypes:
    return np.array([proposal.genotype for proposal in batch], np.int8)
