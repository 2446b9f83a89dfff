"""Latency sources: the seam between a search and whatever knows how long a network takes.

    table     predicted from a latency table, mean and standard deviation
    device    each network measured end to end, as the MnasNet paper did
    csv       a column of a file
    madds     multiply-adds, where no device is at hand

A latency that could not be had is a value of its own with its reason, never a number. What was
measured is stored with the run and never measured again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latency_tables.predictor import Predictor
from networks.spaces.space import Genotypes
from search.errors import RewardError

LatencyFunction = Callable[[Genotypes], npt.NDArray[np.floating]]
"""From genotypes, shape ``(n, n_decisions)``, to milliseconds, shape ``(n,)``, all positive."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of one network, and its standard deviation, None where unknown."""

    latency_ms: float
    std_ms: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.latency_ms) and self.latency_ms > 0):
            raise RewardError(f"a latency is positive and finite, found {self.latency_ms}")


@dataclass(frozen=True, slots=True)
class FailedLatency:
    """A latency that could not be had: what happened, in one line."""

    reason: str


class LatencySource(Protocol):
    """Latencies of networks, a batch at a time."""

    @property
    def name(self) -> str:
        """The name with its parameters, for the run's record."""
        ...

    @property
    def is_measured(self) -> bool:
        """Whether asking again would give another number and takes time: results are stored."""
        ...

    def latencies(self, genotypes: Genotypes) -> Iterable[Latency | FailedLatency]:
        """Return one result a row, in order.

        Args:
            genotypes: canonical, shape ``(n, n_decisions)``.
        """
        ...


class FunctionLatency:
    """Latencies of a function of whole batches, such as `Predictor.predict`."""

    is_measured = False

    def __init__(self, function: LatencyFunction, name: str = "function") -> None:
        self.name, self._function = name, function

    def latencies(self, genotypes: Genotypes) -> Iterator[Latency]:
        """Return one latency a row."""
        return map(Latency, self._function(genotypes).tolist())


class TableLatency:
    """Predictions of a table: means with their standard deviations, or a quantile.

    Args:
        predictor: of the space's networks.
        name: how the run records it.
        quantile: the latency that counts is the one that this share of measurements stays under;
            None: the mean.
    """

    is_measured = False

    def __init__(self, predictor: Predictor, name: str, *, quantile: float | None = None) -> None:
        self.predictor, self.name, self.quantile = predictor, name, quantile

    @property
    def function(self) -> LatencyFunction:
        """What gives milliseconds of whole batches."""
        if self.quantile is None:
            return self.predictor.predict
        return self.predictor.at_quantile(self.quantile)

    def latencies(self, genotypes: Genotypes) -> Iterator[Latency]:
        """Return one latency a row."""
        if self.predictor.uncertainty is None:
            return map(Latency, self.function(genotypes).tolist())
        _, std_ms = self.predictor.predict_with_std(genotypes)
        return map(Latency, self.function(genotypes).tolist(), std_ms.tolist())


def as_source(latency: LatencySource | LatencyFunction) -> LatencySource:
    """Return the source, or a function as one."""
    return FunctionLatency(latency) if callable(latency) else latency
