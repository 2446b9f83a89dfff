"""Random search: every network equally likely, whatever came before."""

from __future__ import annotations

import numpy as np

from networks.spaces.space import Genotypes, Space
from search.searcher import ReplayingSearcher


class RandomSearch(ReplayingSearcher):
    """Draws networks uniformly, with replacement."""

    name = "random"

    def __init__(self, space: Space, *, seed: int) -> None:
        super().__init__(space)
        self._rng = np.random.default_rng(seed)

    def propose(self, n: int) -> Genotypes:
        """Return ``n`` networks."""
        return self.space.sample(n, self._rng, uniform_over="networks")
