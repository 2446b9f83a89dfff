"""Uncertainty: how far a predicted latency may lie from what another session would measure.

    Var = sum over rows (n p e)^2  +  L^2 (s^2 + d^2)          L = sum over rows n p

    n   how often the network uses a row: all its uses err together
    p   the row's calibrated price           e   relative standard deviation of the row
    s   relative standard error of the scale, which all networks share
    d   relative standard deviation of a network around the calibration, its own

d comes from whole networks, so it holds part of the rows' errors already: the sum errs to the wide
side. Intervals are symmetric in the logarithm, as those of rows are, so no end is negative.

Along a chain, the first sum is a table a block, and one a pair of blocks that can use equal rows:

    (n + m)^2 v  =  n^2 v  +  m^2 v  +  2 n m v                v = (p e)^2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from latency_tables.errors import TableError, Uncalibrated
from latency_tables.table import LEVEL, LatencyTable
from networks.spaces.chain import ChainSpace

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Real = TypeVar("Real", float, npt.NDArray[np.floating])


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Relative standard deviations: of each row, shape ``(n,)``, of the scale, of a network.

    A row without an interval, as tables had before their schema 3, counts 0: what is known of its
    error is in the residual alone. ``unknown_rows`` says how many there are.
    """

    rows: Floats
    scale: float
    residual: float
    unknown_rows: int

    @property
    def of_network(self) -> float:
        """What the scale and the network's own residual make together."""
        return math.hypot(self.scale, self.residual)


def uncertainty_of(table: LatencyTable, layers: Sequence[str]) -> Uncertainty | None:
    """Return what a table knows of the errors of these layer keys and of whole networks.

    None where it was calibrated on one network, which cannot tell. A scale whose error is not
    given has that of a mean: the residual over the root of the number of networks.

    Raises:
        Uncalibrated: it has no scale at all.
    """
    calibration = table.calibration
    if calibration is None:
        raise Uncalibrated(table.name)
    if calibration.residual is None:
        return None
    scale = calibration.scale_std
    if scale is None:
        scale = calibration.residual / math.sqrt(calibration.networks)
    rows = table.relative_std(layers)
    unknown = np.isnan(rows)
    return Uncertainty(
        np.where(unknown, 0.0, rows), scale, calibration.residual, int(unknown.sum())
    )


def network_std_ms(uncertainty: Uncertainty, layers: Sequence[str], layers_ms: Floats) -> float:
    """Return the standard deviation of one network's latency.

    Args:
        layers: its layer keys, in order.
        layers_ms: their calibrated prices, shape ``(n,)``, as ``uncertainty.rows``.
    """
    _, row = np.unique(layers, return_inverse=True)
    rows_ms = np.bincount(row, weights=uncertainty.rows * layers_ms)
    return math.hypot(*rows_ms.tolist(), uncertainty.of_network * float(layers_ms.sum()))


def quantile_ms(latency_ms: Real, std_ms: Real, q: float) -> Real:
    """Return the q-quantile of what another session would measure; at a half it is the latency.

    Raises:
        TableError: q is not between 0 and 1.
    """
    if not 0 < q < 1:
        raise TableError(f"expected a quantile between 0 and 1, found {q:g}")
    result: Real = latency_ms * np.exp(NormalDist().inv_cdf(q) * (std_ms / latency_ms))
    return result


def interval_ms(latency_ms: float, std_ms: float, level: float = LEVEL) -> tuple[float, float]:
    """Return where another session's value lies with this probability, as much on either side."""
    tail = (1 - level) / 2
    low, high = (float(quantile_ms(latency_ms, std_ms, q)) for q in (tail, 1 - tail))
    return low, high


@dataclass(frozen=True, slots=True)
class SharedRows:
    """What two blocks add to a variance together, as they can use equal rows.

    Choices that use those rows alike are one class: ``variance_ms2[first[code] + second[code']]``
    with the codes of the earlier and of the later of ``blocks``.
    """

    blocks: tuple[int, int]
    first: Ints
    second: Ints
    variance_ms2: Floats


def row_variances(
    space: ChainSpace, variances_ms2: Floats
) -> tuple[list[Floats], list[SharedRows]]:
    """Return the tables that sum to a network's variance from its rows.

    Args:
        variances_ms2: of each of ``space.layers``, shape ``(n_layers,)``.

    Returns:
        One table a block, by code; and what pairs of blocks add.
    """
    counts = count_rows_by_code(space)
    own = [block.power(2) @ variances_ms2 for block in counts]
    pairs = []
    for a, b in combinations(range(len(counts)), 2):
        shared = np.flatnonzero((counts[a].sum(axis=0) > 0) & (counts[b].sum(axis=0) > 0))
        if shared.size:
            ours, first = np.unique(counts[a][:, shared].toarray(), axis=0, return_inverse=True)
            theirs, second = np.unique(counts[b][:, shared].toarray(), axis=0, return_inverse=True)
            both = 2 * (ours * variances_ms2[shared]) @ theirs.T
            pairs.append(SharedRows((a, b), first * len(theirs), second, np.ravel(both)))
    return own, pairs


def covariance_ms2(
    space: ChainSpace, genotypes: npt.ArrayLike, prices_ms: Floats, uncertainty: Uncertainty
) -> Floats:
    """Return the covariances of the latencies of different networks, shape ``(n, n)``.

    Networks err together by the rows that both use and by the scale; a residual is a network's
    own. The diagonal is the variances.

    Args:
        genotypes: of options that exist, shape ``(n, n_decisions)``.
        prices_ms: calibrated, of each of ``space.layers``, shape ``(n_layers,)``.
    """
    codes = np.asarray(genotypes).astype(np.int64) @ space.code_matrix()
    counts, *others = (
        block[code] for block, code in zip(count_rows_by_code(space), codes.T, strict=True)
    )
    for block in others:
        counts = counts + block
    latency_ms = counts @ prices_ms
    weighted = counts.multiply(prices_ms * uncertainty.rows).tocsr()
    covariance: Floats = (weighted @ weighted.T).toarray()
    covariance += uncertainty.scale**2 * np.outer(latency_ms, latency_ms)
    covariance += np.diag((uncertainty.residual * latency_ms) ** 2)
    return covariance


def count_rows_by_code(space: ChainSpace) -> list[csr_array]:
    """Return for each block how often a code uses each of the layers, ``(n_codes, n_layers)``."""
    from scipy.sparse import csr_array

    tables = []
    for numbers, counts in space.block_layers():
        codes = np.broadcast_to(np.arange(len(numbers))[:, None], numbers.shape)
        shape = (len(numbers), len(space.layers))
        tables.append(csr_array((counts.ravel(), (codes.ravel(), numbers.ravel())), shape=shape))
    return tables
