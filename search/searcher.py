"""Searcher: who proposes what to try next, and hears how good it was.

    ask(n)  ->  genotypes  --(evaluated elsewhere)-->  tell(genotypes, rewards, values)

Asks may run ahead of tells, but results are told in the order in which they were asked, and an
evaluation that failed is told as ``None``. Most searchers hear rewards alone; those that search for
a whole front hear ``values``, one number an objective. A searcher is deterministic: its space, its
seed and the order of asks and tells decide every proposal. So resume is replay: `recover` asks and
tells again what a run recorded, and the searcher stands where it stood.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes, Space
from search.errors import OrderError, ReplayError

Rewards = Sequence[float | None]
"""One reward a genotype, higher is better; ``None`` where the evaluation failed."""


Values = Sequence[tuple[float, ...] | None]
"""One tuple a genotype, every objective higher is better; ``None`` where the evaluation failed.

The last number is the violation of limits: 0 where all are met, else how far they are missed.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A recorded ask: the genotypes it returned."""

    genotypes: Genotypes


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A recorded tell."""

    genotypes: Genotypes
    rewards: Rewards
    values: Values | None = None


class Searcher(Protocol):
    """What a run needs of a search strategy."""

    @property
    def name(self) -> str:
        """The name with its preset, such as ``ppo:small-budget``."""
        ...

    def ask(self, n: int) -> Genotypes:
        """Return the next ``n`` proposals, shape ``(n, n_decisions)``; repeats are allowed."""
        ...

    def tell(self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None) -> None:
        """Hear the rewards of the oldest proposals that were not yet told.

        Raises:
            OrderError: other genotypes than those, or not one finite reward (or None) each.
        """
        ...

    def recover(self, history: Iterable[Asked | Told]) -> None:
        """Bring a new searcher to where a recorded one stood.

        Raises:
            ReplayError: it does not ask what was recorded (space, seed, settings or version
                differ).
        """
        ...

    @property
    def figures(self) -> Mapping[str, float]:
        """What the last tells did, by name, for monitoring; empty if there is nothing to say."""
        ...


class ReplayingSearcher(ABC):
    """Base of searchers that only `propose` and `learn`: keeps the order and replays."""

    name: str

    def __init__(self, space: Space) -> None:
        self.space = space
        self._pending: deque[npt.NDArray[np.int8]] = deque()

    @abstractmethod
    def propose(self, n: int) -> Genotypes:
        """Return ``n`` proposals, shape ``(n, n_decisions)``."""

    def learn(self, genotypes: Genotypes, rewards: Rewards) -> None:  # noqa: B027
        """Hear the rewards of earlier proposals, in their order. Nothing to do by default."""

    def learn_values(self, genotypes: Genotypes, rewards: Rewards, values: Values) -> None:
        """Hear rewards and values; by default the values are not used."""
        self.learn(genotypes, rewards)

    def hear(  # noqa: B027
        self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None
    ) -> None:
        """Learn from networks that it did not propose. Nothing to do by default."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What the last tells did, by name."""
        return {}

    @property
    def n_pending(self) -> int:
        """Number of proposals not yet told."""
        return len(self._pending)

    def ask(self, n: int) -> Genotypes:
        """Return the next ``n`` proposals, shape ``(n, n_decisions)``."""
        if n < 1:
            raise OrderError(f"ask for at least 1 proposal, found {n}")
        genotypes = self.propose(n)
        self._pending.extend(genotypes.copy())
        return genotypes

    def tell(self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None) -> None:
        """Hear the rewards, and values, of the oldest proposals that were not yet told."""
        genotypes = np.asarray(genotypes, np.int8)
        expected = (len(rewards), len(self.space.decisions))
        if genotypes.shape != expected:
            raise OrderError(f"genotypes of shape {expected} expected, found {genotypes.shape}")
        if len(genotypes) > self.n_pending:
            raise OrderError(f"{len(genotypes)} told, but {self.n_pending} asked and not yet told")
        for row, (told, asked) in enumerate(zip(genotypes, self._pending, strict=False)):
            if not np.array_equal(told, asked):
                raise OrderError(
                    f"told out of order: row {row} is {told.tolist()}, asked was {asked.tolist()}"
                )
        for reward in rewards:
            if reward is not None and not np.isfinite(reward):
                raise OrderError(f"a reward is finite, or None for a failure, found {reward}")
        if values is not None:
            _check_values(values, rewards)
        for _ in rewards:
            self._pending.popleft()
        if values is None:
            self.learn(genotypes, rewards)
        else:
            self.learn_values(genotypes, rewards, values)

    def recover(self, history: Iterable[Asked | Told]) -> None:
        """Ask and tell again what was recorded, checking every proposal."""
        for event in history:
            if isinstance(event, Told):
                self.tell(event.genotypes, event.rewards, event.values)
                continue
            proposals = self.ask(len(event.genotypes))
            if not np.array_equal(proposals, event.genotypes):
                raise ReplayError(
                    f"{self.name} proposes {_first_difference(proposals, event.genotypes)}: the "
                    "run was made with another space, seed, preset or version; start a new run"
                )


def _check_values(values: Values, rewards: Rewards) -> None:
    absent = [value is None for value in values]
    if absent != [reward is None for reward in rewards]:
        raise OrderError(
            f"one tuple of values for each reward, None where that is None, found {values}"
        )
    sizes = {len(value) for value in values if value is not None}
    if len(sizes) > 1 or not all(np.isfinite(value).all() for value in values if value is not None):
        raise OrderError(f"values are finite and as many for each genotype, found {values}")


def _first_difference(found: Genotypes, recorded: Genotypes) -> str:
    if found.shape != recorded.shape:
        return f"shape {found.shape}, the record has {recorded.shape}"
    row = int(np.flatnonzero((found != recorded).any(axis=1))[0])
    return f"{found[row].tolist()}, the record has {recorded[row].tolist()}"
