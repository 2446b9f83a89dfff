"""Costs of a space's networks that need no device, whole batches at a time.

Of a chain space, multiply-adds, parameters and file size add up over its layers, and memory is the
largest of any layer's: all are looked up by block, without a loop over genotypes. Networks of other
spaces are decoded one by one, each once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from latency_tables.predictor import Predictor
from networks.costs import CostName, Costs, count_costs
from networks.layers import lower_layer
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes, NetworkSpace

Floats = npt.NDArray[np.float64]
_REMEMBERED = 100_000


class CountCosts(Protocol):
    """From genotypes, shape ``(n, n_decisions)``, to each cost, shape ``(n,)``."""

    def __call__(self, genotypes: Genotypes) -> Mapping[str, Floats]:
        """Return the costs that were asked for."""
        ...


def costs_of(space: NetworkSpace[Any], names: Sequence[CostName]) -> CountCosts:
    """Return what counts these costs of the space's networks."""
    if isinstance(space, ChainSpace):
        return _ChainCosts(space, names)
    return _DecodedCosts(space, names)


class _ChainCosts:
    def __init__(self, space: ChainSpace, names: Sequence[CostName]) -> None:
        self._space, self._names = space, tuple(names)
        layers = [count_costs(lower_layer(layer)) for layer in space.layers] if names else []
        values = {name: np.array([getattr(c, name) for c in layers], float) for name in names}
        self._sums = {
            name: Predictor(space, value)
            for name, value in values.items()
            if name != "memory_bytes"
        }
        self._largest = [
            np.where(counts > 0, values["memory_bytes"][numbers], 0.0).max(axis=1)
            for numbers, counts in (space.block_layers() if "memory_bytes" in values else ())
        ]

    def __call__(self, genotypes: Genotypes) -> Mapping[str, Floats]:
        return {name: self._cost(name, genotypes) for name in self._names}

    def _cost(self, name: CostName, genotypes: Genotypes) -> Floats:
        if name == "memory_bytes":
            return self._peak(genotypes)
        return np.asarray(self._sums[name].predict(genotypes), np.float64)

    def _peak(self, genotypes: Genotypes) -> Floats:
        codes = genotypes.astype(np.int64) @ self._space.code_matrix()
        blocks = [table[codes[:, block]] for block, table in enumerate(self._largest)]
        peak: Floats = np.max(blocks, axis=0)
        return peak


class _DecodedCosts:
    def __init__(self, space: NetworkSpace[Any], names: Sequence[CostName]) -> None:
        self._space, self._names = space, tuple(names)
        self._count = lru_cache(_REMEMBERED)(self._decode)

    def __call__(self, genotypes: Genotypes) -> Mapping[str, Floats]:
        networks = self._space.canonical(genotypes)
        found = [self._count(row.tobytes()) for row in networks]
        return {name: np.array([getattr(c, name) for c in found], float) for name in self._names}

    def _decode(self, genotype: bytes) -> Costs:
        return count_costs(self._space.decode(np.frombuffer(genotype, np.int8)).graph())
