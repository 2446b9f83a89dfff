"""Run: a search from its first proposal to its result, in a directory that can be continued.

    run.toml        everything needed to repeat it
    trials.sqlite   proposals and results; the searcher's state is the replay of these
    tensorboard/    events, where tensorboard is installed
    lock            held by the process that writes

A batch is asked, its proposals are committed, its new networks are evaluated and their results
committed, and it is told. Wherever that stops, `resume` replays the searcher over what was
committed, evaluates what is missing of the last batch, and goes on: the trials are those of a
run that never stopped, and nothing that has its result is evaluated again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes, Space
from search.config import RunConfig
from search.errors import EvaluatorError, NotARun
from search.evaluators.evaluator import Evaluation, Evaluator
from search.monitor import Scalars
from search.pareto import pareto_front
from search.run_directory import RunDirectory
from search.searcher import Asked, Rewards, Searcher, Told
from search.trials import Failed, FailedTrial, Proposal, Scored, Trial, TrialStore

Latency = Callable[[Genotypes], npt.NDArray[np.floating]]
"""From genotypes, shape ``(n, n_decisions)``, to milliseconds, shape ``(n,)``, all positive."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a run has found.

    ``distinct`` is the number of different networks proposed; ``best`` the trial of the highest
    quality whose latency meets the target, or None; ``front`` the trials that no other beats in
    both quality and latency, fastest first.
    """

    run: Path
    config: RunConfig
    trials: tuple[Trial | FailedTrial, ...]
    distinct: int
    best: Trial | None
    front: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: proposals told, of how many, and what they gave."""

    told: int
    budget: int
    distinct: int
    failed: int
    best_quality: float | None


def run_search(
    config: RunConfig,
    space: Space,
    latency: Latency,
    evaluator: Evaluator,
    searcher: Searcher,
    *,
    out: Path,
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search in a new run directory until the budget is spent, and return what was found.

    An interruption leaves every finished result in the directory, for `resume`.

    Raises:
        RunExists: there is already something at ``out``.
        RunInUse, StoreError, OrderError, EvaluatorError: see `search.errors`.
    """
    parts = _parts(space, evaluator, searcher)
    with RunDirectory.create(out, config, parts) as directory:
        return _search(directory, config, space, latency, evaluator, searcher, progress)


def resume(
    run: Path,
    space: Space,
    latency: Latency,
    evaluator: Evaluator,
    searcher: Searcher,
    *,
    budget: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Continue a run, with new parts built from its configuration, to its (or another) budget.

    Raises:
        NotARun: there is no run, or its parts have other names than these.
        ReplayError: the searcher does not ask what the run recorded.
        RunInUse, StoreError, OrderError, EvaluatorError: see `search.errors`.
    """
    with RunDirectory.open(run) as directory:
        config, recorded = directory.config()
        for part, name in _parts(space, evaluator, searcher).items():
            if recorded.get(part) != name:
                raise NotARun(f"{run}: its {part} is {recorded.get(part)!r}, found {name!r}")
        if budget is not None and budget != config.budget:
            config = replace(config, budget=budget)
            directory.write(config, recorded)
        return _search(directory, config, space, latency, evaluator, searcher, progress)


def load(run: Path) -> SearchResult:
    """Return what a run has found so far; it may be running.

    Raises:
        NotARun, StoreError: it cannot be read.
    """
    directory = RunDirectory(run)
    config, _ = directory.config()
    store = directory.trials(writable=False)
    try:
        return summarize(run, config, store.trials())
    finally:
        store.close()


def summarize(run: Path, config: RunConfig, trials: list[Trial | FailedTrial]) -> SearchResult:
    """Return the result that these trials make."""
    scored = [t for t in trials if isinstance(t, Trial) and not t.is_repeat]
    within = [t for t in scored if t.latency_ms <= config.reward.target_ms]
    front = pareto_front([t.quality for t in scored], [t.latency_ms for t in scored])
    return SearchResult(
        run=run,
        config=config,
        trials=tuple(trials),
        distinct=len({t.first for t in trials}),
        best=max(within, key=lambda t: (t.quality, -t.latency_ms, -t.number), default=None),
        front=tuple(scored[index] for index in front),
    )


def evaluation_seed(run_seed: int, canonical: Genotypes) -> int:
    """Return the seed of a network's evaluation: a hash of both, below 2^48."""
    digest = sha256(f"{run_seed}:".encode() + canonical.astype(np.int8).tobytes()).digest()
    return int.from_bytes(digest[:6])


def _parts(space: Space, evaluator: Evaluator, searcher: Searcher) -> dict[str, str]:
    return {"space": space.name, "evaluator": evaluator.name, "searcher": searcher.name}


def _search(
    directory: RunDirectory,
    config: RunConfig,
    space: Space,
    latency: Latency,
    evaluator: Evaluator,
    searcher: Searcher,
    progress: Callable[[Progress], None] | None,
) -> SearchResult:
    store = directory.trials()
    scalars = Scalars(directory.path / "tensorboard")
    try:
        book = _Book(config, space, searcher.name, store)
        for batch in _batches(book, searcher):
            _evaluate(book, book.missing(batch), latency, evaluator)
            rewards = [book.reward(p) for p in batch]
            searcher.tell(_array([p.genotype for p in batch]), rewards)
            now = book.progress()
            scalars.add(now.told, _values(now, rewards, searcher))
            if progress is not None:
                progress(now)
        return summarize(directory.path, config, store.trials())
    finally:
        scalars.close()
        store.close()


def _batches(book: _Book, searcher: Searcher) -> Iterator[list[Proposal]]:
    """Replay the finished batches, then yield the unfinished one, then new ones."""
    recorded = [list(batch) for _, batch in groupby(book.proposals, attrgetter("batch"))]

    def history() -> Iterator[Asked | Told]:
        for batch in recorded:
            genotypes = _array([p.genotype for p in batch])
            yield Asked(genotypes)
            if not book.missing(batch):
                yield Told(genotypes, [book.reward(p) for p in batch])

    searcher.recover(history())
    if recorded and book.missing(recorded[-1]):
        yield recorded[-1]
    while (left := book.config.budget - len(book.proposals)) > 0:
        yield book.propose(searcher.ask(min(left, book.config.batch)))


def _evaluate(
    book: _Book, proposals: list[Proposal], latency: Latency, evaluator: Evaluator
) -> None:
    if not proposals:
        return
    networks = _array([p.canonical for p in proposals])
    seeds = np.array([p.seed for p in proposals], np.int64)
    latencies_ms = latency(networks)
    results = iter(evaluator.evaluate(networks, seeds))
    with book.store.recording() as record:
        for proposal, latency_ms in zip(proposals, latencies_ms.tolist(), strict=True):
            result = next(results, None)
            if result is None:
                raise EvaluatorError(
                    f"{evaluator.name}: one result a genotype expected, found fewer than "
                    f"{len(proposals)}"
                )
            outcome = (
                Scored(
                    result.quality,
                    latency_ms,
                    book.config.reward(result.quality, latency_ms),
                    result.seconds,
                )
                if isinstance(result, Evaluation)
                else Failed(result.reason)
            )
            record(proposal.number, outcome)
            book.add(proposal.number, outcome)


def _values(now: Progress, rewards: Rewards, searcher: Searcher) -> dict[str, float]:
    values = {"trials/distinct": float(now.distinct), "trials/failed": float(now.failed)}
    if told := [reward for reward in rewards if reward is not None]:
        values["reward/mean"] = sum(told) / len(told)
    if now.best_quality is not None:
        values["quality/best"] = now.best_quality
    return values | {f"searcher/{name}": value for name, value in searcher.figures.items()}


class _Book:
    """What a run knows, in memory: its proposals, and the results of its distinct networks."""

    def __init__(self, config: RunConfig, space: Space, searcher: str, store: TrialStore) -> None:
        self.config, self.space, self.searcher, self.store = config, space, searcher, store
        self.proposals = store.proposals()
        self.results: dict[int, Scored | Failed] = {}
        self._failed, self._best_quality = 0, -math.inf
        for number, result in store.results().items():
            self.add(number, result)
        self._first = {p.canonical: p.first for p in self.proposals}

    def propose(self, genotypes: Genotypes) -> list[Proposal]:
        """Number, recognise and commit new proposals."""
        batch = self.proposals[-1].batch + 1 if self.proposals else 0
        networks = self.space.canonical(genotypes)
        added = []
        for number, (genotype, network) in enumerate(
            zip(genotypes, networks, strict=True), start=len(self.proposals)
        ):
            canonical = tuple(network.tolist())
            added.append(
                Proposal(
                    number=number,
                    batch=batch,
                    first=self._first.setdefault(canonical, number),
                    genotype=tuple(genotype.tolist()),
                    canonical=canonical,
                    hash=sha256(f"{self.space.name}:{canonical}".encode()).hexdigest()[:16],
                    seed=evaluation_seed(self.config.seed, network),
                    searcher=self.searcher,
                )
            )
        self.store.propose(added)
        self.proposals += added
        return added

    def add(self, number: int, result: Scored | Failed) -> None:
        """Take in the result of a proposal's number."""
        self.results[number] = result
        if isinstance(result, Failed):
            self._failed += 1
        elif result.latency_ms <= self.config.reward.target_ms:
            self._best_quality = max(self._best_quality, result.quality)

    def missing(self, batch: list[Proposal]) -> list[Proposal]:
        """Return those of a batch that must be evaluated: new, and without a result."""
        return [p for p in batch if not p.is_repeat and p.number not in self.results]

    def reward(self, proposal: Proposal) -> float | None:
        """Return the reward of a proposal's network; None if its evaluation failed."""
        result = self.results[proposal.first]
        return result.reward if isinstance(result, Scored) else None

    def progress(self) -> Progress:
        """Return where the run stands."""
        return Progress(
            told=len(self.proposals),
            budget=self.config.budget,
            distinct=len(self._first),
            failed=self._failed,
            best_quality=self._best_quality if math.isfinite(self._best_quality) else None,
        )


def _array(rows: list[tuple[int, ...]]) -> Genotypes:
    return np.array(rows, np.int8)
