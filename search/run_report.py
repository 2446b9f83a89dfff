"""Run report: what a search found, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from networks.names import name_network
from search.assembly import network_of
from search.book import meets
from search.config import RunConfig
from search.objective import Penalty
from search.plots import plot_curves, plot_front
from search.report import Code, Part, Plot, Section, Table, format_report
from search.rewards import Reward
from search.run import SearchResult
from search.trials import Trial

Floats = npt.NDArray[np.float64]


def report_run(result: SearchResult) -> str:
    """Return the page of one run."""
    config = result.config
    lead = (
        f"{config.searcher} in {config.space}, quality by {config.evaluator}, latency from"
        f" {config.latency}; {describe_aim(config)}, seed {config.seed}."
    )
    name = config.searcher + (f":{config.preset}" if config.preset else "")
    sections = [search_section({name: [result]}), best_section(result)]
    return format_report(f"Search {result.run.name}", lead, sections)


def search_section(
    runs: Mapping[str, Sequence[SearchResult]], *, quality: str = "quality"
) -> Section:
    """Return curves and fronts of several searchers' runs at one target.

    Args:
        runs: by searcher, one result a seed.
    """
    target_ms = next(iter(runs.values()))[0].config.target_ms
    rows = []
    for name, results in runs.items():
        best = [r.best.quality for r in results if r.best]
        rows.append([
            name,
            " / ".join(str(len(r.trials)) for r in results),
            " / ".join(str(r.distinct) for r in results),
            " / ".join(f"{q:.4f}" for q in best) or "none",
            " / ".join(f"{r.best.latency_ms:.3f}" for r in results if r.best) or "none",
        ])  # fmt: skip
    clouds = {name: _points(_scored(results)) for name, results in runs.items()}
    fronts = {name: _points([t for r in rs[:1] for t in r.front]) for name, rs in runs.items()}
    winner = max(
        (r.best for results in runs.values() for r in results if r.best),
        key=lambda t: t.quality, default=None,
    )  # fmt: skip
    curves = {name: [best_curve(r) for r in results] for name, results in runs.items()}
    star = (winner.latency_ms, winner.quality) if winner else None
    parts: list[Part] = [
        Table(["searcher", "proposals", "networks", f"best {quality}", "its ms"], rows),
        Plot(
            plot_curves(curves, quality=quality),
            "Best network within the target after so many distinct evaluations.",
        ),
        Plot(
            plot_front(clouds, fronts, target_ms=target_ms, quality=quality, best=star),
            "Every network evaluated, and the ones that none beats in both quality and latency"
            " (of each searcher's first run).",
        ),
    ]
    return Section("Search", parts)


def best_section(result: SearchResult) -> Section:
    """Return the run's best network in words, or that there is none."""
    best = result.best
    if best is None:
        return Section("Best network", [no_best(result)])
    network = network_of(result.config, best.genotype)
    return Section(
        "Best network",
        [
            f"Trial {best.number}: quality {best.quality:.4f}, predicted latency"
            f" {best.latency_ms:.3f} ms, reward {best.reward:.4f}, {network.params / 1e6:.2f} M"
            f" parameters, {network.madds / 1e6:.0f} M multiply-adds.",
            Code(name_network(network)),
        ],
    )


def no_best(result: SearchResult) -> str:
    """Return the sentence that says that no network met the target."""
    return f"No network that was evaluated meets {describe_bounds(result.config) or 'the limits'}."


def describe_aim(config: RunConfig) -> str:
    """Return the reward and the bounds of a run in words."""
    reward = config.reward
    if isinstance(reward, Penalty):
        unit = "ms" if reward.cost == "latency_ms" else f"million {reward.cost}"
        words = f"penalty of {reward.weight:g} a {unit}"
    else:
        words = f"{reward.kind} reward"
    bounds = describe_bounds(config)
    return f"{words}, {bounds}" if bounds else words


def describe_bounds(config: RunConfig) -> str:
    """Return the target and the limits of a run in words, empty if there are none."""
    bounds = []
    if isinstance(config.reward, Reward):
        bounds.append(f"the target of {config.reward.target_ms:g} ms")
    bounds += [f"{name} of at most {limit:g}" for name, limit in config.limits.items()]
    return " and ".join(bounds)


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


def _scored(results: Sequence[SearchResult]) -> list[Trial]:
    return [t for r in results for t in r.trials if isinstance(t, Trial) and not t.is_repeat]


def _points(trials: Sequence[Trial]) -> tuple[Floats, Floats]:
    return np.array([t.latency_ms for t in trials]), np.array([t.quality for t in trials])
