"""Wrappers: searchers around a searcher, for what is not a strategy of its own.

Unrepeated     a network is proposed once; the searcher inside is told again what it gave
WarmStarted    given networks come first, such as published ones or the best of another run
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from networks.spaces.space import Genotypes, Space
from search.searcher import ReplayingSearcher, Rewards, Searcher, Values

TRIES = 20
"""Asks of the searcher inside, each for what is missing, until repeats are accepted."""


class Unrepeated(ReplayingSearcher):
    """Passes on proposals of new networks; repeats are answered from memory, in their turn.

    A searcher that only repeats (the space is small, or it has converged) is let through after
    `TRIES` attempts.
    """

    def __init__(self, space: Space, inner: Searcher) -> None:
        super().__init__(space)
        self.name = f"{inner.name}+no-repeats"
        self._inner = inner
        self._seen: set[bytes] = set()
        self._results: dict[bytes, tuple[float | None, tuple[float, ...] | None]] = {}
        self._untold = deque[tuple[Genotypes, bytes, bool]]()
        self._has_values = False

    @property
    def figures(self) -> Mapping[str, float]:
        """Those of the searcher inside."""
        return self._inner.figures

    def propose(self, n: int) -> Genotypes:
        """Return new networks as long as there are some."""
        passed: list[Genotypes] = []
        for attempt in range(TRIES + 1):
            proposals = self._inner.ask(n - len(passed))
            for genotype, network in zip(proposals, self.space.canonical(proposals), strict=True):
                key = network.tobytes()
                is_new = key not in self._seen or attempt == TRIES
                self._seen.add(key)
                self._untold.append((genotype, key, is_new))
                if is_new:
                    passed.append(genotype)
            self._tell_repeats()
            if len(passed) == n:
                break
        return np.stack(passed)

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Keep results, and tell them inside together with repeats of them."""
        self._learn(rewards, [None] * len(rewards))

    def learn_values(self, genotypes: Genotypes, rewards: Rewards, values: Values) -> None:
        """See `learn`."""
        self._has_values = True
        self._learn(rewards, values)

    def _learn(self, rewards: Rewards, values: Values) -> None:
        for result in zip(rewards, values, strict=True):
            self._tell_repeats()
            genotype, key, _ = self._untold.popleft()
            self._results[key] = result
            self._tell(genotype, *result)
        self._tell_repeats()

    def _tell_repeats(self) -> None:
        """Tell what comes before the next result that is still awaited."""
        while self._untold and not self._untold[0][2] and self._untold[0][1] in self._results:
            genotype, key, _ = self._untold.popleft()
            self._tell(genotype, *self._results[key])

    def _tell(
        self, genotype: Genotypes, reward: float | None, value: tuple[float, ...] | None
    ) -> None:
        self._inner.tell(genotype[None], [reward], [value] if self._has_values else None)


class WarmStarted(ReplayingSearcher):
    """Proposes given networks first, then what the searcher inside does.

    What they gave, the searcher inside hears as another's proposals, if it can use such:
    evolution, NSGA-II, TPE and guided search do; policy gradients, random and local search do not.

    Args:
        first: proposed in this order, shape ``(n, n_decisions)``.
    """

    def __init__(self, space: Space, inner: Searcher, first: Genotypes) -> None:
        super().__init__(space)
        self.name = f"{inner.name}+warm-start"
        self._inner = inner
        self._waiting = deque[Genotypes](first)
        self._first = 0

    @property
    def figures(self) -> Mapping[str, float]:
        """Those of the searcher inside."""
        return self._inner.figures

    def propose(self, n: int) -> Genotypes:
        """Return those of the given networks that are left, then the searcher's."""
        given = [self._waiting.popleft() for _ in range(min(n, len(self._waiting)))]
        self._first += len(given)
        rest = n - len(given)
        return np.stack([*given, *(self._inner.ask(rest) if rest else ())])

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:
        """Tell the searcher inside what it asked, and let it hear the rest."""
        self._learn(genotypes, rewards, None)

    def learn_values(self, genotypes: Genotypes, rewards: Rewards, values: Values) -> None:
        """See `learn`."""
        self._learn(genotypes, rewards, values)

    def _learn(self, genotypes: Genotypes, rewards: Rewards, values: Values | None) -> None:
        given = min(self._first, len(rewards))
        self._first -= given
        if given and isinstance(self._inner, ReplayingSearcher):
            self._inner.hear(
                genotypes[:given], rewards[:given], None if values is None else values[:given]
            )
        if given < len(rewards):
            self._inner.tell(
                genotypes[given:], rewards[given:], None if values is None else values[given:]
            )
