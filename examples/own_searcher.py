"""Search with a searcher of your own: simulated annealing, in one small class.

A searcher proposes and learns; that tells come in order, and that a run can be resumed, is seen to
by its base, `ReplayingSearcher`: equal seeds must only give equal proposals. To have it as
``hilnas search --searcher annealing``, let your package register it:

    [project.entry-points."hilnas.searchers"]
    annealing = "own_searcher:make"

    python examples/own_searcher.py [DIRECTORY]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from networks.network import ImageNetwork
from networks.spaces import make_space
from networks.spaces.space import Genotypes, Space
from search.notebook import Run
from search.searcher import ReplayingSearcher


class Annealing(ReplayingSearcher):
    """Moves to a random neighbour; to a worse one the less likely, the later (Kirkpatrick 1983)."""

    name = "annealing"

    def __init__(self, space: Space, *, seed: int) -> None:
        super().__init__(space)
        self._rng = np.random.default_rng(seed)
        self._place = space.sample(1, self._rng)[0]
        self._reward = -np.inf
        self._temperature = 0.05

    def propose(self, n: int) -> Genotypes:
        """Return neighbours of where it stands, shape ``(n, n_decisions)``."""
        near = np.concatenate([self._place[None], self.space.neighbours(self._place)])
        return near[self._rng.integers(len(near), size=n)]

    def learn(self, genotypes: Genotypes, rewards: Sequence[float | None]) -> None:
        """Move, or stay; what failed is no place to go."""
        for genotype, reward in zip(genotypes, rewards, strict=True):
            self._temperature *= 0.98
            if reward is None:
                continue
            worse = min(0.0, reward - self._reward)
            if self._rng.random() < np.exp(worse / self._temperature):
                self._place, self._reward = genotype, reward


def make(space: Space, *, preset: str | None, seed: int) -> Annealing:
    """Return the searcher: what the entry point names."""
    return Annealing(space, seed=seed)


def quality(network: ImageNetwork) -> float:
    """Return more for more parameters, and less and less more: put your own estimate here."""
    return float(1 - np.exp(-network.params / 1e6))


def millions(network: ImageNetwork) -> float:
    """Return millions of multiply-adds, where no latency is at hand."""
    return network.madds / 1e6


def main(directory: Path) -> None:
    """Search with it and at random, and print the best of each."""
    space = make_space("mobile-cnn", resolution=32)
    for name, searcher in (("annealing", Annealing), ("random", "random")):
        run = Run.search(
            space, millions, quality,
            target_ms=4.0, searcher=searcher, budget=200, out=directory / name,
        )  # fmt: skip
        print(f"{name}: {run}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-searcher"))
