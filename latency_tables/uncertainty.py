"""Uncertainty: how far a predicted latency may lie from what another session would measure.

    Var = sum over rows (n e)^2  +  L^2 (s^2 + d^2)

    n   how often the network uses a row: all its uses err together
    e   standard deviation of the row's calibrated price
    L   the network's latency
    s   relative standard deviation of the scale, which all networks share, in another session
    d   relative standard deviation of a network around the calibration, its own

d comes from whole networks, so it holds part of the rows' errors already: the sum errs to the wide
side. It comes from few, so quantiles are of Student's distribution; its degrees of freedom are
those of d as far as the sum is d (Satterthwaite 1946). Intervals are symmetric in the logarithm,
as those of rows are, so no end is negative.

Along a chain, the first sum is a table a block, and one a pair of blocks that can use equal rows:

    (n + m)^2 e^2  =  n^2 e^2  +  m^2 e^2  +  2 n m e^2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
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
    """What is known of the errors of rows, of the scale and of whole networks.

    rows_ms         standard deviations of the calibrated prices, shape ``(n,)``, 0 where a row has
                    no interval, as before schema 3 of tables: the residual alone tells of its error
    scale, residual relative standard deviations, see the module
    freedom         degrees of freedom of the quantiles
    """

    rows_ms: Floats
    scale: float
    residual: float
    freedom: float = math.inf

    @property
    def of_network(self) -> float:
        """What the scale and the network's own residual make together."""
        return math.hypot(self.scale, self.residual)


def uncertainty_of(table: LatencyTable, layers: Sequence[str]) -> Uncertainty | None:
    """Return what a table knows of the errors of these layer keys and of whole networks.

    None where too few networks calibrated it to tell. A scale whose error is not given has that of
    a mean: the residual over the root of the number of networks.

    Raises:
        Uncalibrated: it has no scale at all.
    """
    calibration = table.calibration
    if calibration is None:
        raise Uncalibrated(table.name)
    residual, networks = calibration.residual, calibration.networks
    if residual is None:
        return None
    scale = calibration.scale_std
    if scale is None:
        scale = residual / math.sqrt(networks)
    rows_ms = calibration.scale * table.hot_ms(layers) * table.relative_std(layers)
    estimated, total = residual**2 * (1 + 1 / networks), scale**2 + residual**2
    fitted = 1 + len(calibration.coefficients)
    freedom = (networks - fitted) * (total / estimated) ** 2 if estimated else math.inf
    return Uncertainty(np.nan_to_num(rows_ms, nan=0.0), scale, residual, max(1.0, freedom))


def network_std_ms(uncertainty: Uncertainty, layers: Sequence[str], latency_ms: float) -> float:
    """Return the standard deviation of one network's latency.

    Args:
        uncertainty: of its layers.
        layers: their keys, in order.
        latency_ms: the sum of their calibrated prices.
    """
    _, row = np.unique(layers, return_inverse=True)
    rows_ms = np.bincount(row, weights=uncertainty.rows_ms)
    return math.hypot(*rows_ms.tolist(), uncertainty.of_network * latency_ms)


def quantile_ms(latency_ms: Real, std_ms: Real, q: float, *, freedom: float = math.inf) -> Real:
    """Return the q-quantile of what another session would measure; at a half it is the latency.

    Raises:
        TableError: q is not between 0 and 1.
    """
    from scipy.special import stdtrit

    if not 0 < q < 1:
        raise TableError(f"expected a quantile between 0 and 1, found {q:g}")
    student = float(stdtrit(freedom, q))
    result: Real = latency_ms * np.exp(student * (std_ms / latency_ms))
    return result


def interval_ms(
    latency_ms: float, std_ms: float, level: float = LEVEL, *, freedom: float = math.inf
) -> tuple[float, float]:
    """Return where another session's value lies with this probability, as much on either side."""
    ends = ((1 - level) / 2, (1 + level) / 2)
    low, high = (float(quantile_ms(latency_ms, std_ms, q, freedom=freedom)) for q in ends)
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
    weighted = counts.multiply(uncertainty.rows_ms).tocsr()
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
