"""Searchers on synthetic additive objectives: what is found after 100, 200 and 500 proposals.

Quality is a sum over options and latency one over layers, see `benchmarks.additive`; the reward
is absolute, with the space's median latency as the target. A figure is the best reward so far, in
standard deviations of the reward over the space above its mean: the mean over both spaces and all
seeds, and its standard error. The small-budget preset of PPO was tuned on other seeds of these
objectives.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.additive import Floats, layer_latency, option_quality
from benchmarks.claim import print_claim
from networks.spaces import SPACES, make_space
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes
from search.rewards import make_reward
from search.searchers import make_searcher

MOMENTS = (100, 200, 500)
SEARCHERS = (("random", None), ("local", None), ("ppo", "paper"), ("ppo", "small-budget"))
CLAIM = "small-budget PPO beats random by two standard errors after 200 and after 500 proposals"


def measure(*, seeds: int = 10, batch: int = 10) -> dict[str, float]:
    """Return means and standard errors by searcher and moment."""
    torch.set_num_threads(1)
    spaces = [make_space(name) for name in SPACES]
    figures = {}
    for name, preset in SEARCHERS:
        found = np.array(
            [
                _climb(space, name, preset, seed=seed, batch=batch)
                for space in spaces
                for seed in range(seeds)
            ]
        )
        label = f"{name}:{preset}" if preset else name
        for column, moment in enumerate(MOMENTS):
            figures[f"{label}@{moment}"] = float(found[:, column].mean())
            error = found[:, column].std(ddof=1) / math.sqrt(len(found))
            figures[f"{label}@{moment}_se"] = float(error)
        figures[f"{label}_distinct"] = float(found[:, -1].mean())
    return figures


def holds(figures: dict[str, float]) -> bool:
    """Return whether small-budget PPO leads random by two standard errors of the difference."""
    return all(
        figures[f"ppo:small-budget@{moment}"] - figures[f"random@{moment}"]
        > 2 * math.hypot(figures[f"ppo:small-budget@{moment}_se"], figures[f"random@{moment}_se"])
        for moment in (200, 500)
    )


def _climb(
    space: ChainSpace, name: str, preset: str | None, *, seed: int, batch: int
) -> list[float]:
    reward = _objective(space, seed)
    reference = reward(space.sample(4000, np.random.default_rng(seed), uniform_over="networks"))
    searcher = make_searcher(name, space, preset=preset, seed=seed)
    rewards: list[float] = []
    networks: set[bytes] = set()
    while len(rewards) < MOMENTS[-1]:
        genotypes = searcher.ask(batch)
        told = reward(genotypes).tolist()
        searcher.tell(genotypes, told)
        rewards += told
        networks.update(row.tobytes() for row in space.canonical(genotypes))
    best = (np.maximum.accumulate(rewards) - reference.mean()) / reference.std()
    return [*(float(best[moment - 1]) for moment in MOMENTS), float(len(networks))]


def _objective(space: ChainSpace, seed: int) -> Callable[[Genotypes], Floats]:
    quality, latency = option_quality(space, seed), layer_latency(space, seed)
    drawn = space.sample(2000, np.random.default_rng(seed), uniform_over="networks")
    reward = make_reward("absolute", target_ms=float(np.median(latency.predict(drawn))))

    def value(genotypes: Genotypes) -> Floats:
        return np.asarray(reward(quality(genotypes), latency.predict(genotypes)), float)

    return value


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=10)
    options = parser.parse_args()
    figures = measure(seeds=options.seeds, batch=options.batch)
    print_claim(CLAIM, figures, holds=holds(figures), as_json=options.json)


if __name__ == "__main__":
    main()
