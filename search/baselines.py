"""Baselines: random and local search at a run's budget, so that it can be seen what it is worth.

    RUN/baselines/random      RUN/baselines/local      ordinary runs, of the run's seed

They are run where they are cheap: where all but the searcher's own work took at most `CHEAP_S` a
network in the run itself, as it does with tables, surrogates, proxies and most functions. Training
and measuring on a device are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from search.book import meets
from search.config import RunConfig
from search.repeats import Search, search_or_load
from search.run import SearchResult, load
from search.run_directory import RunDirectory
from search.trials import Trial

BASELINES = ("random", "local")
CHEAP_S = 0.05
_OWN = {"no_repeats", "warm_start"}
"""Settings that change how a searcher searches; baselines are plain."""


def evaluation_s(result: SearchResult) -> float | None:
    """Return the seconds a new network that a run spent outside of its searcher, None if unknown.

    Raises:
        StoreError: the run cannot be read.
    """
    with closing(RunDirectory(result.run).trials(writable=False)) as store:
        spent = store.spent()
    if spent and result.distinct:
        return (spent["wall"] - spent["ask"] - spent["tell"]) / result.distinct
    seconds = [t.seconds for t in result.trials if isinstance(t, Trial) and not t.is_repeat]
    return sum(seconds) / len(seconds) if seconds else None


def is_cheap(result: SearchResult) -> bool:
    """Return whether baselines of a run are cheap; see the module."""
    seconds = evaluation_s(result)
    return seconds is not None and seconds <= CHEAP_S


def baseline_configs(config: RunConfig) -> dict[str, RunConfig]:
    """Return the configuration of each baseline that the run is not itself."""
    settings = {name: value for name, value in config.settings.items() if name not in _OWN}
    plain = replace(config, preset=None, settings=settings)
    return {
        name: replace(plain, searcher=name)
        for name in BASELINES
        if replace(plain, searcher=name) != config
    }


def run_baselines(search: Search, result: SearchResult) -> dict[str, SearchResult]:
    """Run what a run is to be compared with, to its budget; finished ones are kept.

    Args:
        search: starts or goes on with a run.
        result: of the run.

    Raises:
        SearchError: as ``search`` does.
    """
    return {
        name: search_or_load(search, config, result.run / "baselines" / name)
        for name, config in baseline_configs(result.config).items()
    }


def load_baselines(run: Path) -> dict[str, SearchResult]:
    """Return the baselines that a run has, which may be none.

    Raises:
        RunError: one cannot be read.
    """
    folders = {name: run / "baselines" / name for name in BASELINES}
    return {n: load(folder) for n, folder in folders.items() if (folder / "run.toml").is_file()}


@dataclass(frozen=True, slots=True)
class Standing:
    """A baseline beside a run, after the same number of proposals.

    ``lead`` is the run's best less the baseline's: of quality within the target, or of reward
    where there is no target. It is infinite where only one of them met the target, and 0 where
    neither did; ``is_noise``: it is no larger than the noise of such a difference.
    """

    name: str
    proposals: int
    best: float | None
    lead: float
    is_noise: bool

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON's values; ``lead`` is None where it is infinite."""
        return {
            "name": self.name,
            "proposals": self.proposals,
            "best": self.best,
            "lead": self.lead if math.isfinite(self.lead) else None,
            "ahead": self.lead > 0,
            "is_noise": self.is_noise,
        }


def compare_baselines(
    result: SearchResult, baselines: Mapping[str, SearchResult], *, noise: float | None = None
) -> list[Standing]:
    """Return how each baseline stands beside the run.

    Args:
        noise: the largest difference of two qualities that errors alone explain, None if unknown.
    """
    standings = []
    for name, baseline in baselines.items():
        proposals = min(len(result.trials), len(baseline.trials))
        own, other = best_after(result, proposals), best_after(baseline, proposals)
        lead = (-math.inf if own is None else own) - (-math.inf if other is None else other)
        lead = 0.0 if math.isnan(lead) else lead
        standings.append(Standing(name, proposals, other, lead, abs(lead) <= (noise or 0.0)))
    return standings


def describe_standings(result: SearchResult, standings: Sequence[Standing]) -> str:
    """Return in words who is ahead at the same budget; empty where there is no baseline."""
    if not standings:
        return ""
    name = result.config.searcher
    what = "reward" if result.config.target_ms is None else "quality within the target"
    parts = [_describe(name, standing) for standing in standings]
    text = (
        f"Best {what} after the same {standings[0].proposals} proposals, one run each:"
        f" {'; '.join(parts)}."
    )
    if loses_to_random(standings):
        preset = "the small-budget preset, " if result.config.preset == "paper" else ""
        text += (
            f" {name} did not beat random search here: its result owes nothing to the strategy."
            f" Try {preset}a larger budget, or guided search."
        )
    return text


def loses_to_random(standings: Sequence[Standing]) -> bool:
    """Return whether random search found as good a network, or a better one."""
    return any(standing.name == "random" and standing.lead <= 0 for standing in standings)


def best_after(result: SearchResult, proposals: int) -> float | None:
    """Return the best quality within the target of the first proposals, or reward without target.

    None: none is within the target and all limits.
    """
    config = result.config
    values = [
        trial.reward if config.target_ms is None else trial.quality
        for trial in result.trials[:proposals]
        if isinstance(trial, Trial) and meets(config, trial)
    ]
    return max(values, default=None)


def _describe(name: str, standing: Standing) -> str:
    other = standing.name
    if standing.lead == 0:
        return f"{other} found as good a network as {name}"
    if math.isinf(standing.lead):
        found, missed = (name, other) if standing.lead > 0 else (other, name)
        return f"{found} met the target and {missed} did not"
    where = "ahead of" if standing.lead > 0 else "behind"
    noise = ", which is within the noise" if standing.is_noise else ""
    return f"{name} is {abs(standing.lead):.4f} {where} {other} ({standing.best:.4f}){noise}"
