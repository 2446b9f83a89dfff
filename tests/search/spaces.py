"""A small space, an additive objective on any space, and evaluators that use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from networks.errors import GenotypeError
from networks.graph import Shape
from networks.layers import Conv, Layer
from networks.network import Network
from networks.spaces.space import Decision, Genotypes, Space
from search.config import RunConfig
from search.evaluators.evaluator import Evaluation, FailedEvaluation
from search.rewards import make_reward

SIDE = Shape(8, 8, 8)


class ConvSpace:
    """A stem, then one convolution a decision, whose option is its kernel: 1, 3, 5, ...

    The first decision says whether the second one's layer is there at all; where it is not, the
    second decision changes nothing. So genotypes and networks differ in number.
    """

    def __init__(self, *sizes: int) -> None:
        self.sizes = (2, *sizes)
        self.name = f"conv{self.sizes}"
        self.decisions = tuple(
            Decision(f"choice{i}", tuple(map(str, range(size))))
            for i, size in enumerate(self.sizes)
        )
        self.layers: tuple[Layer, ...] = tuple(self._layer(i) for i in range(max(self.sizes)))
        self.n_genotypes = prod(self.sizes)
        self.n_networks = (1 + self.sizes[1]) * prod(self.sizes[2:])

    def decode(self, genotype: npt.ArrayLike) -> Network:
        first, second, *rest = np.asarray(genotype).tolist()
        kept = [second, *rest] if first else rest
        return Network((self._layer(0), *(self._layer(option) for option in kept)))

    def encode(self, network: Network) -> Genotypes:
        options = [self.layers.index(layer) for layer in network.layers[1:]]
        absent = len(options) == len(self.sizes) - 2
        genotype = np.array([0, 0, *options] if absent else [1, *options], np.int8)
        if genotype.shape != (len(self.sizes),):
            raise GenotypeError(f"{self.name} does not hold {network}")
        return genotype

    def canonical(self, genotypes: npt.ArrayLike) -> Genotypes:
        found: Genotypes = np.array(genotypes, np.int8)
        found[found[:, 0] == 0, 1] = 0
        return found

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        uniform_over: Literal["genotypes", "networks"] = "genotypes",
    ) -> Genotypes:
        drawn: Genotypes = rng.integers(0, self.sizes, (n, len(self.sizes)), dtype=np.int8)
        if uniform_over == "networks":
            drawn[:, 0] = rng.random(n) < self.sizes[1] / (1 + self.sizes[1])
            drawn = self.canonical(drawn)
        return drawn

    def neighbours(self, genotype: npt.ArrayLike) -> Genotypes:
        own: Genotypes = np.asarray(genotype, np.int8)
        rows = [
            np.concatenate([own[:i], np.array([option], np.int8), own[i + 1 :]])
            for i, size in enumerate(self.sizes)
            for option in range(size)
        ]
        near = np.unique(self.canonical(np.array(rows)), axis=0)
        others: Genotypes = near[(near != self.canonical(own[None])).any(axis=1)]
        return others

    def enumerate(self) -> Iterator[Genotypes]:
        for genotype in product(*map(range, self.sizes)):
            if genotype[0] or not genotype[1]:
                yield np.array(genotype, np.int8)

    def _layer(self, option: int) -> Conv:
        return Conv(SIDE, SIDE.channels, kernel=2 * option + 1)


def tables(space: Space, seed: int) -> list[npt.NDArray[np.float64]]:
    """Return one standard normal number for each option of each decision."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=len(decision.options)) for decision in space.decisions]


@dataclass
class Additive:
    """Qualities that add up over the decisions; may fail, and may stop after some results."""

    space: Space
    seed: int = 0
    fails: frozenset[int] = frozenset()
    stop_after: int | None = None
    evaluated: list[tuple[int, ...]] = field(default_factory=list)
    name: str = "additive"
    deterministic: bool = True

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Iterator[Evaluation | FailedEvaluation]:
        assert len(seeds) == len(genotypes)
        for quality, genotype in zip(self.quality(genotypes), genotypes, strict=True):
            if self.stop_after is not None and len(self.evaluated) >= self.stop_after:
                raise KeyboardInterrupt
            self.evaluated.append(tuple(genotype.tolist()))
            if int(genotype.sum()) in self.fails:
                yield FailedEvaluation("loss is not finite")
            else:
                yield Evaluation(float(quality), 0.5)

    def quality(self, genotypes: Genotypes) -> npt.NDArray[np.float64]:
        return 0.5 + 0.01 * _total(self.space, self.seed, self.space.canonical(genotypes))

    def latency_ms(self, genotypes: Genotypes) -> npt.NDArray[np.float64]:
        return 50 + 2 * _total(self.space, self.seed + 1, self.space.canonical(genotypes))


def _total(space: Space, seed: int, genotypes: Genotypes) -> npt.NDArray[np.float64]:
    prices: Sequence[npt.NDArray[np.float64]] = tables(space, seed)
    total: npt.NDArray[np.float64] = sum(
        (price[genotypes[:, i]] for i, price in enumerate(prices)), np.zeros(len(genotypes))
    )
    return total


def config(searcher: str = "random", *, budget: int = 60) -> RunConfig:
    """Return a small run's configuration."""
    return RunConfig(
        space="conv",
        latency="additive",
        evaluator="additive",
        searcher=searcher,
        reward=make_reward("absolute", target_ms=50),
        budget=budget,
        batch=8,
        seed=3,
    )
