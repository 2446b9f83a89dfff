"""Calibration: what ties a sum of layers to a whole network.

    latency of a network = scale x sum over its layers of a share, by default the row

A layer on its own keeps its weights in the cache and a network does not, so sums are up to 10 %
low: the scale, the Hodges-Lehmann middle of measured / summed on logarithms, as precise as a mean
and not moved by one or two networks that were disturbed. One of two terms may join it:

    call    each layer on its own pays for the call of the runtime, about 1 us here, a network once
    cold    a network finds part of what a layer touches as cold as a first invocation does

A term is taken only where leave-one-out cross-validation over the calibration networks says so, by
more than one standard error of the gain. Shares stay positive, and sums stay sums. What it is worth
on networks that were not fitted, and what is left, is printed by `benchmarks.calibration_choice`:
in float32, networks whose weights and largest activation exceed 11 to 16 MB here slow down by more
than any sum over layers knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from latency_tables.errors import NotAdditive, Uncalibrated
from latency_tables.granularity import require_layers_table
from latency_tables.table import (
    LEAST_SHARE,
    Calibration,
    CalibrationKind,
    Floats,
    LatencyTable,
    MeasuredNetwork,
)
from networks.block_strings import format_network
from networks.layers import Layer
from networks.network import Network
from networks.spaces.space import LayerSpace

NETWORKS = 20
"""Calibration networks of a space: with 9, half of the terms that hold are not seen to."""
CANDIDATES = 200
LEAST_FOR_TERM = 6  # networks, without which cross-validation says nothing
LEAST_GAIN = 1e-4  # of relative error; less is not worth a number
SESSION_STD = 0.01
"""Relative standard deviation of what all networks share in one session and not in another."""


def calibrate(table: LatencyTable, *, scale_only: bool = False) -> LatencyTable:
    """Return the table with the calibration that its rows and networks give, if any does.

    A network with a layer that has no row does not count, see `unpriced_networks`.
    """
    fit = fit_calibration(table, table.networks, scale_only=scale_only)
    return replace(table, calibration=fit)


def unpriced_networks(table: LatencyTable) -> dict[str, str]:
    """Return the calibration networks that do not count, with the first layer that has no row."""
    found = {}
    for network in table.networks:
        lacking = [key for key in network.layers if key not in table]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            found[network.label] = f"the table has no layer {lacking[0]}{more}"
    return found


@dataclass(frozen=True, slots=True)
class _Term:
    """What joins the sums of rows, times a coefficient between 0 and ``most``."""

    kind: CalibrationKind
    values_ms: Floats  # by network
    most: float


def fit_calibration(
    table: LatencyTable, networks: Sequence[MeasuredNetwork], *, scale_only: bool = False
) -> Calibration | None:
    """Return the calibration from these networks, or None if the table prices none of them.

    Args:
        scale_only: whether no term may join the scale.
    """
    sums = np.array([table.hot_ms(network.layers).sum() for network in networks])
    counting = [network for network, ms in zip(networks, sums, strict=True) if np.isfinite(ms)]
    if not counting:
        return None
    sums = sums[np.isfinite(sums)]
    measured = np.array([network.latency_ms for network in counting])
    terms = [] if scale_only or len(sums) < LEAST_FOR_TERM else _terms(table, counting)
    gains = [_gain(sums, term, measured) for term in terms]
    kind: CalibrationKind = "scale"
    coefficients: tuple[float, ...] = ()
    if gains and max(gains) > 0:
        term = terms[int(np.argmax(gains))]
        coefficient = _fit_term(sums, term.values_ms, measured, term.most)
        if coefficient > 0:
            sums = sums + coefficient * term.values_ms
            usual = (_usual_excess(table),) if term.kind == "scale-and-cold" else ()
            kind, coefficients = term.kind, (coefficient, *usual)
    logs = np.log(measured / sums)
    middle = _middle(logs)
    residual = _residual(logs - middle, fitted=1 if kind == "scale" else 2)
    return Calibration(
        math.exp(middle), residual, len(logs), _scale_std(residual, len(logs)), kind, coefficients
    )


def _terms(table: LatencyTable, networks: Sequence[MeasuredNetwork]) -> list[_Term]:
    """Return the terms of these networks; none of cold samples where some are missing."""
    layers = np.array([len(network.layers) for network in networks], dtype=np.float64)
    most_ms = (1 - LEAST_SHARE) * float(table.rows["hot_ms"].to_numpy().min())
    found = [_Term("scale-and-call", -layers, most_ms)]
    excess = [
        np.maximum(table.cold_ms(network.layers) - table.hot_ms(network.layers), 0.0).sum()
        for network in networks
    ]
    if np.isfinite(excess).all():
        found.append(_Term("scale-and-cold", np.array(excess), 1.0))
    return found


def _usual_excess(table: LatencyTable) -> float:
    """Return the median of (cold - row) / row."""
    hot, cold = (table.rows[name].to_numpy() for name in ("hot_ms", "cold_ms"))
    return float(np.nanmedian(np.maximum(cold / hot - 1, 0.0)))


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


def _fit_term(sums: Floats, values: Floats, measured: Floats, most: float) -> float:
    """Return the term's coefficient, 0 to ``most``, by relative least squares with a scale."""
    columns = np.stack([sums, values], axis=1) / measured[:, None]
    scale, scaled = np.linalg.lstsq(columns, np.ones(len(measured)), rcond=None)[0]
    return float(np.clip(scaled / scale, 0.0, most)) if scale > 0 else 0.0


def _gain(sums: Floats, term: _Term, measured: Floats) -> float:
    """Return how much better the others predict each network with the term, 0 if by chance.

    The mean gain of relative errors counts where it is more than its standard error.
    """
    gains = []
    for number in range(len(sums)):
        rest = np.arange(len(sums)) != number
        with_term = _fit_term(sums[rest], term.values_ms[rest], measured[rest], term.most)
        errors = []
        for coefficient in (0.0, with_term):
            logs = np.log(measured / (sums + coefficient * term.values_ms))
            errors.append(abs(float(logs[number]) - _middle(logs[rest])))
        gains.append(errors[0] - errors[1])
    chance = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    mean = float(np.mean(gains))
    return mean if mean > max(chance, LEAST_GAIN) else 0.0


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
    keys = [layer.key for layer in layers]
    return calibration.shares_ms(table.hot_ms(keys), table.cold_ms(keys))


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
