"""Sample efficiency: what each searcher has found after 50 to 500 networks of accel-nasbench.

Searchers see surrogate A of ImageNet accuracy plus normal noise of 0.145 points, one draw a
network and seed, and the latency of the ZCU102 board; rewards are absolute and hard, with the
space's 20, 50 and 80 % quantiles of latency as targets. What they have found, the network of
highest reward so far, is scored by surrogate B, of another half of the data and another family. A
figure is its regret: how far B's reward lies below the best of a search of a million evaluations
of B, in points (reward x 100), the mean over seeds and its standard error. Networks seen before
cost nothing.

    python -m benchmarks.sample_efficiency [--seeds 30] [--plot FILE]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from benchmarks.accel_surrogates import NOISE_POINTS, Surrogates, fit_surrogates
from benchmarks.claim import print_claim
from networks.spaces import make_space
from networks.spaces.space import Genotypes
from search.guided import Aim
from search.rewards import Reward, make_reward
from search.searchers import make_searcher

Floats = npt.NDArray[np.float64]
MOMENTS = (50, 100, 200, 500)
QUANTILES = (0.2, 0.5, 0.8)
REWARDS = ("absolute", "hard")
SEARCHERS = (
    ("random", None), ("local", None), ("evolution", "small-budget"), ("evolution", "paper"),
    ("ppo", "small-budget"), ("ppo", "paper"), ("reinforce", "small-budget"),
    ("reinforce", "paper"), ("nsga2", "small-budget"), ("tpe", None), ("guided", None),
)  # fmt: skip
BATCH = 10
REGRETS = (0.3, 0.5, 1, 2, 4)
MOST_PROPOSALS = 1500
"""A searcher that only repeats has what it has found then."""
CLAIM = (
    "small-budget PPO and REINFORCE beat random by two standard errors at 200 networks, and guided"
    " search is the best of all at 100"
)


@dataclass(frozen=True, slots=True)
class Task:
    """One reward at one target."""

    reward: Reward
    quantile: float

    @property
    def label(self) -> str:
        """Such as ``hard@20%``."""
        return f"{self.reward.kind}@{100 * self.quantile:g}%"


@dataclass(frozen=True, slots=True)
class Climb:
    """One search: regret in points, and latency / target - 1, after each of ``MOMENTS``."""

    searcher: str
    task: str
    seed: int
    regret: tuple[float, ...]
    off_target: tuple[float, ...]


@cache
def surrogates() -> Surrogates:
    """Return them, fitted once a process."""
    return fit_surrogates(make_space("accel-nasbench"))


def tasks() -> list[Task]:
    """Return the rewards and targets."""
    found = surrogates()
    drawn = found.space.sample(20_000, np.random.default_rng(0), uniform_over="networks")
    latencies_ms = found.latency_ms(drawn)
    return [
        Task(make_reward(kind, target_ms=float(np.quantile(latencies_ms, quantile))), quantile)
        for kind, quantile in product(REWARDS, QUANTILES)
    ]


def best_reward(task: Task, *, evaluations: int = 1_000_000, seed: int = 0) -> float:
    """Return the best of B: half of the evaluations at random, half mutations of the best 500."""
    found, rng = surrogates(), np.random.default_rng(seed)
    sizes = np.array([len(decision.options) for decision in found.space.decisions])

    def rewards(genotypes: Genotypes) -> Floats:
        rewards = task.reward(found.scored(genotypes), found.latency_ms(genotypes))
        return np.asarray(rewards, np.float64)

    chunk = 20_000
    rounds = evaluations // chunk
    elite, values = np.empty((0, len(sizes)), np.int8), np.empty(0)
    for number in range(rounds):
        if number < rounds // 2:
            drawn = found.space.sample(chunk, rng, uniform_over="networks")
        else:
            drawn = elite[rng.integers(0, len(elite), chunk)].copy()
            column = rng.integers(0, len(sizes), chunk)
            step = rng.integers(1, sizes[column])
            rows = np.arange(chunk)
            drawn[rows, column] = (drawn[rows, column] + step) % sizes[column]
        both = np.concatenate([elite, drawn])
        scores = np.concatenate([values, rewards(drawn)])
        _, first = np.unique(both, axis=0, return_index=True)
        kept = first[np.argsort(-scores[first])[:500]]
        elite, values = both[kept], scores[kept]
    return float(values.max())


def climb(name: str, preset: str | None, task: Task, seed: int, best: float) -> Climb:
    """Search once."""
    found = surrogates()
    rng = np.random.default_rng([seed, 1])

    def known_costs(genotypes: Genotypes) -> Callable[[Floats], Floats]:
        latency_ms = found.latency_ms(genotypes)
        return lambda quality: np.asarray(task.reward(quality, latency_ms), np.float64)

    aim = Aim(_within(task.reward.target_ms), known_costs)
    searcher = make_searcher(name, found.space, preset=preset, seed=seed, aim=aim)
    known: dict[bytes, tuple[float, float, float]] = {}
    incumbents: list[tuple[float, Genotypes, float]] = []
    for _ in range(MOST_PROPOSALS // BATCH):
        genotypes = searcher.ask(BATCH)
        networks = found.space.canonical(genotypes)
        noise = rng.normal(0, NOISE_POINTS / 100, len(networks))
        qualities, latencies_ms = found.seen(networks) + noise, found.latency_ms(networks)
        rewards = task.reward(qualities, latencies_ms)
        told = []
        for row, network in enumerate(networks):
            key = network.tobytes()
            if key not in known:
                known[key] = float(rewards[row]), float(qualities[row]), float(latencies_ms[row])
                if not incumbents or rewards[row] > incumbents[-1][0]:
                    incumbents.append((float(rewards[row]), network, float(latencies_ms[row])))
                else:
                    incumbents.append(incumbents[-1])
            told.append(known[key])
        values = [(quality, -latency_ms, 0.0) for _, quality, latency_ms in told]
        searcher.tell(genotypes, [reward for reward, _, _ in told], values)
        if len(incumbents) >= MOMENTS[-1]:
            break
    at = [incumbents[min(moment, len(incumbents)) - 1] for moment in MOMENTS]
    chosen = np.stack([genotype for _, genotype, _ in at])
    latencies_ms = np.array([latency_ms for _, _, latency_ms in at])
    scored = task.reward(found.scored(chosen), latencies_ms)
    label = f"{name}:{preset}" if preset else name
    return Climb(
        label, task.label, seed,
        tuple((100 * (best - scored)).tolist()),
        tuple((latencies_ms / task.reward.target_ms - 1).tolist()),
    )  # fmt: skip


def _within(target_ms: float) -> Callable[[int, np.random.Generator], Genotypes]:
    """Return what draws networks that meet the target, uniformly, by rejection."""
    found = surrogates()

    def draw(n: int, rng: np.random.Generator) -> Genotypes:
        drawn = found.space.sample(8 * n, rng, uniform_over="networks")
        return drawn[found.latency_ms(drawn) <= target_ms][:n]

    return draw


def run_all(seeds: int, searchers: Sequence[tuple[str, str | None]], workers: int) -> list[Climb]:
    """Return every search, spread over worker processes."""
    wanted = tasks()
    bests = [best_reward(task) for task in wanted]
    jobs = [
        (name, preset, task, seed, best)
        for seed in range(seeds)
        for task, best in zip(wanted, bests, strict=True)
        for name, preset in searchers
    ]
    climbs = []
    with ProcessPoolExecutor(workers) as pool:
        for number, made in enumerate(pool.map(_climb, jobs, chunksize=4)):
            climbs.append(made)
            if number % 100 == 99:
                print(f"{number + 1} of {len(jobs)} searches", file=sys.stderr)
    return climbs


def _climb(job: tuple[str, str | None, Task, int, float]) -> Climb:
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return climb(*job)


def summarize(climbs: Sequence[Climb]) -> dict[str, float]:
    """Return regrets by searcher over all tasks and by task, with standard errors.

    Over all tasks, the error is of seeds' means: tasks of one seed share their noise.
    """
    figures: dict[str, float] = {}
    for searcher in dict.fromkeys(c.searcher for c in climbs):
        own = [c for c in climbs if c.searcher == searcher]
        by_seed = [
            np.mean([c.regret for c in own if c.seed == seed], axis=0)
            for seed in sorted({c.seed for c in own})
        ]
        figures |= _means(searcher, np.array(by_seed))
        for task in dict.fromkeys(c.task for c in own):
            rows = [c for c in own if c.task == task]
            figures |= _means(f"{searcher}/{task}", np.array([c.regret for c in rows]))
            off = float(np.mean([c.off_target[-1] for c in rows]))
            figures[f"{searcher}/{task}/off_target_pct"] = 100 * off
    return figures


def _means(label: str, regrets: Floats) -> dict[str, float]:
    error = regrets.std(axis=0, ddof=1) / math.sqrt(len(regrets)) if len(regrets) > 1 else None
    figures = {}
    for column, moment in enumerate(MOMENTS):
        figures[f"{label}@{moment}"] = float(regrets[:, column].mean())
        if error is not None:
            figures[f"{label}@{moment}_se"] = float(error[column])
    return figures


def holds(figures: dict[str, float]) -> bool:
    """Return whether the claim does."""

    def leads(name: str, other: str, moment: int) -> bool:
        error = math.hypot(figures[f"{name}@{moment}_se"], figures[f"{other}@{moment}_se"])
        return figures[f"{other}@{moment}"] - figures[f"{name}@{moment}"] > 2 * error

    others = [f"{n}:{p}" if p else n for n, p in SEARCHERS if n != "guided"]
    return all(leads(f"{n}:small-budget", "random", 200) for n in ("ppo", "reinforce")) and all(
        figures["guided@100"] < figures[f"{other}@100"] for other in others
    )


def table(figures: dict[str, float]) -> Iterator[str]:
    """Yield the table's lines: mean regret over the tasks, and how far winners are off target."""
    yield "mean regret in points (standard error) over all rewards and targets, after networks:"
    yield f"{'':24}" + "".join(f"{moment:>16}" for moment in MOMENTS)
    names = [f"{name}:{preset}" if preset else name for name, preset in SEARCHERS]
    for name in sorted(names, key=lambda name: figures[f"{name}@200"]):
        cells = [
            f"{figures[f'{name}@{moment}']:.2f} ({figures[f'{name}@{moment}_se']:.2f})"
            for moment in MOMENTS
        ]
        yield f"{name:24}" + "".join(f"{cell:>16}" for cell in cells)
    labels = [f"{kind}@{100 * quantile:g}%" for kind, quantile in product(REWARDS, QUANTILES)]
    yield "the winner's latency against the target after 500 networks, in percent:"
    yield f"{'':24}" + "".join(f"{label:>16}" for label in labels)
    for name in names:
        cells = [f"{figures[f'{name}/{label}/off_target_pct']:+.1f}" for label in labels]
        yield f"{name:24}" + "".join(f"{cell:>16}" for cell in cells)


def plot(figures: dict[str, float], path: Path) -> None:
    """Draw the regret of each searcher against networks, a panel a task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.5), layout="constrained")
    axes = figure.subplots(len(REWARDS), len(QUANTILES), sharex=True, sharey="row")
    names = [f"{name}:{preset}" if preset else name for name, preset in SEARCHERS]
    styles = ["-", "--", "-.", ":"]
    for row, kind in enumerate(REWARDS):
        for column, quantile in enumerate(QUANTILES):
            axis, label = axes[row, column], f"{kind}@{100 * quantile:g}%"
            for number, name in enumerate(names):
                means = [figures[f"{name}/{label}@{moment}"] for moment in MOMENTS]
                errors = [figures[f"{name}/{label}@{moment}_se"] for moment in MOMENTS]
                axis.errorbar(
                    MOMENTS, means, errors, label=name, marker="o", markersize=3, capsize=2,
                    color=f"C{number % 10}", linestyle=styles[number // 10 + 2 * ("paper" in name)],
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xticks(MOMENTS, [str(moment) for moment in MOMENTS], minor=False)
            axis.minorticks_off()
            axis.set_yticks(REGRETS, [f"{regret:g}" for regret in REGRETS], minor=False)
            axis.set_title(f"{kind} reward, target at {100 * quantile:g} %", fontsize=10)
            axis.grid(alpha=0.3)
        axes[row, 0].set_ylabel("regret by surrogate B, points")
    for axis in axes[-1]:
        axis.set_xlabel("networks evaluated")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    figures = summarize(run_all(options.seeds, SEARCHERS, options.workers))
    found = surrogates()
    figures |= {
        "kendall_b": found.kendall, "kendall_b_top_tenth": found.kendall_top,
        "kendall_a": found.kendall_a,
    }  # fmt: skip
    if options.plot:
        plot(figures, options.plot)
    print_claim(
        CLAIM, figures, holds=holds(figures), as_json=options.json, lines=list(table(figures))
    )


if __name__ == "__main__":
    main()
