"""FeasibleSpace: a space as if it held only the networks that meet a latency.

Searchers see it in place of the space: random search, restarts, founders of populations and
stand-ins are drawn from it, uniformly, by exact counts; neighbours and mutations outside of it are
left out. Policies write genotypes decision by decision and do not look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Decision, Genotypes, Space
from search.guided import Candidates
from search.latency import LatencyFunction


class FeasibleSpace:
    """The networks of ``space`` whose latency is at most ``target_ms``; implements `Space`.

    Args:
        latency: of any of its genotypes.
        candidates: draws networks that meet the target, uniformly.
    """

    def __init__(
        self, space: Space, latency: LatencyFunction, candidates: Candidates, target_ms: float
    ) -> None:
        self._space, self._latency, self._candidates = space, latency, candidates
        self.target_ms = target_ms

    @property
    def name(self) -> str:
        """The name of the whole space."""
        return self._space.name

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Those of the whole space."""
        return self._space.decisions

    @property
    def n_genotypes(self) -> int:
        """Of the whole space."""
        return self._space.n_genotypes

    @property
    def n_networks(self) -> int:
        """Of the whole space."""
        return self._space.n_networks

    def canonical(self, genotypes: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotype of each row, shape ``(n, n_decisions)``."""
        return self._space.canonical(genotypes)

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        uniform_over: Literal["genotypes", "networks"] = "genotypes",
    ) -> Genotypes:
        """Return ``n`` networks that meet the target, each as likely as any other."""
        return self._candidates(n, rng)

    def neighbours(self, genotype: npt.ArrayLike) -> Genotypes:
        """Return the other networks one decision away that meet the target."""
        return self._within(self._space.neighbours(genotype))

    def enumerate(self) -> Iterator[Genotypes]:
        """Yield the networks that meet the target, each once."""
        for genotype in self._space.enumerate():
            if len(self._within(genotype[None])):
                yield genotype

    def holds(self, genotypes: Genotypes) -> npt.NDArray[np.bool_]:
        """Return which of these meet the target, shape ``(n,)``."""
        if not len(genotypes):
            return np.zeros(0, bool)
        inside: npt.NDArray[np.bool_] = np.asarray(self._latency(genotypes)) <= self.target_ms
        return inside

    def _within(self, genotypes: Genotypes) -> Genotypes:
        found: Genotypes = genotypes[self.holds(genotypes)]
        return found
