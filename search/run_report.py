"""Run report: what a search found, as one page: a run's, or that of runs with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.aims import describe_aim, describe_bounds, describe_latency
from search.baselines import load_baselines
from search.book import meets
from search.honesty import honesty_of
from search.plots import plot_curves, plot_front
from search.repeats import Repeats, Spread, load_seeds
from search.report import Facts, Part, Plot, Section, Table, format_report
from search.run import SearchResult, load
from search.run_sections import (
    aim_section,
    best_section,
    facts,
    failures_section,
    no_best,
    noise_section,
    progress_section,
    proposers_section,
    standing_section,
    time_section,
)
from search.trials import Trial

__all__ = [
    "best_curve", "describe_aim", "describe_bounds", "no_best", "report_path", "report_repeats",
    "report_run", "search_section",
]  # fmt: skip

Floats = npt.NDArray[np.float64]
LISTED = 3
"""Runs of one searcher whose numbers are listed; of more, mean and deviation are shown."""


def report_path(path: Path) -> str:
    """Return the page of the run in a directory, or of the seeds' runs below it.

    Raises:
        RunError: there is neither, or it cannot be read.
    """
    if (path / "run.toml").is_file() or not any(path.glob("seed-*/run.toml")):
        return report_run(load(path))
    return report_repeats(load_seeds(path))


def report_run(result: SearchResult) -> str:
    """Return the page of one run, with the baselines that lie in its directory.

    Raises:
        RunError: what lies in the directory cannot be read.
    """
    baselines = load_baselines(result.run)
    honesty = honesty_of(result, baselines=baselines)
    runs = {_name(result): [result], **{name: [found] for name, found in baselines.items()}}
    sections = [
        Section("Result", facts(result)),
        best_section(result),
        aim_section(result),
        search_section(runs),
        standing_section(honesty),
        noise_section(honesty),
        progress_section(result),
        proposers_section(result),
        failures_section(result),
        time_section(result),
    ]
    return format_report(f"Search {result.run.name}", _lead(result), sections)


def report_repeats(repeats: Repeats) -> str:
    """Return the page of runs with several seeds.

    Raises:
        RunError: what lies in their directories cannot be read.
    """
    results = list(repeats.results.values())
    runs = {_name(results[0]): results}
    for result in results:
        for name, baseline in load_baselines(result.run).items():
            runs.setdefault(name, []).append(baseline)
    winner = max((r for r in results if r.best), key=_best_quality, default=results[0])
    sections = [
        Section("Result", [_spreads(repeats), _seeds(repeats)]),
        best_section(winner),
        aim_section(winner),
        search_section(runs),
        noise_section(honesty_of(winner, others=results)),
    ]
    n = len(results)
    return format_report(f"Search {repeats.out.name}: {n} seeds", _lead(winner, n), sections)


def search_section(
    runs: Mapping[str, Sequence[SearchResult]], *, quality: str = "quality"
) -> Section:
    """Return curves and fronts of several searchers' runs at one target.

    Args:
        runs: by searcher, one result a seed.
    """
    config = next(iter(runs.values()))[0].config
    rows = [
        [name, *(_numbers([n for n in column if n is not None], digits)
                 for column, digits in _columns(results))]
        for name, results in runs.items()
    ]  # fmt: skip
    clouds = {name: _points(_scored(results)) for name, results in runs.items()}
    first = {name: list(results[0].front) for name, results in runs.items()}
    fronts = {name: _points(front) for name, front in first.items()}
    reaches_ms = {
        name: np.array([t.interval_ms[1] - t.latency_ms for t in front if t.interval_ms])
        for name, front in first.items()
        if front and all(t.interval_ms for t in front)
    }
    winner = max(
        (r.best for results in runs.values() for r in results if r.best),
        key=lambda t: t.quality, default=None,
    )  # fmt: skip
    curves = {name: [best_curve(r) for r in results] for name, results in runs.items()}
    intervals = " Bars: where 90 % of measurements would lie." if reaches_ms else ""
    parts: list[Part] = [
        Table(["searcher", "proposals", "networks", f"best {quality}", "its latency"], rows),
        Plot(
            plot_curves(curves, quality=quality),
            "Best network within the target after so many distinct evaluations.",
        ),
        Plot(
            plot_front(
                clouds, fronts, target_ms=config.target_ms, quality=quality,
                latency=describe_latency(config), reaches_ms=reaches_ms,
                best=(winner.latency_ms, winner.quality) if winner else None,
            ),
            "Every network evaluated, and the ones that none beats in both quality and latency"
            f" (of each searcher's first run).{intervals}",
        ),
    ]  # fmt: skip
    return Section("Search", parts)


def best_curve(result: SearchResult) -> Floats:
    """Return the best quality within the target after each distinct network, NaN before one met it.

    A failed evaluation counts as a network without quality.
    """
    qualities = [
        t.quality if isinstance(t, Trial) and meets(result.config, t) else -np.inf
        for t in result.trials
        if not t.is_repeat
    ]
    best = np.maximum.accumulate(np.array(qualities))
    return np.where(np.isfinite(best), best, np.nan)


def _lead(result: SearchResult, seeds: int = 1) -> str:
    config = result.config
    which = f"seed {config.seed}" if seeds == 1 else f"{seeds} seeds"
    return (
        f"{config.searcher} in {config.space}, quality by {config.evaluator}, latency from"
        f" {config.latency}; {describe_aim(config)}, {which}."
    )


def _name(result: SearchResult) -> str:
    config = result.config
    return config.searcher + (f":{config.preset}" if config.preset else "")


def _best_quality(result: SearchResult) -> float:
    return -np.inf if result.best is None else result.best.quality


def _columns(results: Sequence[SearchResult]) -> list[tuple[list[float | None], int]]:
    return [
        ([float(len(r.trials)) for r in results], 0),
        ([float(r.distinct) for r in results], 0),
        ([r.best.quality if r.best else None for r in results], 4),
        ([r.best.latency_ms if r.best else None for r in results], 3),
    ]


def _numbers(numbers: Sequence[float], digits: int) -> str:
    spread = Spread.of(numbers)
    if spread is None:
        return "none"
    if len(numbers) <= LISTED:
        return " / ".join(f"{number:.{digits}f}" for number in numbers)
    return f"{spread.mean:.{digits}f} ± {spread.std:.{digits}f}"


def _spreads(repeats: Repeats) -> Facts:
    met, n = len(repeats.best), len(repeats.results)
    facts = [("met the target", f"{met} of {n}", "seeds, with all limits")]
    for number, name, digits in (("quality", "best quality", 4), ("latency_ms", "its latency", 3),
                                 ("reward", "its reward", 4)):  # fmt: skip
        if found := repeats.spread(number):
            spread = f"{found.mean:.{digits}f} ± {found.std:.{digits}f}"
            facts.append((name, spread, f"{found.low:.{digits}f} to {found.high:.{digits}f}"))
    if repeats.favourite:
        trial, seeds = repeats.favourite
        facts.append(("same best network", f"{len(seeds)} seeds", trial.hash))
    return Facts(facts)


def _seeds(repeats: Repeats) -> Table:
    rows = []
    for seed, result in repeats.results.items():
        best = result.best
        found = ["none", "", "", ""] if best is None else [
            f"{best.quality:.4f}", f"{best.latency_ms:.3f}", f"{best.reward:.4f}", best.hash
        ]  # fmt: skip
        rows.append([str(seed), str(len(result.trials)), str(result.distinct), *found])
    header = ["seed", "proposals", "networks", "best quality", "its latency", "reward", "network"]
    return Table(header, rows)


def _scored(results: Sequence[SearchResult]) -> list[Trial]:
    return [t for r in results for t in r.trials if isinstance(t, Trial) and not t.is_repeat]


def _points(trials: Sequence[Trial]) -> tuple[Floats, Floats]:
    return np.array([t.latency_ms for t in trials]), np.array([t.quality for t in trials])
