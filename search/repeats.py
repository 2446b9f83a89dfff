"""Repeats: one search with several seeds, and how much its result depends on the seed.

OUT/seed-0   OUT/seed-1   ...      ordinary runs; finished ones are kept, others go on
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from search.aims import describe_bounds, latency_unit
from search.config import RunConfig
from search.errors import RunError, RunExists
from search.run import SearchResult, load
from search.run_directory import RunDirectory
from search.trials import Trial

Search = Callable[[RunConfig, Path], SearchResult]
"""Starts the run of a configuration in a directory, or goes on with the one that is there."""

MOST_SEEDS = 1000


@dataclass(frozen=True, slots=True)
class Spread:
    """Of ``n`` numbers: mean, sample standard deviation (0 of one number), lowest and highest."""

    n: int
    mean: float
    std: float
    low: float
    high: float

    @property
    def standard_error(self) -> float:
        """Standard deviation of the mean."""
        return self.std / math.sqrt(self.n)

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread | None:
        """Return that of some numbers, None of none."""
        found = list(numbers)
        if not found:
            return None
        std = stdev(found) if len(found) > 1 else 0.0
        return cls(len(found), mean(found), std, min(found), max(found))

    def to_dict(self) -> dict[str, float]:
        """Return it as JSON's values."""
        return {
            "n": self.n,
            "mean": self.mean,
            "std": self.std,
            "standard_error": self.standard_error,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True, slots=True)
class Repeats:
    """The results of one search, by seed."""

    out: Path
    config: RunConfig
    results: Mapping[int, SearchResult]

    @property
    def best(self) -> Mapping[int, Trial]:
        """The best network of each seed that found one within the target and all limits."""
        return {seed: result.best for seed, result in self.results.items() if result.best}

    def spread(self, number: str) -> Spread | None:
        """Return that of the best networks' ``quality``, ``latency_ms`` or ``reward``."""
        return Spread.of(float(getattr(best, number)) for best in self.best.values())

    @property
    def favourite(self) -> tuple[Trial, tuple[int, ...]] | None:
        """The network that was best of the most seeds, and these; None where no two agree."""
        best = self.best
        counts = Counter(trial.canonical for trial in best.values()).most_common(1)
        if not counts or counts[0][1] < 2:
            return None
        seeds = tuple(seed for seed, trial in best.items() if trial.canonical == counts[0][0])
        return best[seeds[0]], seeds

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON's values; spreads are None where no seed met the target."""
        spreads = {name: self.spread(name) for name in ("quality", "latency_ms", "reward")}
        favourite = self.favourite
        return {
            "out": str(self.out),
            "seeds": list(self.results),
            "target_ms": self.config.target_ms,
            "met_target": len(self.best),
            **{name: found and found.to_dict() for name, found in spreads.items()},
            "shared_best": favourite
            and {
                "genotype": list(favourite[0].genotype),
                "hash": favourite[0].hash,
                "seeds": list(favourite[1]),
            },
            "runs": [_run(seed, result) for seed, result in self.results.items()],
        }


def run_seeds(search: Search, config: RunConfig, seeds: Sequence[int], out: Path) -> Repeats:
    """Search once a seed, each in a run of its own below ``out``, and return what they found.

    Raises:
        RunExists: a run there is of another configuration.
        SearchError: as ``search`` does.
    """
    results = {}
    for seed in seeds:
        results[seed] = search_or_load(search, replace(config, seed=seed), out / f"seed-{seed}")
    return Repeats(out, config, results)


def search_or_load(search: Search, config: RunConfig, run: Path) -> SearchResult:
    """Return the result of a run: as it is where it is finished, else searched for.

    Raises:
        RunExists: the run there is of another configuration; budgets may differ.
        SearchError: as ``search`` does.
    """
    if not (run / "run.toml").is_file():
        return search(config, run)
    found, _ = RunDirectory(run).config()
    if replace(found, budget=config.budget) != config:
        raise RunExists(
            f"{run} holds a run of another configuration (see its run.toml); choose another"
            " directory"
        )
    result = load(run)
    return result if len(result.trials) >= config.budget else search(config, run)


def load_seeds(out: Path) -> Repeats:
    """Return what the runs below ``out`` have found so far.

    Raises:
        RunError: there is none, or one cannot be read.
    """
    runs = {}
    for entry in out.iterdir() if out.is_dir() else ():
        match = re.fullmatch(r"seed-(\d+)", entry.name)
        if match and (entry / "run.toml").is_file():
            runs[int(match[1])] = load(entry)
    if not runs:
        raise RunError(f"expected runs {out}/seed-0, seed-1, ..., found none")
    first = runs[min(runs)].config
    return Repeats(out, first, {seed: runs[seed] for seed in sorted(runs)})


def format_repeats(repeats: Repeats) -> str:
    """Return it in a few lines of text."""
    n, met = len(repeats.results), len(repeats.best)
    bounds = describe_bounds(repeats.config) or "no bounds"
    lines = [f"{repeats.out}: {n} seeds, {met} of them met {bounds}"]
    latency = f" {latency_unit(repeats.config)}"
    for name, unit, digits in (("quality", "", 4), ("latency_ms", latency, 3), ("reward", "", 4)):
        if found := repeats.spread(name):
            label = name.removesuffix("_ms")
            lines.append(
                f"{label:8} {found.mean:.{digits}f}{unit}, standard deviation"
                f" {found.std:.{digits}f}, from {found.low:.{digits}f} to {found.high:.{digits}f}"
            )
    if repeats.favourite:
        trial, seeds = repeats.favourite
        lines.append(f"{len(seeds)} seeds have the same best network, {trial.hash}")
    elif met > 1:
        lines.append("each seed has another best network")
    return "\n".join(lines)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of a text such as ``0..9`` (both ends are in) or ``1,2,5``.

    Raises:
        RunError: it is not of that form, has a seed twice, or more than `MOST_SEEDS`.
    """
    how = "seeds are written as 0..9 or 1,2,5"
    if not re.fullmatch(r"\d+(\.\.\d+)?(,\d+(\.\.\d+)?)*", text):
        raise RunError(f"{how}, found {text!r}")
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        low, high = int(first), int(last or first)
        if high < low or high - low >= MOST_SEEDS:
            raise RunError(
                f"{how}: a range goes up and has at most {MOST_SEEDS} seeds, found {part!r}"
            )
        seeds += range(low, high + 1)
    if len(seeds) > MOST_SEEDS:
        raise RunError(f"expected at most {MOST_SEEDS} seeds, found {len(seeds)}")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed, count in Counter(seeds).items() if count > 1)
        raise RunError(f"expected each seed once, found {twice} more than once in {text!r}")
    return tuple(seeds)


def _run(seed: int, result: SearchResult) -> dict[str, object]:
    best = result.best
    return {
        "seed": seed,
        "run": str(result.run),
        "trials": len(result.trials),
        "distinct": result.distinct,
        "quality": best and best.quality,
        "latency_ms": best and best.latency_ms,
        "reward": best and best.reward,
        "hash": best and best.hash,
    }
