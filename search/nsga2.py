"""NSGA-II: a population that spreads over the front of quality against cost.

Deb et al. 2002; ranks and crowding are pymoo's. Proposals need not wait for a
generation: children come from the population as it is, and survivors are chosen whenever as many
as the population holds have been told since the last time.

Objectives are what a run tells as values, quality and costs, with the violation of limits as a
constraint. Told only rewards, it maximizes those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from networks.spaces.space import Genotypes, Space
from search.evolution import mutated
from search.searcher import ReplayingSearcher, Rewards, Values


@dataclass(frozen=True, slots=True)
class NSGA2Settings:
    """The numbers of the algorithm.

    Args:
        population: members that survive a generation.
        crossover: probability that a child mixes two parents, decision by decision; else it is
            the first of them.
        mutation: probability that a child is mutated in one decision, always if not mixed.
    """

    population: int
    crossover: float
    mutation: float


PRESETS: Mapping[str, NSGA2Settings] = {
    # Deb et al. 2002, section V: a population of 100, crossover 0.9, one mutation in expectation.
    "paper": NSGA2Settings(population=100, crossover=0.9, mutation=1.0),
    # Ours, for hundreds of evaluations: five generations of 100 would be all there is.
    "small-budget": NSGA2Settings(population=20, crossover=0.9, mutation=1.0),
}


class NSGA2Search(ReplayingSearcher):
    """Proposes random networks until there is a population, then children of it."""

    def __init__(
        self, space: Space, settings: NSGA2Settings, *, seed: int, name: str = "nsga2"
    ) -> None:
        super().__init__(space)
        self.name, self.settings = name, settings
        self._rng = np.random.default_rng(seed)
        self._asked = 0
        self._survival = RankAndCrowding()
        self._parents: Any = Population.empty()
        self._told: list[tuple[Genotypes, tuple[float, ...]]] = []

    def propose(self, n: int) -> Genotypes:
        """Return random networks at first, then children."""
        left = max(0, self.settings.population - self._asked)
        founders = min(n, left) if len(self._parents) else n
        self._asked += n
        rows = list(self.space.sample(founders, self._rng, uniform_over="networks"))
        return np.stack([*rows, *(self._child() for _ in range(n - founders))])

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Maximize the rewards, where there are no values."""
        values = [None if reward is None else (reward, 0.0) for reward in rewards]
        self.learn_values(genotypes, rewards, values)

    def learn_values(self, genotypes: Genotypes, rewards: Rewards, values: Values) -> None:
        """Keep what was told, and choose survivors once there are enough of them."""
        self.hear(genotypes, rewards, values)

    def hear(self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None) -> None:
        """Take in networks, whoever proposed them."""
        if values is None:
            values = [None if reward is None else (reward, 0.0) for reward in rewards]
        size = self.settings.population
        for genotype, value in zip(genotypes, values, strict=True):
            if value is not None:
                self._told.append((genotype, value))
            if len(self._told) == size:
                merged = Population.merge(self._parents, _population(self._told))
                self._parents = self._survive(merged, size)
                self._told = []

    def _survive(self, population: Any, size: int) -> Any:
        costs = population.get("F")
        problem = Problem(n_var=1, n_obj=costs.shape[1], n_ieq_constr=1)
        return self._survival.do(problem, population, n_survive=size, random_state=self._rng)

    def _child(self) -> Genotypes:
        mother, father = self._winner(), self._winner()
        child: Genotypes = mother.copy()
        mixed = self._rng.random() < self.settings.crossover
        if mixed:
            theirs = self._rng.random(len(child)) < 0.5
            child[theirs] = father[theirs]
        if not mixed or self._rng.random() < self.settings.mutation:
            child = mutated(self.space, child, self._rng)
        return child

    def _winner(self) -> Genotypes:
        """Return the better of two: by violation of limits, rank, then crowding."""
        drawn = [self._parents[int(i)] for i in self._rng.integers(0, len(self._parents), 2)]
        genotype: Genotypes = min(drawn, key=_standing).X
        return genotype


def _standing(member: Any) -> tuple[float, int, float]:
    """Return violation, rank and minus crowding: less is better."""
    violation = float(member.CV[0])
    if violation > 0:
        return violation, 0, 0.0
    return 0.0, int(member.get("rank")), -float(member.get("crowding"))


def _population(told: Sequence[tuple[Genotypes, tuple[float, ...]]]) -> Any:
    """Return pymoo's form: costs to be minimized, and limits that are met at 0 or less."""
    values: npt.NDArray[np.float64] = np.array([value for _, value in told])
    made = Population.new("X", np.array([genotype for genotype, _ in told]))
    made.set("F", -values[:, :-1])
    made.set("G", values[:, -1:])
    made.set("H", np.zeros((len(values), 0)))
    return made
