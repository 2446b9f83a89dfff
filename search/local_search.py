"""Local search: climb from the best network seen to a better neighbour, restart at the top.

White et al. 2021, "Local search is state of the art for neural architecture search", in the
variant that moves as soon as a neighbour is better.
"""

from __future__ import annotations

import math

import numpy as np

from networks.spaces.space import Genotypes, Space
from search.searcher import ReplayingSearcher, Rewards

RESTART_TRIES = 20
"""Draws for a start not proposed before, until a repeat is accepted (small spaces run out)."""


class LocalSearch(ReplayingSearcher):
    """Proposes the untried neighbours of the incumbent in random order.

    The incumbent is the best network told since the last restart. A climb ends when all of its
    neighbours have been tried without success; the next one starts at random. While there is
    nothing to climb from, as at the start, proposals are random networks, uniformly.
    """

    name = "local"

    def __init__(self, space: Space, *, seed: int) -> None:
        super().__init__(space)
        self._rng = np.random.default_rng(seed)
        self._tried: set[bytes] = set()
        self._incumbent_reward = -math.inf
        self._untried: list[Genotypes] = []

    def propose(self, n: int) -> Genotypes:
        """Return untried neighbours of the incumbent, then random networks."""
        return np.stack([self._next() for _ in range(n)])

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Move to the best network told, if it is better; restart if the climb is over."""
        told = [(reward, -row) for row, reward in enumerate(rewards) if reward is not None]
        if told and max(told)[0] > self._incumbent_reward:
            self._incumbent_reward, row = max(told)
            self._untried = [
                neighbour
                for neighbour in self._rng.permutation(self.space.neighbours(genotypes[-row]))
                if neighbour.tobytes() not in self._tried
            ]
        if not self._untried and not self.n_pending:
            self._incumbent_reward = -math.inf

    def _next(self) -> Genotypes:
        if self._untried:
            return self._try(self._untried.pop())
        for _ in range(RESTART_TRIES):
            drawn = self.space.sample(1, self._rng, uniform_over="networks")
            start = self.space.canonical(drawn)[0]
            if start.tobytes() not in self._tried:
                break
        return self._try(start)

    def _try(self, genotype: Genotypes) -> Genotypes:
        self._tried.add(genotype.tobytes())
        return genotype
