"""PricedSpace: a chain space whose layers have latencies, and what follows exactly from both.

    networks, genotypes   how many have which latency         `latency_tables.exact_counts`
    sample_within         networks that meet a target         `latency_tables.exact_sampling`
    front                 best sum of scores by latency       `latency_tables.exact_front`

All of it speaks of a network's mean latency in the table, the calibrated sum of its rows. How
likely a network is to measure within a target is another question, which this does not answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latency_tables.calibration import calibrated_ms
from latency_tables.coverage import require_layers
from latency_tables.errors import InvalidRow, NothingWithin
from latency_tables.exact_counts import Distribution, Floats, Grid, Progress, count_latencies
from latency_tables.exact_front import Front, find_front
from latency_tables.exact_sampling import WithinSampler
from latency_tables.rows import Z
from latency_tables.table import LatencyTable
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes

STEP_US = 1.0


@dataclass(frozen=True, slots=True)
class Within:
    """How many networks meet a target.

    networks                by latencies whose blocks are rounded to the nearest step
    low, high               the unrounded number lies between these
    scale_low, scale_high   ``networks`` at the ends of the calibration scale's 90 % interval; None
                            where the table does not know the scale's error
    genotypes               how many genotypes decode to such networks, rounded as ``networks``
    """

    target_ms: float
    networks: int
    low: int
    high: int
    scale_low: int | None
    scale_high: int | None
    genotypes: int


def price_space(
    table: LatencyTable,
    space: ChainSpace,
    *,
    step_us: float = STEP_US,
    progress: Progress | None = None,
) -> PricedSpace:
    """Return the space with the table's calibrated latencies, counted in steps of ``step_us``.

    Raises:
        MissingLayers: the table does not price a layer of the space.
        Uncalibrated, NotAdditive: no scale ties its sums to networks, or more than a scale does.
        GridTooFine: the slowest network has too many steps.
    """
    prices_ms = calibrated_ms(table, space.layers)
    require_layers(table, space.layers)
    assert table.calibration is not None  # or calibrated_ms would have raised
    scale_std = table.calibration.scale_std
    return PricedSpace(
        space, prices_ms, step_ms=step_us / 1e3, scale_std=scale_std, progress=progress
    )


class PricedSpace:
    """See the module; made by `price_space`.

    ``prices_ms`` are the latencies of ``space.layers``, shape ``(n_layers,)``; ``scale_std`` is the
    relative standard error of the scale in all of them. Counts are made when first asked for, and
    ``progress`` then hears of them.
    """

    def __init__(
        self,
        space: ChainSpace,
        prices_ms: Floats,
        *,
        step_ms: float = STEP_US / 1e3,
        scale_std: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        wrong = np.flatnonzero(~(np.isfinite(prices_ms) & (prices_ms > 0)))
        if wrong.size:
            key, found = space.layers[wrong[0]].key, prices_ms[wrong[0]]
            raise InvalidRow(f"{key}: a latency is finite and over 0, found {found}")
        self.space, self.prices_ms, self.scale_std = space, prices_ms, scale_std
        self.grid, self._progress = Grid.of(space, prices_ms, step_ms), progress

    @cached_property
    def networks(self) -> Distribution:
        """How many networks have which latency."""
        return count_latencies(self.space, self.grid, "networks", progress=self._progress)

    @cached_property
    def genotypes(self) -> Distribution:
        """How many genotypes decode to networks of which latency."""
        return count_latencies(self.space, self.grid, "genotypes", progress=self._progress)

    @cached_property
    def fastest(self) -> Genotypes:
        """The canonical genotype of the fastest network, shape ``(n_decisions,)``."""
        return self.space.cheapest(self.prices_ms)

    @cached_property
    def fastest_ms(self) -> float:
        """The fastest network's latency, not rounded."""
        return self._latency_ms(self.fastest)

    @cached_property
    def slowest_ms(self) -> float:
        """The slowest network's latency, not rounded."""
        return self._latency_ms(self.space.cheapest(-self.prices_ms))

    def within(self, target_ms: float) -> Within:
        """Return how many networks meet the target; none may."""
        networks = self.networks
        low, high = networks.within_bounds(target_ms)
        scale_low = scale_high = None
        targets_ms = self.target_range_ms(target_ms)
        if targets_ms is not None:
            scale_low, scale_high = map(networks.within, targets_ms)
        genotypes = self.genotypes.within(target_ms)
        return Within(
            target_ms, networks.within(target_ms), low, high, scale_low, scale_high, genotypes
        )

    def target_range_ms(self, target_ms: float) -> tuple[float, float] | None:
        """Return the targets that are this one if the scale is at an end of its 90 % interval.

        None where the scale's error is not known.
        """
        if self.scale_std is None:
            return None
        factor = math.exp(Z * self.scale_std)
        return target_ms / factor, target_ms * factor

    def sample_within(self, n: int, rng: np.random.Generator, target_ms: float) -> Genotypes:
        """Return ``n`` networks that meet the target, each as likely as any other.

        Canonical genotypes, drawn with replacement, shape ``(n, n_decisions)``; the latencies of
        all of them, not rounded, are within ``target_ms``.

        Raises:
            NothingWithin: no network meets it.
        """
        if target_ms < self.fastest_ms:
            raise NothingWithin(self.space.name, target_ms, self.fastest_ms)
        return self._sampler.draw(n, rng, target_ms)

    def front(
        self,
        scores: npt.ArrayLike,
        *,
        target_ms: float | None = None,
        step_ms: float | None = None,
    ) -> Front:
        """Return the networks of highest score for their latency; see `exact_front.find_front`."""
        return find_front(self.space, self.prices_ms, scores, target_ms=target_ms, step_ms=step_ms)

    @cached_property
    def _sampler(self) -> WithinSampler:
        return WithinSampler(self.space, self.prices_ms, self.grid)

    def _latency_ms(self, genotype: Genotypes) -> float:
        codes = genotype.astype(np.int64) @ self.space.code_matrix()
        tables = self.space.block_prices(self.prices_ms)
        return float(sum(table[code] for table, code in zip(tables, codes, strict=True)))
