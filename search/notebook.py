"""Run in a notebook: a search of objects at hand, and what it found as a data frame, plot and file.

    space = find_space("mobile-cnn", resolution=32)
    table = LatencyTable.load(Path("mine.parquet"))

    def quality(network):                       # or genotype, or genotypes: a batch
        return my_own_estimate(network)

    run = Run.search(space, table, quality, target_ms=1.5, budget=200, out=Path("runs/first"))
    run.trials()                                # later: Run.load(Path("runs/first")).trials()

The directory is that of any run: it can be interrupted, and goes on when the cell is run again. A
function whose text was changed since is another one, and needs a directory of its own; that other
values which it reads were changed is not seen.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from exporters.exporter import ExportedModel, export_network
from latency_tables.table import LatencyTable
from networks.errors import NetworkError
from networks.network import ImageNetwork
from networks.spaces.space import Genotypes, Space
from search.assembly import aim_of, costs_needed, require_reachable, space_of
from search.config import RunConfig
from search.errors import RunError, RunExists
from search.evaluators.evaluator import Evaluator
from search.evaluators.function import FunctionEvaluator, argument_of
from search.latency import FunctionLatency, LatencyFunction, LatencySource
from search.objective import Cost, Penalty
from search.plots import plot_front
from search.rewards import Reward, make_reward
from search.run import Progress, SearchResult, load, resume, run_search
from search.run_directory import RunDirectory
from search.searcher import Searcher
from search.searchers import make_searcher
from search.sources import Source, price_with
from search.space_record import identify_space, recorded_space
from search.trial_frame import frame_trials
from search.trials import Trial

if TYPE_CHECKING:
    import pandas as pd

MakeSearcher = Callable[..., Searcher]
"""From a space, and ``seed`` by name, to a new searcher: a class of one's own will do."""


class Picture(str):
    """The text of an SVG, which a notebook shows as the picture that it is."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """What a run has found, with the space that gives its genotypes their meaning."""

    result: SearchResult
    space: Space

    @classmethod
    def search(
        cls,
        space: Space,
        latency: LatencyTable | LatencySource | Callable[..., Any],
        evaluator: Evaluator | Callable[..., Any],
        *,
        target_ms: float | None = None,
        reward: Reward | Penalty | None = None,
        limits: Mapping[Cost, float] | None = None,
        searcher: str | MakeSearcher = "guided",
        preset: str | None = None,
        budget: int = 100,
        batch: int = 10,
        seed: int = 0,
        out: Path | str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Run:
        """Search, or go on with the same search where it was, and return what was found.

        Args:
            latency: a table; or a source, see `search.latency`; or a function to milliseconds of
                the same arguments as an evaluator's.
            evaluator: one of `search.evaluators`, or a function to the quality of ``genotypes`` (a
                batch), ``network`` or ``genotype``: see `search.evaluators.function`.
            target_ms: of the absolute reward; ``reward`` is for others.
            limits: the most that a network may cost, by name, such as ``params``.
            searcher: a name of `search.searchers`, or what makes one of your own.
            budget: proposals in all, repeats and failures included; more of them than before let a
                finished search go on.
            out: the run's directory; None: a new temporary one, which the system may clear.

        Raises:
            RunError: neither a target nor a reward, a target that nothing meets, or ``out`` holds
                another search's run.
            TableError: the table lacks a layer of the space.
            SearchError: as `search.run.run_search`.
        """
        if reward is None:
            if target_ms is None:
                raise RunError("expected target_ms, or a reward, found neither")
            reward = make_reward("absolute", target_ms=target_ms)
        elif target_ms is not None:
            raise RunError("expected target_ms or a reward with its own target, found both")
        source = _source(latency, space)
        scorer = _evaluator(evaluator, space)
        config = RunConfig(
            space=space.name,
            latency=source.latency.name,
            evaluator=scorer.name,
            searcher=searcher if isinstance(searcher, str) else _name(searcher),
            reward=reward, preset=preset, budget=budget, batch=batch, seed=seed,
            limits=limits or {},
        )  # fmt: skip
        require_reachable(config, source)
        costs = costs_needed(config, space)
        if isinstance(searcher, str):
            aim = aim_of(config, source, costs)
            made = make_searcher(searcher, space, preset=preset, seed=seed, aim=aim)
        else:
            made = searcher(space, seed=seed)
        run = Path(tempfile.mkdtemp(prefix="hilnas-run-") if out is None else out)
        if (run / "run.toml").exists():
            _require_same(run, config)
            result = resume(
                run, space, source.latency, scorer, made,
                budget=budget, costs=costs, progress=progress,
            )  # fmt: skip
        else:
            result = run_search(
                config, space, source.latency, scorer, made,
                out=run, costs=costs, progress=progress,
            )  # fmt: skip
        return cls(result, space)

    @classmethod
    def load(cls, run: Path | str, space: Space | None = None) -> Run:
        """Return a run that was made here or by ``hilnas search``; it may be running.

        Args:
            space: for networks of a space that is neither named nor in a file; without it, such a
                run has its decisions alone.

        Raises:
            NotARun, StoreError: it cannot be read, or is of another space.
        """
        result = load(Path(run))
        _, parts = RunDirectory(result.run).config()
        recorded = parts.get("space_sha256")
        if space is None:
            space = _find_space(result, recorded)
        elif recorded is not None and identify_space(space) != recorded:
            raise RunError(f"{run} searched {parts['space']}, not this space {space.name}")
        return cls(result, space)

    @property
    def best(self) -> Trial | None:
        """The best network that meets the target and all limits, None if none does."""
        return self.result.best

    def trials(self) -> pd.DataFrame:
        """Return a row a proposal: decisions, quality, latency, ...: see `search.trial_frame`."""
        return frame_trials(self.result.trials, self.space)

    def plot_front(self) -> Picture:
        """Return every network's latency and quality, and the ones that none beats in both."""
        name = self.result.config.searcher
        scored = [t for t in self.result.trials if isinstance(t, Trial)]
        best = self.best
        return Picture(
            plot_front(
                {name: _points(scored)}, {name: _points(self.result.front)},
                target_ms=self.result.config.target_ms, quality="quality",
                best=None if best is None else (best.latency_ms, best.quality),
            )
        )  # fmt: skip

    def network(self, number: int | None = None) -> ImageNetwork:
        """Return the network of a trial, by default of the best.

        Raises:
            RunError: there is no such trial, none that is best, or the space has no networks.
        """
        decode: Callable[[Any], ImageNetwork] | None = getattr(self.space, "decode", None)
        if decode is None:
            raise RunError(
                f"{self.space.name} has decisions and no networks; if it has some, give it:"
                " Run.load(run, space)"
            )
        trials = {trial.number: trial for trial in self.result.trials}
        trial = self.best if number is None else trials.get(number)
        if trial is None:
            what = "meets the target" if number is None else f"has the number {number}"
            raise RunError(f"{self.result.run}: no trial {what}, of {len(trials)}")
        return decode(np.array(trial.canonical, np.int8))

    def export(self, path: Path | str, number: int | None = None) -> ExportedModel:
        """Write the network of a trial, by default the best, as ``.tflite`` with random weights.

        Raises:
            RunError: see `network`.
            ExportError: it cannot be written.
        """
        return export_network(self.network(number), Path(path))

    def __repr__(self) -> str:
        found, best = self.result, self.best
        said = "none meets the target" if best is None else (
            f"best {best.quality:.4f} at {best.latency_ms:.3f} ms"
        )  # fmt: skip
        return f"<{found.run}: {len(found.trials)} proposals, {found.distinct} networks, {said}>"


def _source(latency: LatencyTable | LatencySource | Callable[..., Any], space: Space) -> Source:
    if isinstance(latency, LatencyTable):
        return price_with(latency, space)
    if not callable(latency):
        return Source(latency)
    name = f"function:{_name(latency)}{_digest(latency)}"
    argument = argument_of(latency, name, space)

    def loop(genotypes: Genotypes) -> npt.NDArray[np.floating]:
        assert argument is not None
        return np.array([latency(argument(row)) for row in genotypes], np.float64)

    function: LatencyFunction = latency if argument is None else loop
    return Source(FunctionLatency(function, name), function)


def _evaluator(evaluator: Evaluator | Callable[..., Any], space: Space) -> Evaluator:
    if callable(evaluator):
        name = f"function:{_name(evaluator)}{_digest(evaluator)}"
        return FunctionEvaluator(evaluator, name, space=space)
    return evaluator


def _digest(function: Callable[..., Any]) -> str:
    """Return a digest of the source, so that a function that was changed is another one."""
    try:
        return f":{sha256(inspect.getsource(function).encode()).hexdigest()[:8]}"
    except (OSError, TypeError):  # built in, or an object that can be called
        return ""


def _name(maker: Callable[..., Any]) -> str:
    return str(getattr(maker, "__qualname__", type(maker).__name__))


def _require_same(run: Path, config: RunConfig) -> None:
    """Check that the run that is there is of this configuration, whatever its budget.

    Raises:
        RunExists: it is not; names the first setting that differs.
    """
    found, _ = RunDirectory(run).config()
    found = replace(found, budget=config.budget)
    for name in (f.name for f in fields(RunConfig)):
        before, now = getattr(found, name), getattr(config, name)
        if before != now:
            raise RunExists(
                f"{run} holds a run whose {name} is {before}, found {now}; choose another directory"
            )


def _find_space(result: SearchResult, recorded: str | None) -> Space:
    """Return the space that the configuration names, if it is that of the run; else its record."""
    try:
        space = space_of(result.config)
    except NetworkError:
        return recorded_space(result.run)
    if recorded is not None and identify_space(space) != recorded:
        return recorded_space(result.run)
    return space


def _points(trials: tuple[Trial, ...] | list[Trial]) -> tuple[Any, Any]:
    return np.array([t.latency_ms for t in trials]), np.array([t.quality for t in trials])
