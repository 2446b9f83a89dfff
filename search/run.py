"""Run: a search from its first proposal to its result, in a directory that can be continued.

    run.toml        everything needed to repeat it
    trials.sqlite   proposals and results; the searcher's state is the replay of these
    tensorboard/    events, where tensorboard is installed
    lock            held by the process that writes

A batch is asked, its proposals are committed, its new networks are measured and evaluated and their
results committed, and it is told; `search.flow` has the order where several batches are under way.
Wherever that stops, `resume` replays the searcher over what was committed, evaluates what is
missing of the last batches, and goes on: the trials are those of a run that never stopped, and
nothing that has its result is measured or evaluated again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from networks.spaces.space import Space
from search.book import Book, Progress, evaluation_seed, meets
from search.config import RunConfig
from search.costs import CountCosts
from search.errors import EvaluatorError, NotARun
from search.evaluators.evaluator import Evaluation, Evaluator, FailedEvaluation, KeepsFiles
from search.flow import Flow, evaluate
from search.latency import FailedLatency, Latency, LatencyFunction, LatencySource, as_source
from search.monitor import Monitor, Scalars
from search.pareto import pareto_front
from search.run_directory import RunDirectory
from search.searcher import Searcher
from search.space_record import describe_change, identify_space
from search.trials import Failed, FailedTrial, Proposal, Scored, Trial, TrialStore

__all__ = [
    "Progress", "SearchResult", "evaluation_seed", "load", "resume", "run_search", "summarize",
]  # fmt: skip
PROGRESS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a run has found.

    ``distinct`` is the number of different networks proposed; ``best`` the trial of the highest
    quality within the target and all limits, or None (where there is no target, of the highest
    reward); ``front`` the trials that no other beats in both quality and latency, fastest first.
    """

    run: Path
    config: RunConfig
    trials: tuple[Trial | FailedTrial, ...]
    distinct: int
    best: Trial | None
    front: tuple[Trial, ...]


def run_search(
    config: RunConfig,
    space: Space,
    latency: LatencySource | LatencyFunction,
    evaluator: Evaluator,
    searcher: Searcher,
    *,
    out: Path,
    costs: CountCosts | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search in a new run directory until the budget is spent, and return what was found.

    An interruption leaves every finished result in the directory, for `resume`.

    Args:
        latency: a source, or a function from genotypes to milliseconds.
        costs: counts the other costs that the objective needs, see `search.costs.costs_of`.

    Raises:
        RunExists: there is already something at ``out``.
        RunInUse, StoreError, TooManyFailures, OrderError, EvaluatorError: see `search.errors`.
    """
    source = as_source(latency)
    parts = _parts(space, source, evaluator, searcher)
    with RunDirectory.create(out, config, parts, space) as directory:
        return _Run(config, space, source, evaluator, searcher, costs).go(directory, progress)


def resume(
    run: Path,
    space: Space,
    latency: LatencySource | LatencyFunction,
    evaluator: Evaluator,
    searcher: Searcher,
    *,
    budget: int | None = None,
    costs: CountCosts | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Continue a run, with new parts built from its configuration, to its (or another) budget.

    Raises:
        NotARun: there is no run, or its parts have other names than these, or its space or its
            settings were changed so that what is recorded means something else.
        ReplayError: the searcher does not ask what the run recorded.
        RunInUse, StoreError, TooManyFailures, OrderError, EvaluatorError: see `search.errors`.
    """
    with RunDirectory.open(run) as directory:
        config, recorded = directory.config()
        source = as_source(latency)
        for part, name in _parts(space, source, evaluator, searcher).items():
            if recorded.get(part, name if part in _RECORDED_LATER else None) == name:
                continue
            change = f"its {part} is {recorded.get(part)!r}, found {name!r}"
            if part == "space_sha256":
                change = describe_change(run, space)
            raise NotARun(f"{run}: {change}; undo that change, or start a new run")
        if budget is not None and budget != config.budget:
            config = replace(config, budget=budget)
            directory.write(config, recorded)
        return _Run(config, space, source, evaluator, searcher, costs).go(directory, progress)


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
    within = [t for t in scored if meets(config, t)]
    front = pareto_front([t.quality for t in scored], [t.latency_ms for t in scored])

    def merit(trial: Trial) -> tuple[float, float, int]:
        aim = trial.reward if config.target_ms is None else trial.quality
        return aim, -trial.latency_ms, -trial.number

    return SearchResult(
        run=run,
        config=config,
        trials=tuple(trials),
        distinct=len({t.first for t in trials}),
        best=max(within, key=merit, default=None),
        front=tuple(scored[index] for index in front),
    )


_RECORDED_LATER = ("space_sha256", "latency")
"""What runs of earlier versions do not have among their parts."""


def _parts(
    space: Space, latency: LatencySource, evaluator: Evaluator, searcher: Searcher
) -> dict[str, str]:
    return {
        "space": space.name,
        "space_sha256": identify_space(space),
        "latency": latency.name,
        "evaluator": evaluator.name,
        "searcher": searcher.name,
    }


class _Run:
    """The parts of a run, at work."""

    def __init__(
        self,
        config: RunConfig,
        space: Space,
        latency: LatencySource,
        evaluator: Evaluator,
        searcher: Searcher,
        costs: CountCosts | None,
    ) -> None:
        self._config, self._space, self._latency = config, space, latency
        self._evaluator, self._searcher, self._count = evaluator, searcher, costs
        self._objective = config.objective
        self._latencies: dict[int, Latency] = {}
        self._costs: dict[int, dict[str, float]] = {}

    def go(
        self, directory: RunDirectory, progress: Callable[[Progress], None] | None
    ) -> SearchResult:
        """Spend what is left of the budget, and return what the run has found."""
        if isinstance(self._evaluator, KeepsFiles):
            self._evaluator.attach(directory.path)
        scalars = Scalars(directory.path / "tensorboard")
        with closing(directory.trials()) as store, closing(scalars), store.recording() as record:
            book = Book(self._config, self._space, self._searcher.name, store, record)
            book.require_same_rewards()
            self._measured = store.measured()
            monitor = Monitor(self._config, store, book.told())

            def tell(batch: Sequence[Proposal]) -> None:
                values = monitor.tell(batch, book.results, flow.watch.take())
                own = {f"searcher/{name}": v for name, v in self._searcher.figures.items()}
                scalars.add(monitor.told, values | own)
                if progress is not None:
                    progress(book.progress())

            flow = Flow(book, self._searcher, lambda batch: self._begin(book, store, batch), tell)
            shown_s = time.monotonic()
            for number, result in evaluate(self._evaluator, flow.jobs(), batch=self._config.batch):
                book.take_in(number, self._judge(number, result))
                if progress is not None and time.monotonic() - shown_s > PROGRESS_EVERY_S:
                    progress(book.progress())
                    shown_s = time.monotonic()
            flow.finish()
            monitor.close()
        return load(directory.path)

    def _begin(
        self, book: Book, store: TrialStore, proposals: Sequence[Proposal]
    ) -> list[Proposal]:
        """Get latencies and other costs; return the proposals that have all of them."""
        if not proposals:
            return []
        found: list[Proposal] = []
        for proposal, latency in self._measure(store, proposals):
            if isinstance(latency, FailedLatency):
                book.take_in(proposal.number, Failed(f"latency: {latency.reason}"))
            else:
                self._latencies[proposal.number] = latency
                found.append(proposal)
        if self._count is not None and found:
            counted = self._count(np.array([p.canonical for p in found], np.int8))
            for row, proposal in enumerate(found):
                self._costs[proposal.number] = {
                    name: float(values[row]) for name, values in counted.items()
                }
        return found

    def _measure(
        self, store: TrialStore, proposals: Sequence[Proposal]
    ) -> Iterator[tuple[Proposal, Latency | FailedLatency]]:
        unknown = [p for p in proposals if p.number not in self._measured]
        known = {p.number: self._measured.get(p.number) for p in proposals}
        results = iter(
            self._latency.latencies(np.array([p.canonical for p in unknown], np.int8))
            if unknown
            else ()
        )
        for proposal in proposals:
            latency = known[proposal.number] or next(results, None)
            if latency is None:
                raise EvaluatorError(
                    f"{self._latency.name}: one latency a genotype expected, found fewer than"
                    f" {len(unknown)}"
                )
            if self._latency.is_measured and known[proposal.number] is None:
                store.measure([(proposal.number, latency)])
            yield proposal, latency

    def _judge(self, number: int, result: Evaluation | FailedEvaluation) -> Scored | Failed:
        if isinstance(result, FailedEvaluation):
            return Failed(result.reason)
        latency, other = self._latencies.pop(number), self._costs.pop(number, {})
        costs: Mapping[str, float] = {"latency_ms": latency.latency_ms, **other}
        arrays = {name: np.array([cost]) for name, cost in costs.items()}
        judged = self._objective(np.array([result.quality]), arrays)
        return Scored(
            quality=result.quality,
            latency_ms=latency.latency_ms,
            reward=float(judged.rewards[0]),
            seconds=result.seconds,
            latency_std_ms=latency.std_ms,
            violation=float(judged.violations[0]),
            costs=other,
        )
