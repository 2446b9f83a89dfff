"""Calibration: the one factor between a sum of layers and a whole network.

    latency of a network = scale x sum of the hot floors of its layers

A layer on its own keeps its weights in the cache and a network does not, so sums are 8-10 % low,
uniformly (reference measurements). One factor corrects that; an offset overfits with so few
networks. The factor is the median of measured / summed: noise only ever adds time, so a network
that was disturbed is an outlier on one side, and a median does not follow it as a mean would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from latency_tables.errors import NotAdditive, Uncalibrated
from latency_tables.granularity import require_layers_table
from latency_tables.table import Calibration, Floats, LatencyTable, MeasuredNetwork
from networks.block_strings import format_network
from networks.layers import Layer
from networks.network import Network
from networks.spaces.space import LayerSpace

CANDIDATES = 200


def calibrate(table: LatencyTable) -> LatencyTable:
    """Return the table with the calibration that its rows and networks give, if any does.

    A network with a layer that has no row does not count.
    """
    return replace(table, calibration=fit_calibration(table, table.networks))


def fit_calibration(table: LatencyTable, networks: Sequence[MeasuredNetwork]) -> Calibration | None:
    """Return the scale from these networks, or None if the table prices none of them."""
    sums = np.array([table.hot_ms(network.layers).sum() for network in networks])
    measured = np.array([network.latency_ms for network in networks])
    ratios = (measured / sums)[np.isfinite(sums)]
    if not ratios.size:
        return None
    scale = float(np.median(ratios))
    deviations = np.log(ratios / scale)
    residual = (
        float(np.sqrt((deviations**2).sum() / (ratios.size - 1))) if ratios.size > 1 else None
    )
    return Calibration(scale, residual, int(ratios.size))


def calibrated_ms(table: LatencyTable, layers: Sequence[Layer]) -> Floats:
    """Return each layer's share of a network's latency, shape ``(n,)``, NaN where unpriced.

    Raises:
        Uncalibrated: the table has no scale.
        NotAdditive: its calibration gives layers no share of their own.
        WrongGranularity: it prices single operators.
    """
    require_layers_table(table)
    calibration = table.calibration
    if calibration is None:
        raise Uncalibrated(table.name)
    if not calibration.is_additive:
        raise NotAdditive(table.name, calibration.kind)
    return calibration.scale * table.hot_ms([layer.key for layer in layers])


def choose_networks(space: LayerSpace, *, n: int = 9, seed: int = 0) -> tuple[Network, ...]:
    """Return ``n`` networks that span the space: quantiles by multiply-adds of a uniform sample.

    Multiply-adds, not a table's sums, so that the choice is made before anything is measured and
    the networks are visited among the layers.
    """
    genotypes = space.sample(CANDIDATES, np.random.default_rng(seed), uniform_over="networks")
    candidates = sorted(
        {space.decode(row) for row in genotypes}, key=lambda net: (net.madds, format_network(net))
    )
    places = (np.arange(n) + 0.5) / n * len(candidates)
    return tuple(candidates[int(place)] for place in places)
