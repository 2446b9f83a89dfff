"""Assembly: the real parts of a run, built from the names in its configuration.

space       a name of `networks.spaces` or a TOML file      settings: resolution, width, classes
latency     see `search.sources`
evaluator   see `search.evaluators.making`
searcher    a name of `search.searchers`, with its preset   settings: no_repeats, warm_start,
                                                                      feasible
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from networks.cells import CellNetwork
from networks.errors import NetworkError
from networks.names import find_network, name_network
from networks.network import Network
from networks.spaces import AnySpace, DecodingSpace, find_space
from networks.spaces.space import Genotypes, Space
from search.config import RunConfig
from search.costs import CountCosts, costs_of
from search.errors import RunError
from search.evaluators.evaluator import Evaluator
from search.evaluators.making import make_evaluator, study_of
from search.feasible import FeasibleSpace
from search.gaussian_process import Floats
from search.guided import Aim
from search.objective import Objective
from search.run import Progress, SearchResult, load, resume, run_search
from search.run_directory import RunDirectory
from search.searcher import Searcher
from search.searchers import make_searcher
from search.sources import OpenDevice, Source, make_source
from search.space_record import identify_space
from search.trials import Trial
from search.wrappers import Unrepeated, WarmStarted

WARM_TRIALS = 10
"""Best networks of another run that a warm start begins with."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of; ``searcher`` is new, before its first proposal.

    ``notes`` are what a user should know before the run starts.
    """

    space: AnySpace
    source: Source
    evaluator: Evaluator
    searcher: Searcher
    costs: CountCosts | None
    notes: tuple[str, ...] = ()


def start(
    config: RunConfig,
    out: Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    open_device: OpenDevice | None = None,
    say: Callable[[str], None] | None = None,
) -> SearchResult:
    """Search by a configuration in a new run directory; raises as `assemble` and `run_search`.

    Args:
        open_device: opens the device of an address, by default with its own options.
        say: hears what a user should know before the run starts.
    """
    with assemble(config, open_device=open_device) as parts:
        if say is not None:
            for note in parts.notes:
                say(note)
        return run_search(
            config, parts.space, parts.source.latency, parts.evaluator, parts.searcher,
            out=out, costs=parts.costs, progress=progress,
        )  # fmt: skip


def go_on(
    run: Path,
    *,
    budget: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    open_device: OpenDevice | None = None,
) -> SearchResult:
    """Continue a run to its (or another) budget; raises as `assemble` and `search.run.resume`."""
    config, _ = RunDirectory(run).config()
    with assemble(config, open_device=open_device) as parts:
        return resume(
            run, parts.space, parts.source.latency, parts.evaluator, parts.searcher,
            budget=budget, costs=parts.costs, progress=progress,
        )  # fmt: skip


def space_of(config: RunConfig) -> AnySpace:
    """Return the space of a run.

    Raises:
        UnknownName, SpaceFileError: there is none of that name, or the file is no space.
    """
    resolution, classes = (config.settings.get(name) for name in ("resolution", "classes"))
    return find_space(
        config.space,
        resolution=None if resolution is None else int(resolution),
        width=float(config.settings.get("width", 1.0)),
        classes=None if classes is None else int(classes),
    )


def find_trial(
    run: Path, number: int | None = None
) -> tuple[CellNetwork | Network, dict[str, str]]:
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
    return network_of(result, trial.genotype), {
        "space": result.config.space,
        "genotype": ",".join(map(str, trial.genotype)),
        "trial": f"{run.name}:{trial.number}",
    }


def network_of(result: SearchResult, genotype: Sequence[int]) -> CellNetwork | Network:
    """Return the network of a genotype of a run.

    Raises:
        RunError: the space has decisions and no networks, or is not the one that was searched.
    """
    space = _searched_space(result)
    if not isinstance(space, DecodingSpace):
        raise RunError(f"{space.name} has decisions and no networks")
    return space.decode(genotype)


def _searched_space(result: SearchResult) -> AnySpace:
    """Return the run's space, once it is the one that the run recorded."""
    space = space_of(result.config)
    _, parts = RunDirectory(result.run).config()
    recorded = parts.get("space_sha256")
    if recorded is not None and identify_space(space) != recorded:
        raise RunError(
            f"{result.run}: {result.config.space} is another space than the one that was searched:"
            " its file was changed, or the run was made from Python with a space of its own; load"
            " it there"
        )
    return space


def _name_of(result: SearchResult, genotype: Sequence[int]) -> str:
    """Return the network's text, or the options of a space without networks."""
    space = _searched_space(result)
    if isinstance(space, DecodingSpace):
        return name_network(space.decode(genotype))
    pairs = zip(space.decisions, genotype, strict=True)
    return ",".join(f"{decision.name}={decision.options[option]}" for decision, option in pairs)


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
            "network": _name_of(result, best.genotype),
            "quality": best.quality,
            "latency_ms": best.latency_ms,
            "interval_ms": best.interval_ms,
            "reward": best.reward,
        },
    }


@contextmanager
def assemble(
    config: RunConfig,
    *,
    open_device: OpenDevice | None = None,
) -> Iterator[Parts]:
    """Yield the parts of a run; its workers and devices end with the context.

    Raises:
        RunError: no such latency, or no network of the space meets the target.
        UnknownName, UnknownSearcher, EvaluatorError, StudyError: a part has no such name.
        TableError: the table cannot be read, or lacks a layer of the space.
        DeviceError: the device cannot be opened.
    """
    space = space_of(config)
    study = study_of(config.evaluator, space)
    with (
        make_source(config, space, study, open_device=open_device) as source,
        make_evaluator(config, space, study) as evaluator,
    ):
        require_reachable(config, source)
        costs = costs_needed(config, space)
        seen = _feasible(config, space, source) if config.settings.get("feasible") else space
        searcher = _searcher(config, seen, space, aim_of(config, source, costs))
        notes = [
            getattr(config.reward, "note", None), source.note, getattr(evaluator, "note", None)
        ]  # fmt: skip
        told = tuple(note for note in notes if note)
        yield Parts(space, source, evaluator, searcher, costs, told)


def require_reachable(config: RunConfig, source: Source) -> None:
    """Check that some network meets the target, where the fastest is known.

    Raises:
        RunError: none does.
    """
    target_ms, fastest_ms = config.target_ms, source.fastest_ms
    if target_ms is not None and fastest_ms is not None and target_ms < fastest_ms:
        raise RunError(
            f"the target of {target_ms:g} ms is below the fastest network of"
            f" {config.space}, predicted at {fastest_ms:.3f} ms; choose a larger target"
        )


def costs_needed(config: RunConfig, space: Space) -> CountCosts | None:
    """Return what counts the costs that the objective needs beside latency."""
    names = [name for name in config.objective.costs if name != "latency_ms"]
    if not names:
        return None
    if not isinstance(space, DecodingSpace):
        raise RunError(f"{space.name} has decisions and no networks: it has no {names[0]}")
    return costs_of(space, names)


def aim_of(config: RunConfig, source: Source, costs: CountCosts | None) -> Aim:
    """Return what guided search knows beforehand: costs of any network, and which meet the target.

    Networks are drawn within the target where all other costs are free; else from the space.
    """
    function, target_ms = source.function, config.target_ms
    within = source.within if target_ms is not None and not config.limits else None
    candidates = within(target_ms) if within and target_ms is not None else None
    if function is None:
        return Aim(candidates)
    objective: Objective = config.objective

    def reward(genotypes: Genotypes) -> Callable[[Floats], Floats]:
        known = {} if costs is None else costs(genotypes)
        known = {"latency_ms": np.asarray(function(genotypes), np.float64), **known}
        return lambda quality: objective(quality, known).rewards

    return Aim(candidates, reward)


def _feasible(config: RunConfig, space: AnySpace, source: Source) -> FeasibleSpace:
    """Return the space as if it held only networks that meet the target.

    Raises:
        RunError: there is no target, or nobody can count those that meet it.
    """
    target_ms = config.target_ms
    if target_ms is None or source.within is None or source.function is None:
        raise RunError(
            "feasible: expected a target and a table whose predictions add up over layers, so that"
            f" networks can be drawn within it, found latency {config.latency}"
        )
    return FeasibleSpace(space, source.function, source.within(target_ms), target_ms)


def _searcher(config: RunConfig, seen: Space, space: AnySpace, aim: Aim) -> Searcher:
    """Return the searcher over the space as it should see it."""
    searcher = make_searcher(config.searcher, seen, preset=config.preset, seed=config.seed, aim=aim)
    if config.settings.get("no_repeats", False):
        searcher = Unrepeated(seen, searcher, seed=config.seed)
    if warm := config.settings.get("warm_start"):
        searcher = WarmStarted(space, searcher, _warm_genotypes(str(warm), space))
    return searcher


def _warm_genotypes(text: str, space: AnySpace) -> Genotypes:
    """Return the networks of a warm start: those of names, or the best of another run.

    Raises:
        RunError: the run is of another space, or has nothing; or a name is not in the space.
    """
    if (Path(text) / "run.toml").is_file():
        result = load(Path(text))
        theirs = space_of(result.config)
        if theirs.decisions != space.decisions:
            raise RunError(f"{text} searched {theirs.name}, whose decisions are not {space.name}'s")
        scored = [t for t in result.trials if isinstance(t, Trial) and not t.is_repeat]
        best = sorted(scored, key=lambda trial: -trial.reward)[:WARM_TRIALS]
        if not best:
            raise RunError(f"{text} has no network that was evaluated; start without it")
        return np.array([trial.canonical for trial in best], np.int8)
    if not isinstance(space, DecodingSpace):
        raise RunError(f"{space.name} has no networks of a name: warm_start is another run's path")
    rows = [_encoded(name.strip(), space) for name in text.split(";")]
    return np.stack(rows)


def _encoded(name: str, space: DecodingSpace) -> Genotypes:
    encode: Callable[[Any], Genotypes] = space.encode
    try:
        return encode(find_network(name))
    except NetworkError as error:
        raise RunError(f"warm_start: {name!r}: {error}") from error
