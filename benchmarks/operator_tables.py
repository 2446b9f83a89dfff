"""Operator tables: what single operators say of layers, chains and cells that were never timed.

One table by layers and one by operators, calibrated on the same chains; then unseen chains and 20
random networks of NASNet cells, half of them on 32 pixel images, half with the stem for large ones,
each measured twice. Beside the table's own error (the scale is that of chains): that of sums with
the runtime's call left in every row, and that with a scale from the other half of the same kind of
network (``own_scale``).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.claim import print_claim
from benchmarks.recorded import unseen_networks
from device_agents.measurement import DEFAULT_PLAN, Agent
from device_agents.open import open_agent
from latency_tables.calibration import choose_networks
from latency_tables.granularity import units_to_price
from latency_tables.operator_pricing import call_ms, sum_operators
from latency_tables.predictor import predict_network
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from latency_tables.validation import ValidatedNetwork, validate
from networks.cell_operators import CELL_OPERATORS
from networks.cells import Block, Cell, CellNetwork, Edge, unread_states
from networks.graph import Shape
from networks.names import NamedNetwork, name_network
from networks.network import Network
from networks.operators import lower_unit, operators_of, operators_of_graph
from networks.spaces import make_space

CHAINS_PCT, CELLS_PCT = 4.0, 8.0
CLAIM = (
    f"a table by operators predicts unseen chains with MAPE under {CHAINS_PCT:g} %, and networks"
    f" of random NASNet cells under {CELLS_PCT:g} %"
)
SEED = 5
BLOCKS = 5
PLAN = replace(DEFAULT_PLAN, min_span_s=30.0)  # as `hilnas profile --span 30s`
Floats = npt.NDArray[np.float64]


def random_cell(rng: np.random.Generator) -> Cell:
    """Return a cell of 5 blocks, each two random operators on random states, added."""

    def edge(index: int) -> Edge:
        return Edge(str(rng.choice(list(CELL_OPERATORS))), int(rng.integers(2 + index)))

    blocks = tuple(Block(edge(index), edge(index)) for index in range(BLOCKS))
    return Cell(blocks, unread_states(blocks))


def random_cell_networks(n: int, seed: int, *, resolution: int) -> dict[str, CellNetwork]:
    """Return ``n`` networks by their cell strings, every other one with the large stem."""
    rng = np.random.default_rng(seed)
    networks = {}
    for number in range(n):
        normal, reduction = random_cell(rng), random_cell(rng)
        if number % 2:
            network = CellNetwork(
                Shape(resolution, resolution, 3), "imagenet", 32, 1, 44, normal, reduction, 1000
            )
        else:
            network = CellNetwork(Shape(32, 32, 3), "cifar", 32, 1, 16, normal, reduction, 10)
        networks[name_network(network)] = network
    return networks


def errors_pct(predicted: Sequence[float] | Floats, measured: Sequence[float] | Floats) -> Floats:
    """Return (predicted - measured) / measured of each, in percent."""
    errors: Floats = 100 * (np.asarray(predicted) / np.asarray(measured) - 1)
    return errors


def describe(name: str, errors: Floats) -> dict[str, float]:
    """Return mean |error| and mean error."""
    return {
        f"{name}_mape_pct": float(np.abs(errors).mean()),
        f"{name}_bias_pct": float(errors.mean()),
    }


def sums_ms(table: LatencyTable, networks: Sequence[NamedNetwork]) -> Floats:
    """Return the sum of each network's rows as they are, the call in each."""
    return np.array([table.hot_ms([o.key for o in operators_of(n)]).sum() for n in networks])


def layer_figures(
    by_layers: LatencyTable, by_operators: LatencyTable, space: str, resolution: int
) -> dict[str, float]:
    """Return the error of sums of operators on layers that were timed by themselves."""
    layers = make_space(space, resolution=resolution).layers
    measured = by_layers.hot_ms([layer.key for layer in layers])
    summed = sum_operators(by_operators, layers)
    parts = [operators_of_graph(lower_unit(layer)) for layer in layers]
    raw = [by_operators.hot_ms([o.key for o in part]).sum() for part in parts]
    large = measured > np.median(measured)
    errors = errors_pct(summed, measured)
    return (
        describe("layers", errors)
        | describe("layers_above_median", errors[large])
        | describe("layers_with_calls", errors_pct(np.array(raw), measured))
        | {"layers_p90_pct": float(np.quantile(np.abs(errors), 0.9))}
    )


def network_figures(
    name: str,
    table: LatencyTable,
    points: Sequence[ValidatedNetwork],
    networks: Sequence[NamedNetwork],
    with_calls: float,
) -> dict[str, float]:
    """Return the figures of some networks; ``with_calls`` is the scale of uncorrected sums."""
    measured = np.array([point.measured_ms for point in points])
    predicted = np.array([point.predicted_ms for point in points])
    raw = sums_ms(table, networks)
    passes = [abs(p.first_ms / p.second_ms - 1) for p in points]
    first = np.arange(len(points)) % 4 < 2  # of cells, whose stems take turns, both kinds
    ratios = measured / predicted
    factors = np.where(first, np.median(ratios[~first]), np.median(ratios[first]))
    return {
        **describe(name, errors_pct(predicted, measured)),
        **describe(f"{name}_with_calls", errors_pct(with_calls * raw, measured)),
        **describe(f"{name}_own_scale", errors_pct(factors * predicted, measured)),
        f"{name}_spearman": float(stats.spearmanr(predicted, measured).statistic),
        f"{name}_repeatability_pct": 100 * float(np.median(passes)),
        f"{name}_mean_ms": float(measured.mean()),
    }


def measure(
    agent: Agent, root: Path, space_name: str, resolution: int, n_chains: int, n_cells: int
) -> tuple[dict[str, float], list[str]]:
    """Return the figures, and a line a network."""
    space = make_space(space_name, resolution=resolution)
    calibration = choose_networks(space)
    chains: Mapping[str, Network] = unseen_networks(space, n_chains, SEED)
    cells = random_cell_networks(n_cells, SEED, resolution=resolution)
    units = units_to_price("operator", space.layers, cells.values())
    tables = []
    for name, wanted in (("layers", space.layers), ("operators", units)):
        directory = TableDirectory(root / name)
        result = profile(agent, wanted, directory, networks=calibration, plan=PLAN)
        tables.append(directory.load())
        print(
            f"{name}: {result.measured} of {result.layers} in {result.wall_s:.0f} s,"
            f" {result.unstable} unstable", file=sys.stderr,
        )  # fmt: skip
    by_layers, by_operators = tables
    assert by_layers.calibration is not None
    assert by_operators.calibration is not None
    networks: dict[str, NamedNetwork] = {**chains, **cells}
    validation = validate(
        agent, by_operators, networks, TableDirectory(root / "operators").journal, plan=PLAN,
        seed=SEED,
    )  # fmt: skip
    points = {point.network: point for point in validation.points}
    measured = {network.label: network.latency_ms for network in by_operators.networks}
    known = [network for network in calibration if name_network(network) in measured]
    with_calls = np.array([measured[name_network(n)] for n in known]) / sums_ms(by_operators, known)
    figures = {
        "layers": len(by_layers), "operators": len(by_operators),
        "call_us": 1e3 * call_ms(by_operators),
        "layer_scale": by_layers.calibration.scale,
        "operator_scale": by_operators.calibration.scale,
        "operator_scale_with_calls": float(np.median(with_calls)),
        **layer_figures(by_layers, by_operators, space_name, resolution),
    }  # fmt: skip
    groups: dict[str, list[str]] = {
        "chains": list(chains),
        "cells": list(cells),
        "cells_cifar": [name for name, cell in cells.items() if cell.stem == "cifar"],
        "cells_mobile": [name for name, cell in cells.items() if cell.stem == "imagenet"],
    }
    for group, names in groups.items():
        found = [name for name in names if name in points]
        figures |= network_figures(
            group, by_operators, [points[name] for name in found],
            [networks[name] for name in found], float(np.median(with_calls)),
        )  # fmt: skip
    layer_ms = [predict_network(by_layers, chains[name]).latency_ms for name in groups["chains"]]
    chain_ms = [points[name].measured_ms for name in groups["chains"]]
    figures |= describe("chains_by_layers", errors_pct(layer_ms, chain_ms))
    lines = [
        f"predicted {p.predicted_ms:8.3f}  measured {p.first_ms:8.3f}, {p.second_ms:8.3f} ms"
        f"  {p.error_pct:+6.2f} %  {p.network}"
        for p in validation.points
    ]
    return figures, lines


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="local")
    parser.add_argument("--space", default="accel-nasbench")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--chains", type=int, default=15)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--root", type=Path, help="folder of tables to use or to make")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, open_agent(options.device) as agent:
        figures, lines = measure(
            agent, options.root or Path(scratch), options.space, options.resolution,
            options.chains, options.cells,
        )  # fmt: skip
    holds = figures["chains_mape_pct"] < CHAINS_PCT and figures["cells_mape_pct"] < CELLS_PCT
    print_claim(CLAIM, figures, holds=holds, as_json=options.json, lines=lines)


if __name__ == "__main__":
    main()
