"""Predictor: genotypes to milliseconds, without a loop over genotypes.

A chain space gives, for each of its blocks, a code that is linear in the genotype and a table of
prices by code (`ChainSpace.code_matrix`, `ChainSpace.block_prices`). A latency is the sum over
blocks of one look-up each, taken by chunks whose buffers stay in the cache; see
`latency_tables.codes` for how places are read off genotypes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_tables.codes import Codes, Ints, make_codes
from latency_tables.coverage import require_layers
from latency_tables.errors import Uncalibrated
from latency_tables.table import Calibration, LatencyTable
from networks.errors import GenotypeError
from networks.network import Network
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes

Floats = npt.NDArray[np.float64]

MakeCodes = Callable[[Ints, Sequence[Floats], Ints], Codes]

CHUNK = 8192
_ROWS = 64  # rows checked as one long row: reductions are fast along long rows only


@dataclass(frozen=True, slots=True)
class Prediction:
    """One network's latency, its standard deviation, and each layer's share in order.

    ``std_ms`` is None where the table has too few calibration networks to tell.
    """

    latency_ms: float
    std_ms: float | None
    layers: tuple[tuple[str, float], ...]


def predict_network(table: LatencyTable, network: Network) -> Prediction:
    """Return the scaled sum of the network's rows; any network whose layers are priced has one.

    Raises:
        MissingLayers: the table does not price a layer.
        Uncalibrated: it has no scale.
    """
    calibration = _calibration(table)
    require_layers(table, network.layers)
    keys = [layer.key for layer in network.layers]
    layers_ms = calibration.scale * table.hot_ms(keys)
    latency_ms = float(layers_ms.sum())
    relative = relative_std(calibration)
    return Prediction(
        latency_ms,
        None if relative is None else relative * latency_ms,
        tuple(zip(keys, layers_ms.tolist(), strict=True)),
    )


def relative_std(calibration: Calibration) -> float | None:
    """Return the relative standard deviation of a network's prediction, None if unknown.

    A network's own residual and the scale's error add: ``residual^2 (1 + 1 / networks)``.
    """
    if calibration.residual is None:
        return None
    return calibration.residual * math.sqrt(1 + 1 / calibration.networks)


def compile_predictor(table: LatencyTable, space: ChainSpace) -> Predictor:
    """Return the predictor of this space's networks.

    Raises:
        MissingLayers: the table does not price a layer of the space.
        Uncalibrated: it has no scale.
    """
    scale = _calibration(table).scale
    require_layers(table, space.layers)
    return Predictor(space, scale * table.hot_ms([layer.key for layer in space.layers]))


class Predictor:
    """Latencies of a space's genotypes; made by `compile_predictor`.

    ``prices_ms`` are the calibrated latencies of ``space.layers``, shape ``(n_layers,)``;
    ``codes`` makes the way from genotypes to places.
    """

    def __init__(
        self, space: ChainSpace, prices_ms: Floats, *, codes: MakeCodes = make_codes
    ) -> None:
        self.space, self.prices_ms = space, prices_ms
        sizes = np.array([len(decision.options) for decision in space.decisions])
        self._codes = codes(space.code_matrix(), space.block_prices(prices_ms), sizes)
        self._last = (sizes - 1).astype(np.uint8)

    @property
    def fastest(self) -> Genotypes:
        """The genotype of the fastest network of the space, shape ``(n_decisions,)``."""
        return self.space.cheapest(self.prices_ms)

    @property
    def fastest_ms(self) -> float:
        """The least latency of any network of the space."""
        return float(self.predict(self.fastest[None])[0])

    def predict(self, genotypes: npt.ArrayLike) -> Floats:
        """Return the latency of each genotype in milliseconds, shape ``(n,)``.

        Fastest for C-ordered int8 arrays; memory beyond the result does not grow with ``n``.

        Args:
            genotypes: integers, shape ``(n, n_decisions)``, canonical or not.

        Raises:
            GenotypeError: another shape, or an option that does not exist.
        """
        rows = np.asarray(genotypes)
        if rows.ndim != 2 or rows.shape[1] != len(self._last) or rows.dtype.kind not in "iu":
            raise GenotypeError(
                f"genotypes of {self.space.name} are integers of shape (n, {len(self._last)}),"
                f" found {rows.dtype} of shape {rows.shape}"
            )
        size = min(len(rows), CHUNK)
        read, price_ms = self._codes.reader(size), np.empty(size)
        latency_ms = np.empty(len(rows))
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            self._check(chunk, start)
            total, price = latency_ms[start : start + CHUNK], price_ms[: len(chunk)]
            total[:] = 0.0
            chunk = np.ascontiguousarray(chunk, dtype=np.int8)
            for table, place in zip(self._codes.tables, read(chunk), strict=True):
                # every place is inside: "wrap" only spares take the copy that "raise" makes
                np.take(table, place, out=price, mode="wrap")
                total += price
        return latency_ms

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


def _calibration(table: LatencyTable) -> Calibration:
    if table.calibration is None:
        raise Uncalibrated(table.name)
    return table.calibration
