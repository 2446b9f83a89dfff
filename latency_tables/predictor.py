"""Predictor: genotypes to milliseconds and how far off they may be, without a loop over genotypes.

A chain space gives, for each of its blocks, a code that is linear in the genotype and a table of
prices by code (`ChainSpace.code_matrix`, `ChainSpace.block_prices`). A latency is the sum over
blocks of one look-up each, taken by chunks whose buffers stay in the cache; see
`latency_tables.codes` for how places are read off genotypes. A variance is a sum of look-ups too,
see `latency_tables.uncertainty`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_tables.calibration import calibrated_ms
from latency_tables.codes import Codes, Ints, Places, make_codes
from latency_tables.coverage import require_layers
from latency_tables.errors import UncertaintyUnknown
from latency_tables.granularity import layers_of
from latency_tables.table import LEVEL, LatencyTable
from latency_tables.uncertainty import (
    Uncertainty,
    covariance_ms2,
    interval_ms,
    network_std_ms,
    quantile_ms,
    row_variances,
    uncertainty_of,
)
from networks.errors import GenotypeError
from networks.network import Network
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes

Floats = npt.NDArray[np.float64]
Latencies = npt.NDArray[np.floating[Any]]
Precision = type[np.float32] | type[np.float64]
MakeCodes = Callable[[Ints, Ints], Codes]

CHUNK = 8192
_ROWS = 64  # rows checked as one long row: reductions are fast along long rows only


@dataclass(frozen=True, slots=True)
class Prediction:
    """One network's latency, its standard deviation, and each layer's share in order.

    ``std_ms`` is None where the table has too few calibration networks to tell; ``freedom`` is
    its degrees of freedom.
    """

    latency_ms: float
    std_ms: float | None
    layers: tuple[tuple[str, float], ...]
    freedom: float = math.inf

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Return where another session's value lies with this probability, in milliseconds."""
        if self.std_ms is None:
            return None
        return interval_ms(self.latency_ms, self.std_ms, level, freedom=self.freedom)


def predict_network(table: LatencyTable, network: Network) -> Prediction:
    """Return the scaled sum of the network's rows; any network whose layers are priced has one.

    Raises:
        MissingLayers: the table does not price a layer.
        Uncalibrated, NotAdditive: it has no scale, or more than a scale.
        NotAChain: it is a network of cells, see `operator_pricing.predict_any`.
    """
    layers = layers_of(network)
    layers_ms = calibrated_ms(table, layers)
    require_layers(table, layers)
    keys = [layer.key for layer in layers]
    return make_prediction(keys, layers_ms, uncertainty_of(table, keys))


def make_prediction(
    keys: Sequence[str], shares_ms: Floats, uncertainty: Uncertainty | None
) -> Prediction:
    """Return the prediction of what is made of these rows, in order, with these shares."""
    latency_ms, layers = float(shares_ms.sum()), tuple(zip(keys, shares_ms.tolist(), strict=True))
    if uncertainty is None:
        return Prediction(latency_ms, None, layers)
    std_ms = network_std_ms(uncertainty, keys, latency_ms)
    return Prediction(latency_ms, std_ms, layers, uncertainty.freedom)


def compile_predictor(
    table: LatencyTable, space: ChainSpace, *, precision: Precision = np.float64
) -> Predictor:
    """Return the predictor of this space's networks.

    Raises:
        MissingLayers: the table does not price a layer of the space.
        Uncalibrated, NotAdditive: it has no scale, or more than a scale.
    """
    prices_ms = calibrated_ms(table, space.layers)
    require_layers(table, space.layers)
    uncertainty = uncertainty_of(table, [layer.key for layer in space.layers])
    return Predictor(space, prices_ms, uncertainty=uncertainty, precision=precision)


class Predictor:
    """Latencies of a space's genotypes; made by `compile_predictor`.

    Args:
        prices_ms: calibrated latencies of ``space.layers``, shape ``(n_layers,)``.
        uncertainty: of the same layers; without it there are no standard deviations.
        precision: of tables and results; float32 (7 digits) takes half the memory.
        codes: makes the way from genotypes to places.
    """

    def __init__(
        self,
        space: ChainSpace,
        prices_ms: Floats,
        *,
        uncertainty: Uncertainty | None = None,
        precision: Precision = np.float64,
        codes: MakeCodes = make_codes,
    ) -> None:
        self.space, self.prices_ms, self.uncertainty = space, prices_ms, uncertainty
        self._precision = np.dtype(precision)
        sizes = np.array([len(decision.options) for decision in space.decisions])
        self._codes = codes(space.code_matrix(), sizes)
        self._last = (sizes - 1).astype(np.uint8)
        self._prices = self._by_place(space.block_prices(prices_ms))
        if uncertainty is not None:
            own, shared = row_variances(space, uncertainty.rows_ms**2)
            self._variances = self._by_place(own)
            self._shared = [
                replace(
                    pair,
                    first=pair.first[self._codes.orders[pair.blocks[0]]],
                    second=pair.second[self._codes.orders[pair.blocks[1]]],
                )
                for pair in shared
            ]

    @property
    def fastest(self) -> Genotypes:
        """The genotype of the fastest network of the space, shape ``(n_decisions,)``."""
        return self.space.cheapest(self.prices_ms)

    @property
    def fastest_ms(self) -> float:
        """The least latency of any network of the space."""
        return float(self.predict(self.fastest[None])[0])

    def predict(self, genotypes: npt.ArrayLike) -> Latencies:
        """Return the latency of each genotype in milliseconds, shape ``(n,)``.

        Fastest for C-ordered int8 arrays; memory beyond the result does not grow with ``n``.

        Args:
            genotypes: integers, shape ``(n, n_decisions)``, canonical or not.

        Raises:
            GenotypeError: another shape, or an option that does not exist.
        """
        rows = self._shaped(genotypes)
        latency_ms = np.zeros(len(rows), self._precision)
        looked_up = np.empty(min(len(rows), CHUNK), self._precision)
        for at, places in self._chunks(rows):
            for table, place in zip(self._prices, places, strict=True):
                _add(table, place, latency_ms[at], looked_up)
        return latency_ms

    def predict_with_std(self, genotypes: npt.ArrayLike) -> tuple[Latencies, Latencies]:
        """Return latencies and their standard deviations in milliseconds, shape ``(n,)`` each.

        Raises:
            GenotypeError: as `predict`.
            UncertaintyUnknown: the table cannot tell.
        """
        of_network = self._known_uncertainty().of_network
        rows = self._shaped(genotypes)
        latency_ms, variance = np.zeros((2, len(rows)), self._precision)
        looked_up = np.empty(min(len(rows), CHUNK), self._precision)
        classes = [np.empty(len(looked_up), np.intp) for _ in self._shared]
        for at, places in self._chunks(rows):
            n = len(latency_ms[at])
            for block, place in enumerate(places):
                _add(self._prices[block], place, latency_ms[at], looked_up)
                _add(self._variances[block], place, variance[at], looked_up)
                for pair, pair_class in zip(self._shared, classes, strict=True):
                    if block == pair.blocks[0]:
                        np.take(pair.first, place, out=pair_class[:n], mode="wrap")
                    elif block == pair.blocks[1]:
                        pair_class[:n] += pair.second[place]
                        _add(pair.variance_ms2, pair_class[:n], variance[at], looked_up)
            variance[at] += (of_network * latency_ms[at]) ** 2
            np.sqrt(variance[at], out=variance[at])
        return latency_ms, variance

    def quantile_ms(self, genotypes: npt.ArrayLike, q: float) -> Latencies:
        """Return the q-quantile of what another session would measure, shape ``(n,)``.

        Raises:
            GenotypeError, UncertaintyUnknown: as `predict_with_std`.
            TableError: q is not between 0 and 1.
        """
        known = self._known_uncertainty()
        return quantile_ms(*self.predict_with_std(genotypes), q, freedom=known.freedom)

    def at_quantile(self, q: float) -> Callable[[npt.ArrayLike], Latencies]:
        """Return what a search takes for a latency: `quantile_ms` at q.

        Raises:
            UncertaintyUnknown: the table cannot tell.
            TableError: q is not between 0 and 1.
        """
        self.quantile_ms(self.fastest[None], q)
        return lambda genotypes: self.quantile_ms(genotypes, q)

    def covariance_ms2(self, genotypes: npt.ArrayLike) -> Floats:
        """Return the covariances of the latencies of different networks, shape ``(n, n)``.

        Raises:
            UncertaintyUnknown: the table cannot tell.
        """
        known = self._known_uncertainty()
        return covariance_ms2(self.space, self._shaped(genotypes), self.prices_ms, known)

    def _known_uncertainty(self) -> Uncertainty:
        if self.uncertainty is None:
            raise UncertaintyUnknown(self.space.name)
        return self.uncertainty

    def _by_place(self, tables: list[Floats]) -> list[Latencies]:
        """Return tables by code as tables by place, NaN where no genotype comes."""
        orders = self._codes.orders
        return [
            np.where(order < 0, np.nan, table[order]).astype(self._precision)
            for order, table in zip(orders, tables, strict=True)
        ]

    def _shaped(self, genotypes: npt.ArrayLike) -> npt.NDArray[np.integer]:
        rows = np.asarray(genotypes)
        if rows.ndim != 2 or rows.shape[1] != len(self._last) or rows.dtype.kind not in "iu":
            raise GenotypeError(
                f"genotypes of {self.space.name} are integers of shape (n, {len(self._last)}),"
                f" found {rows.dtype} of shape {rows.shape}"
            )
        return rows

    def _chunks(self, rows: npt.NDArray[np.integer]) -> Iterator[tuple[slice, Iterator[Places]]]:
        """Yield where each chunk is, and the places of its genotypes in each block in order."""
        read = self._codes.reader(min(len(rows), CHUNK))
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            self._check(chunk, start)
            yield slice(start, start + CHUNK), read(np.ascontiguousarray(chunk, dtype=np.int8))

    def _check(self, chunk: npt.NDArray[np.integer], start: int) -> None:
        """Refuse options that do not exist; a negative int8 is a large uint8."""
        if chunk.dtype == np.int8 and chunk.flags.c_contiguous:
            options = chunk.view(np.uint8)
            whole = len(options) // _ROWS * _ROWS
            largest = options[whole:].max(axis=0, initial=0)
            if whole:
                folded = options[:whole].reshape(-1, _ROWS * options.shape[1]).max(axis=0)
                largest = np.maximum(largest, folded.reshape(_ROWS, -1).max(axis=0))
            if (largest <= self._last).all():
                return
        outside = np.argwhere((chunk < 0) | (chunk > self._last))
        if outside.size:
            row, column = outside[0]
            decision = self.space.decisions[column]
            raise GenotypeError(
                f"{decision.name} has options 0 to {len(decision.options) - 1},"
                f" found {chunk[row, column]} in genotype {start + row}"
            )


def _add(table: Latencies, places: Places, total: Latencies, looked_up: Latencies) -> None:
    """Add the table's entries at these places to a total, through a buffer."""
    part = looked_up[: len(total)]
    # every place is inside: "wrap" only spares take the copy that "raise" makes
    np.take(table, places, out=part, mode="wrap")
    total += part
