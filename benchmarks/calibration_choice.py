"""Calibration choice: what predicts networks that it was not fitted to, a scale alone or more.

    python -m benchmarks.calibration_choice --recorded ROOT     ROOT as in `benchmarks.recorded`

Of each condition 39 networks are known: 9 of the table's own session and 30 of two later ones, of
which the common factor to the first is taken out. Of these 9, or 20, calibrate at random and the
others are predicted; 300 times.

    scale_pct           mean error by a scale alone
    rule_pct            mean error by what `fit_calibration` makes of the 9 or 20
    term_share_pct      how often that is more than a scale
    residual_pct        error of each of the 39 by a scale, and what it fits, from the other 38
    working_set_pct     the same of an equation that is no sum over layers: their cold excess, in so
                        far as a network's weights and largest activation exceed a cache
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.claim import print_claim
from benchmarks.interval_coverage import rebuild
from benchmarks.recorded import CONDITIONS
from latency_tables.calibration import NETWORKS, fit_calibration
from latency_tables.store import TableDirectory
from latency_tables.table import Calibration, Floats, LatencyTable, MeasuredNetwork
from latency_tables.validation_history import validations
from networks.block_strings import parse_network
from networks.network import Network

CLAIM = "from 20 networks, the rule that may add a term is nowhere over 0.05 % worse than a scale"
SPLITS, FITTED = 300, (9, NETWORKS)
CACHES_MB = range(4, 21)
TOLERANCE_PCT = 0.05


def known_networks(directory: TableDirectory, table: LatencyTable) -> list[MeasuredNetwork]:
    """Return calibration and validation networks, without what all differ by between sessions."""
    points = validations(directory.journal, table)[-1].validation.points
    found = [
        MeasuredNetwork(
            point.network, tuple(layer.key for layer in parse_network(point.network).layers),
            point.measured_ms, None, 1, "ok", 1.0, "",
        )
        for point in points
    ]  # fmt: skip
    factor = np.median(_ratios(table, table.networks)) / np.median(_ratios(table, found))
    later = [replace(network, latency_ms=network.latency_ms * factor) for network in found]
    return [*table.networks, *later]


def compare_rules(
    table: LatencyTable, networks: list[MeasuredNetwork], n: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return mean errors, in percent, of networks that calibration did not see."""
    errors: dict[str, list[float]] = {"scale": [], "rule": [], "term": []}
    for _ in range(SPLITS):
        order = rng.permutation(len(networks))
        seen, unseen = ([networks[i] for i in part] for part in (order[:n], order[n:]))
        rule, scale = (fit_calibration(table, seen, scale_only=only) for only in (False, True))
        assert rule is not None
        assert scale is not None
        errors["rule"].append(_error(rule, table, unseen))
        errors["scale"].append(_error(scale, table, unseen))
        errors["term"].append(float(rule.kind != "scale"))
    return {
        f"scale_pct_of_{n}": 100 * float(np.mean(errors["scale"])),
        f"rule_pct_of_{n}": 100 * float(np.mean(errors["rule"])),
        f"term_share_pct_of_{n}": 100 * float(np.mean(errors["term"])),
    }


def compare_equations(table: LatencyTable, networks: list[MeasuredNetwork]) -> dict[str, float]:
    """Return leave-one-out errors, in percent, of a sum over layers and of one with a cache."""
    fitted = fit_calibration(table, networks)
    assert fitted is not None
    measured = np.array([network.latency_ms for network in networks])
    sums = _predict(fitted, table, networks)
    rows = dict(zip(table.rows["layer"].to_pylist(), table.rows["cold_ms"].to_numpy(), strict=True))
    excess = np.array(
        [sum(rows[key] for key in n.layers) - table.hot_ms(n.layers).sum() for n in networks]
    )
    bytes_a_number = 1 if table.condition.precision == "int8" else 4
    sizes_mb = np.array(
        [bytes_a_number * _working_set(parse_network(n.label)) / 2**20 for n in networks]
    )
    with_cache = {
        cache_mb: _left_out(
            np.stack([sums, np.clip(1 - cache_mb / sizes_mb, 0, None) * excess], axis=1), measured
        )
        for cache_mb in CACHES_MB
    }
    best = min(with_cache, key=lambda cache_mb: with_cache[cache_mb])
    return {
        "residual_pct": 100 * _left_out(sums[:, None], measured),
        "working_set_pct": 100 * with_cache[best],
        "cache_mb": float(best),
    }


def _ratios(table: LatencyTable, networks: Sequence[MeasuredNetwork]) -> Floats:
    return np.array([n.latency_ms / table.hot_ms(n.layers).sum() for n in networks])


def _predict(
    calibration: Calibration, table: LatencyTable, networks: Sequence[MeasuredNetwork]
) -> Floats:
    keys = [network.layers for network in networks]
    shares = (calibration.shares_ms(table.hot_ms(k), table.cold_ms(k)).sum() for k in keys)
    return np.array(list(shares))


def _error(calibration: Calibration, table: LatencyTable, networks: list[MeasuredNetwork]) -> float:
    predicted = _predict(calibration, table, networks)
    return float(np.abs(predicted / [n.latency_ms for n in networks] - 1).mean())


def _left_out(columns: Floats, measured: Floats) -> float:
    """Return the mean |error| of each network by relative least squares over the others."""
    relative, errors = columns / measured[:, None], []
    for number in range(len(measured)):
        rest = np.arange(len(measured)) != number
        weights = np.linalg.lstsq(relative[rest], np.ones(len(measured) - 1), rcond=None)[0]
        errors.append(abs(float(relative[number] @ weights) - 1))
    return float(np.mean(errors))


def _working_set(network: Network) -> int:
    """Return the numbers that a network touches again: weights, and its largest activation."""
    graph = network.graph()
    activations = (graph.shape(value) for value in range(len(graph.operators) + 1))
    return network.params + max(s.height * s.width * s.channels for s in activations)


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recorded", type=Path, required=True, help="see benchmarks.recorded")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    names = [c.name for c in CONDITIONS if (options.recorded / c.name / "validation.json").exists()]
    for name in names:
        directory = TableDirectory(options.recorded / name)
        table = rebuild(directory)
        networks = known_networks(directory, table)
        found = compare_equations(table, networks)
        for n in FITTED:
            found |= compare_rules(table, networks, n, np.random.default_rng(0))
        figures |= {f"{name}_{key}": value for key, value in found.items()}
    holds = all(
        figures[f"{name}_rule_pct_of_{NETWORKS}"]
        <= figures[f"{name}_scale_pct_of_{NETWORKS}"] + TOLERANCE_PCT
        for name in names
    )
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
