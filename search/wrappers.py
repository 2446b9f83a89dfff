"""Wrappers: searchers around a searcher, for what is not a strategy of its own.

Unrepeated     a network is proposed once; the searcher inside is told again what it gave
WarmStarted    given networks come first, such as published ones or the best of another run
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from networks.spaces.space import Genotypes, Space
from search.searcher import ReplayingSearcher, Rewards, Searcher, Values

_Result = tuple[float | None, tuple[float, ...] | None]

TRIES = 20
"""Asks of the searcher inside, each for what is missing, until random networks stand in; draws of a
random network that is new, until repeats are accepted: the space may be exhausted."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    genotype: Genotypes
    network: bytes
    is_repeat: bool = False
    is_ours: bool = False


class Unrepeated(ReplayingSearcher):
    """Passes on proposals of new networks; repeats are answered from memory, in their turn.

    Where the searcher inside only repeats, as a policy does that has converged, random networks
    stand in, which it hears as another's proposals.
    """

    def __init__(self, space: Space, inner: Searcher, *, seed: int) -> None:
        super().__init__(space)
        self.name = f"{inner.name}+no-repeats"
        self._inner, self._rng = inner, np.random.default_rng(seed)
        self._seen: set[bytes] = set()
        self._results: dict[bytes, _Result] = {}
        self._untold = deque[_Asked]()
        self._has_values = False

    @property
    def figures(self) -> Mapping[str, float]:
        """Those of the searcher inside."""
        return self._inner.figures

    def propose(self, n: int) -> Genotypes:
        """Return new networks as long as there are some."""
        passed: list[Genotypes] = []
        for _ in range(TRIES):
            proposals = self._inner.ask(n - len(passed))
            for genotype, network in zip(proposals, self.space.canonical(proposals), strict=True):
                key = network.tobytes()
                is_repeat = key in self._seen
                self._seen.add(key)
                self._untold.append(_Asked(genotype, key, is_repeat=is_repeat))
                if not is_repeat:
                    passed.append(genotype)
            self._tell_repeats()
            if len(passed) == n:
                return np.stack(passed)
        return np.stack([*passed, *(self._stand_in() for _ in range(n - len(passed)))])

    def _stand_in(self) -> Genotypes:
        for _ in range(TRIES):
            drawn = self.space.sample(1, self._rng, uniform_over="networks")
            network: Genotypes = self.space.canonical(drawn)[0]
            if network.tobytes() not in self._seen:
                break
        self._seen.add(network.tobytes())
        self._untold.append(_Asked(network, network.tobytes(), is_ours=True))
        return network

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
            asked = self._untold.popleft()
            self._results[asked.network] = result
            self._tell(asked, result)
        self._tell_repeats()

    def _tell_repeats(self) -> None:
        """Tell what comes before the next result that is still awaited."""
        while self._untold and self._untold[0].is_repeat:
            result = self._results.get(self._untold[0].network)
            if result is None:
                break
            self._tell(self._untold.popleft(), result)

    def _tell(self, asked: _Asked, result: _Result) -> None:
        reward, value = result
        told = asked.genotype[None], [reward], [value] if self._has_values else None
        if not asked.is_ours:
            self._inner.tell(*told)
        elif isinstance(self._inner, ReplayingSearcher):
            self._inner.hear(*told)


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
