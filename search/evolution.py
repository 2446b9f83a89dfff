"""Regularized evolution: the youngest members live, the best of a few has the next child.

Real et al. 2019, "Regularized evolution for image classifier architecture search" (AmoebaNet),
algorithm 1: a population of P; a parent is the best of S members drawn at random; its child has
one mutation; with each child that joins, the oldest member dies, however good it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from networks.spaces.space import Genotypes, Space
from search.feasible import FeasibleSpace
from search.searcher import ReplayingSearcher, Rewards, Values

MUTATION_TRIES = 20
"""Draws of a mutation that changes the network, until one that changes the genotype is taken."""


@dataclass(frozen=True, slots=True)
class EvolutionSettings:
    """The numbers of the algorithm.

    Args:
        population: P, the first of which are random.
        sample: S, drawn with replacement for each child.
        identity: probability that a child is its parent again, evaluated anew.
    """

    population: int
    sample: int
    identity: float


PRESETS: Mapping[str, EvolutionSettings] = {
    # Real et al. 2019: P and S of section 3; the identity mutation as accounts of it state.
    "paper": EvolutionSettings(population=100, sample=25, identity=0.05),
    # Ours, for hundreds of evaluations: chosen by `benchmarks.searchers_synthetic`'s measure on
    # synthetic additive objectives of other seeds only, and frozen. A repeat teaches nothing here.
    "small-budget": EvolutionSettings(population=20, sample=10, identity=0.0),
}


class RegularizedEvolution(ReplayingSearcher):
    """Proposes random networks until P are asked for, then children. Failures have none."""

    def __init__(
        self, space: Space, settings: EvolutionSettings, *, seed: int, name: str = "evolution"
    ) -> None:
        super().__init__(space)
        self.name, self.settings = name, settings
        self._rng = np.random.default_rng(seed)
        self._asked = 0
        self._population = deque[tuple[float, Genotypes]](maxlen=settings.population)

    def propose(self, n: int) -> Genotypes:
        """Return random networks at first, then children of the population."""
        rows = []
        for _ in range(n):
            founding = self._asked < self.settings.population or not self._population
            rows.append(self._random() if founding else self._child())
            self._asked += 1
        return np.stack(rows)

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Let each join, and the oldest die."""
        self.hear(genotypes, rewards)

    def hear(self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None) -> None:
        """Let networks that others proposed join."""
        for genotype, reward in zip(genotypes, rewards, strict=True):
            if reward is not None:
                self._population.append((reward, genotype))

    def _random(self) -> Genotypes:
        drawn: Genotypes = self.space.sample(1, self._rng, uniform_over="networks")[0]
        return drawn

    def _child(self) -> Genotypes:
        drawn = self._rng.integers(0, len(self._population), self.settings.sample)
        _, parent = max((self._population[i] for i in drawn), key=lambda member: member[0])
        if self._rng.random() < self.settings.identity:
            return parent
        return mutated(self.space, parent, self._rng)


def mutated(space: Space, genotype: Genotypes, rng: np.random.Generator) -> Genotypes:
    """Return the genotype with one decision changed at random, to another network if it can be.

    Of a `search.feasible.FeasibleSpace`, to one that it holds, if one is found.
    """
    sizes = [len(decision.options) for decision in space.decisions]
    several = [i for i, size in enumerate(sizes) if size > 1]
    own = space.canonical(genotype[None])
    holds = space.holds if isinstance(space, FeasibleSpace) else None
    child: Genotypes = genotype.copy()
    for _ in range(MUTATION_TRIES if several else 0):
        child = genotype.copy()
        decision = int(rng.choice(several))
        child[decision] = (child[decision] + rng.integers(1, sizes[decision])) % sizes[decision]
        is_other = not np.array_equal(space.canonical(child[None]), own)
        if is_other and (holds is None or holds(child[None]).all()):
            break
    return child
