"""Assembly: the real parts of a run, built from the names in its configuration.

space       a name of `networks.spaces`                         settings: resolution, width
latency     table:FILE, one version of a latency table          settings: latency_quantile, so that
                                                              0.95 counts what 95 % stay under
evaluator   imagenet-proxy | training | module:function         settings: data, workers, epochs,
searcher    a name of `search.searchers`, with its preset                 train_images
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from latency_tables.predictor import Latencies, Predictor, compile_predictor
from latency_tables.table import LatencyTable
from networks.block_strings import format_network
from networks.network import Network
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes
from search.config import RunConfig, Scalar
from search.errors import EvaluatorError, RunError
from search.evaluators.evaluator import Evaluator
from search.run import Progress, SearchResult, load, resume, run_search
from search.run_directory import RunDirectory
from search.searcher import Searcher
from search.searchers import make_searcher

LatencyFunction = Callable[[Genotypes], Latencies]
TASK_RESOLUTION = 32


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of; ``searcher`` is new, before its first proposal.

    ``predict`` is the latency that the run goes by: the predictor's mean, or a quantile of it.
    """

    space: ChainSpace
    latency: Predictor
    predict: LatencyFunction
    evaluator: Evaluator
    searcher: Searcher


def start(
    config: RunConfig, out: Path, *, progress: Callable[[Progress], None] | None = None
) -> SearchResult:
    """Search by a configuration in a new run directory; raises as `assemble` and `run_search`."""
    with assemble(config) as parts:
        return run_search(
            config, parts.space, parts.predict, parts.evaluator, parts.searcher,
            out=out, progress=progress,
        )  # fmt: skip


def go_on(run: Path, *, progress: Callable[[Progress], None] | None = None) -> SearchResult:
    """Continue a run to its end; raises as `assemble` and `search.run.resume`."""
    config, _ = RunDirectory(run).config()
    with assemble(config) as parts:
        return resume(
            run, parts.space, parts.predict, parts.evaluator, parts.searcher,
            progress=progress,
        )  # fmt: skip


def space_of(config: RunConfig) -> ChainSpace:
    """Return the space of a run.

    Raises:
        UnknownName: there is none of that name.
    """
    return make_space(
        config.space,
        resolution=int(config.settings.get("resolution", 224)),
        width=float(config.settings.get("width", 1.0)),
    )


def find_trial(run: Path, number: int | None = None) -> tuple[Network, dict[str, str]]:
    """Return the network of a run's trial, by default its best, and where it came from in words.

    Raises:
        NotARun, StoreError: the run cannot be read.
        RunError: it has no trial of that number, or none that meets its target.
    """
    result = load(run)
    trials = {trial.number: trial for trial in result.trials}
    trial = result.best if number is None else trials.get(number)
    if trial is None and number is None:
        raise RunError(f"{run}: no network that was evaluated meets the target; name one, as RUN:0")
    if trial is None:
        raise RunError(f"{run}: expected a trial of 0 to {len(trials) - 1}, found {number}")
    return space_of(result.config).decode(trial.genotype), {
        "space": result.config.space,
        "genotype": ",".join(map(str, trial.genotype)),
        "trial": f"{run.name}:{trial.number}",
    }


def summarize_run(result: SearchResult) -> dict[str, object]:
    """Return the run's result as ``hilnas search --json`` prints it; ``best`` None: none met it."""
    best = result.best
    return {
        "run": str(result.run),
        "trials": len(result.trials),
        "distinct": result.distinct,
        "target_ms": result.config.target_ms,
        "best": None
        if best is None
        else {
            "genotype": list(best.genotype),
            "network": format_network(space_of(result.config).decode(best.genotype)),
            "quality": best.quality,
            "latency_ms": best.latency_ms,
            "reward": best.reward,
        },
    }


@contextmanager
def assemble(config: RunConfig) -> Iterator[Parts]:
    """Yield the parts of a run; its workers end with the context.

    Raises:
        RunError: the latency is not ``table:FILE``, or no network of the space meets the target.
        UnknownName, UnknownSearcher, EvaluatorError: a part has no such name.
        TableError: the table cannot be read, or lacks a layer of the space.
    """
    kind, _, file = config.latency.partition(":")
    if kind != "table" or not file:
        raise RunError(f"latency is table:FILE, found {config.latency!r}")
    space = space_of(config)
    latency = compile_predictor(LatencyTable.load(Path(file)), space)
    predict = _latency_of(latency, config.settings)
    fastest_ms = latency.fastest_ms
    if config.target_ms is not None and config.target_ms < fastest_ms:
        raise RunError(
            f"the target of {config.target_ms:g} ms is below the fastest network of"
            f" {config.space}, predicted at {fastest_ms:.3f} ms; choose a larger target"
        )
    searcher = make_searcher(config.searcher, space, preset=config.preset, seed=config.seed)
    with _evaluator(config.evaluator, space, config.settings) as evaluator:
        yield Parts(space, latency, predict, evaluator, searcher)


def _latency_of(predictor: Predictor, settings: Mapping[str, Scalar]) -> LatencyFunction:
    """Return the predictor's mean, or the quantile that the settings ask for."""
    quantile = settings.get("latency_quantile")
    if quantile is None:
        return predictor.predict
    if not isinstance(quantile, float) or not 0.5 <= quantile < 1:
        raise RunError(
            f"latency_quantile is a number from 0.5 and below 1, found {quantile!r}: what is met at"
            " a lower one is more likely missed"
        )
    return predictor.at_quantile(quantile)


@contextmanager
def _evaluator(name: str, space: ChainSpace, settings: Mapping[str, Scalar]) -> Iterator[Evaluator]:
    if name == "imagenet-proxy":
        from search.evaluators.imagenet_proxy import ImageNetProxy

        yield ImageNetProxy(space)
    elif name == "training":
        from search.datasets import load_dataset
        from search.evaluators.training import TrainingEvaluator
        from search.training import TrainingSettings

        data = load_dataset(str(settings.get("data", "auto")), resolution=TASK_RESOLUTION)
        task_space = make_space(
            space.name,
            resolution=TASK_RESOLUTION,
            width=float(settings.get("width", 1.0)),
            classes=len(data.classes),
            in_channels=1,
        )
        training = TrainingSettings(
            epochs=float(settings.get("epochs", 1.0)),
            train_images=int(settings.get("train_images", 10_000)),
        )
        workers = int(settings.get("workers", 2))
        with TrainingEvaluator(
            task_space, data.search_view(), training, workers=workers
        ) as evaluator:
            yield evaluator
    elif ":" in name:
        from search.evaluators.function import load_function

        yield load_function(name)
    else:
        raise EvaluatorError(
            f"no evaluator is named {name!r}; there are imagenet-proxy, training, and"
            " module:function for your own"
        )
