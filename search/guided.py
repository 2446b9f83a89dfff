"""Guided search: a model of what was evaluated chooses what to evaluate next.

    evaluated -> Gaussian process of quality -> candidates -> reward at mean + spread -> best few

Candidates are drawn by ``candidates``: with a latency table, uniformly from the networks that meet
the target, by exact sampling; beside them stand the neighbours of the best networks so far. Where
the latency of any network is known beforehand, the model is of quality alone and the reward follows
from both; else it is of the reward. Of a batch, each choice counts as evaluated at its expected
quality before the next is made (Ginsbourger et al. 2010, the kriging believer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from networks.spaces.space import Genotypes, Space
from search.errors import OrderError
from search.gaussian_process import Floats, GaussianProcess, Kernel, OneHot
from search.searcher import ReplayingSearcher, Rewards, Values

Candidates = Callable[[int, np.random.Generator], Genotypes]
"""From how many and a generator to genotypes, shape ``(n, n_decisions)``."""

STARTUP = 10
DRAWN = 1000
PARENTS = 5
CONFIDENCE = 1.0
"""Random proposals at first; candidates drawn a batch; networks whose neighbours are candidates
too; standard deviations that count as reward. Chosen on synthetic additive objectives."""
MOST_KNOWN = 600
"""Evaluations that the model is fitted to: the best half of them, and the latest."""
NEW_KERNEL = 1.2


@dataclass(frozen=True, slots=True)
class Aim:
    """What is known before anything is evaluated.

    candidates  draws networks worth an evaluation; by default any network of the space
    reward      of genotypes, what makes rewards of qualities, shape ``(n,)``, if costs are known
    """

    candidates: Candidates | None = None
    reward: Callable[[Genotypes], Callable[[Floats], Floats]] | None = None


class GuidedSearch(ReplayingSearcher):
    """See the module."""

    name = "guided"

    def __init__(self, space: Space, aim: Aim | None = None, *, seed: int) -> None:
        super().__init__(space)
        self._aim = aim or Aim()
        self._rng = np.random.default_rng(seed)
        self._options = OneHot(tuple(len(decision.options) for decision in space.decisions))
        self._asked: set[bytes] = set()
        self._known: list[Genotypes] = []
        self._rewards: list[float] = []
        self._targets: list[float] = []
        self._kernel: Kernel | None = None
        self._kernel_from = 0

    def propose(self, n: int) -> Genotypes:
        """Return candidates at first, then those of highest promise among many."""
        if len(self._known) < STARTUP:
            return self._remember(self._fresh(self._draw(4 * n)), n)
        pool = self._fresh(np.concatenate([self._draw(DRAWN), self._near()]))
        if len(pool) > n:
            pool = pool[self._choose(pool, n)]
        return self._remember(pool, n)

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Hear rewards, where no qualities are told: they are what is modelled."""
        self.hear(genotypes, rewards)

    def learn_values(self, genotypes: Genotypes, rewards: Rewards, values: Values) -> None:
        """Hear rewards, and qualities: the first of the values."""
        self.hear(genotypes, rewards, values)

    def hear(self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None) -> None:
        """Take in results, whoever proposed the networks.

        Raises:
            OrderError: rewards without qualities, where the model is of qualities.
        """
        if values is None and self._aim.reward is not None:
            raise OrderError("guided search with known costs is told values, quality first")
        networks = self.space.canonical(genotypes)
        for row, reward in enumerate(rewards):
            if reward is None:
                continue
            value = values[row] if values is not None and self._aim.reward is not None else None
            self._known.append(networks[row])
            self._rewards.append(reward)
            self._targets.append(reward if value is None else value[0])

    def _choose(self, pool: Genotypes, n: int) -> list[int]:
        posterior = self._model().posterior(self._options(pool))
        judge = self._aim.reward(pool) if self._aim.reward else np.copy
        chosen: list[int] = []
        for _ in range(n):
            promise = judge(posterior.mean + CONFIDENCE * posterior.std)
            promise[chosen] = -np.inf
            chosen.append(int(promise.argmax()))
            posterior.believe(chosen[-1])
        return chosen

    def _model(self) -> GaussianProcess:
        """Return the model of what is known; its kernel is chosen anew as that grows by a fifth."""
        rows = self._fitted()
        known, targets = np.stack(self._known)[rows], np.array(self._targets)[rows]
        fresh = len(self._known) >= NEW_KERNEL * self._kernel_from
        model = GaussianProcess.fit(
            self._options, known, targets, kernel=None if fresh else self._kernel
        )
        if fresh:
            self._kernel, self._kernel_from = model.kernel, len(self._known)
        return model

    def _fitted(self) -> list[int]:
        """Return which evaluations the model is fitted to."""
        n = len(self._known)
        if n <= MOST_KNOWN:
            return list(range(n))
        half = MOST_KNOWN // 2
        best = np.argsort(self._rewards)[::-1][:half].tolist()
        return sorted({*best, *range(n - half, n)})

    def _draw(self, n: int) -> Genotypes:
        if self._aim.candidates is not None:
            return self._aim.candidates(n, self._rng)
        return self.space.sample(n, self._rng, uniform_over="networks")

    def _near(self) -> Genotypes:
        best = np.argsort(self._rewards)[::-1][:PARENTS]
        return np.concatenate([self.space.neighbours(self._known[int(i)]) for i in best])

    def _fresh(self, genotypes: Genotypes) -> Genotypes:
        """Return different networks that were not proposed yet; proposed ones if there are none."""
        networks = self.space.canonical(genotypes)
        _, first = np.unique(networks, axis=0, return_index=True)
        networks = networks[np.sort(first)]
        new = np.array([row.tobytes() not in self._asked for row in networks])
        fresh: Genotypes = networks[new] if new.any() else networks
        return fresh

    def _remember(self, genotypes: Genotypes, n: int) -> Genotypes:
        """Return the first ``n`` of these, over again where there are fewer."""
        taken: Genotypes = genotypes[np.arange(n) % len(genotypes)]
        self._asked.update(row.tobytes() for row in taken)
        return taken
