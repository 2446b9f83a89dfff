"""Calibration: what ties a sum of layers to a whole network.

    latency of a network = scale x sum over its layers of (row - call)

A layer on its own keeps its weights in the cache and a network does not, so sums are up to 10 %
low: the scale. Each layer on its own also pays for the call of the runtime, about 1 us here, which
a network pays once; that is taken out only where leave-one-out cross-validation over the
calibration networks says so by more than one standard error of the gain, and never as much as a
row. Measured, 9 calibration networks of 39 at random, error of the others: int8 0.53 % with the
scale alone, 0.37 % with the call; float32 2.35 % and 2.19 %.

The scale is the Hodges-Lehmann middle of measured / summed, on logarithms: as precise as a mean,
and not moved by the one or two networks that were disturbed.

What is left in float32 is the working set (weights and largest activation): beyond 15 MB here it
costs a part of the layers' cold excess, 1.2 % error instead of 2.2 %. That is no sum over layers,
changes with the machine's other load, and is not part of a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from latency_tables.errors import NotAdditive, Uncalibrated
from latency_tables.granularity import require_layers_table
from latency_tables.table import (
    LEAST_SHARE,
    Calibration,
    Floats,
    LatencyTable,
    MeasuredNetwork,
)
from networks.block_strings import format_network
from networks.layers import Layer
from networks.network import Network
from networks.spaces.space import LayerSpace

CANDIDATES = 200
LEAST_FOR_CALL = 6  # networks, without which cross-validation says nothing
LEAST_GAIN = 1e-4  # of relative error; less is not worth a number
SESSION_STD = 0.01
"""Relative standard deviation of what all networks share in one session and not in another."""


def calibrate(table: LatencyTable) -> LatencyTable:
    """Return the table with the calibration that its rows and networks give, if any does.

    A network with a layer that has no row does not count, see `unpriced_networks`.
    """
    return replace(table, calibration=fit_calibration(table, table.networks))


def unpriced_networks(table: LatencyTable) -> dict[str, str]:
    """Return the calibration networks that do not count, with the first layer that has no row."""
    found = {}
    for network in table.networks:
        lacking = [key for key in network.layers if key not in table]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            found[network.label] = f"the table has no layer {lacking[0]}{more}"
    return found


def fit_calibration(table: LatencyTable, networks: Sequence[MeasuredNetwork]) -> Calibration | None:
    """Return the calibration from these networks, or None if the table prices none of them."""
    sums = np.array([table.hot_ms(network.layers).sum() for network in networks])
    priced = np.isfinite(sums)
    if not priced.any():
        return None
    sums = sums[priced]
    measured = np.array([network.latency_ms for network in networks])[priced]
    layers = np.array([len(network.layers) for network in networks])[priced]
    most_ms = (1 - LEAST_SHARE) * float(table.rows["hot_ms"].to_numpy().min())
    call_ms = 0.0
    if len(sums) >= LEAST_FOR_CALL and _call_is_worth_it(sums, layers, measured, most_ms):
        call_ms = _fit_call(sums, layers, measured, most_ms)
    logs = np.log(measured / (sums - call_ms * layers))
    middle = _middle(logs)
    residual = _residual(logs - middle, fitted=2 if call_ms else 1)
    return Calibration(
        math.exp(middle), residual, len(logs), _scale_std(residual, len(logs)),
        "scale-and-call" if call_ms else "scale", (call_ms,) if call_ms else (),
    )  # fmt: skip


def _middle(logs: Floats) -> float:
    """Return the Hodges-Lehmann estimate: the median of the means of all pairs, selves among them.

    Source: Hodges and Lehmann 1963; 95 % as efficient as the mean for normal values.
    """
    i, j = np.triu_indices(len(logs))
    return float(np.median((logs[i] + logs[j]) / 2))


def _residual(deviations: Floats, *, fitted: int) -> float | None:
    if len(deviations) <= fitted:
        return None
    return float(np.sqrt((deviations**2).sum() / (len(deviations) - fitted)))


def _scale_std(residual: float | None, n: int) -> float | None:
    """Return the standard error of `_middle`, and what one session differs from another by."""
    if residual is None:
        return None
    return math.hypot(residual * math.sqrt(math.pi / 3 / n), SESSION_STD)


def _fit_call(sums: Floats, layers: Floats, measured: Floats, most_ms: float) -> float:
    """Return the call in milliseconds, 0 to ``most_ms``: relative least squares with a scale."""
    columns = np.stack([sums, -layers], axis=1) / measured[:, None]
    scale, scaled_call = np.linalg.lstsq(columns, np.ones(len(measured)), rcond=None)[0]
    return float(np.clip(scaled_call / scale, 0.0, most_ms)) if scale > 0 else 0.0


def _call_is_worth_it(sums: Floats, layers: Floats, measured: Floats, most_ms: float) -> bool:
    """Return whether each network is predicted better by the others' call and scale.

    By more than the standard error of the mean gain, so that chance seldom makes it so.
    """
    gains = []
    for number in range(len(sums)):
        rest = np.arange(len(sums)) != number
        errors = []
        for call_ms in (0.0, _fit_call(sums[rest], layers[rest], measured[rest], most_ms)):
            logs = np.log(measured / (sums - call_ms * layers))
            errors.append(abs(float(logs[number]) - _middle(logs[rest])))
        gains.append(errors[0] - errors[1])
    chance = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return float(np.mean(gains)) > max(chance, LEAST_GAIN)


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
        raise Uncalibrated(table.name, unpriced_networks(table))
    if not calibration.is_additive:
        raise NotAdditive(table.name, calibration.kind)
    return calibration.shares_ms(table.hot_ms([layer.key for layer in layers]))


def choose_networks(space: LayerSpace, *, n: int = 9, seed: int = 0) -> tuple[Network, ...]:
    """Return up to ``n`` networks that span the space, by multiply-adds, before any is measured.

    Of a uniform sample, each is the one that most lessens the squared distances of all to the
    nearest chosen (greedy k-medoids). Distances are of what moves a network's error: multiply-adds,
    weights and their share in large kernels, depth, activations; each over its spread.
    """
    genotypes = space.sample(CANDIDATES, np.random.default_rng(seed), uniform_over="networks")
    candidates = sorted(
        {space.decode(row) for row in genotypes}, key=lambda net: (_madds(net), format_network(net))
    )
    features = np.array([_features(network) for network in candidates])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-12)
    squared = ((features[:, None] - features) ** 2).sum(axis=2)
    nearest = np.full(len(candidates), np.inf)
    chosen: set[int] = set()
    for _ in range(min(n, len(candidates))):
        best = int(np.minimum(nearest, squared).sum(axis=1).argmin())
        chosen.add(best)
        nearest = np.minimum(nearest, squared[best])
    return tuple(candidates[number] for number in sorted(chosen))


def _features(network: Network) -> tuple[float, ...]:
    """Return logarithms of sizes, and shares, that whole-network errors depend on."""
    layers = [_layer_counts(layer) for layer in network.layers]
    madds, params, large, activations = (sum(column) for column in zip(*layers, strict=True))
    return (
        math.log(madds), math.log(params), math.log(len(layers)), math.log(activations),
        large / madds,
    )  # fmt: skip


@cache
def _layer_counts(layer: Layer) -> tuple[int, int, int, int]:
    """Return multiply-adds, parameters, multiply-adds of large kernels, and output elements."""
    network = Network((layer,))
    madds, output = network.madds, layer.output
    large = madds if getattr(layer, "kernel", 1) > 3 else 0
    return madds, network.params, large, output.height * output.width * output.channels


def _madds(network: Network) -> int:
    return sum(_layer_counts(layer)[0] for layer in network.layers)
