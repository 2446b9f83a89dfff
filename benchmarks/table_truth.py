"""Truth: a table's predictions beside random whole networks that calibration never saw.

Profiles the layers that these networks and the calibration networks have (``--table`` takes a
table that is there instead), then measures each network twice by new processes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.claim import print_claim
from device_agents.measurement import DEFAULT_PLAN
from device_agents.open import open_agent
from latency_tables.calibration import choose_networks
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.validation import Validation, validate
from networks.block_strings import format_network
from networks.network import Network
from networks.spaces import make_space

TARGET_MAPE_PCT = 3.0
TARGET_SPEARMAN = 0.98
CLAIM = (
    f"random whole networks are predicted with MAPE under {TARGET_MAPE_PCT:g} % and Spearman"
    f" over {TARGET_SPEARMAN:g}"
)
SEED = 20
PLAN = replace(DEFAULT_PLAN, min_span_s=30.0)  # as `hilnas profile --span 30s`


def choose_unseen(
    space_name: str, n: int, resolution: int, seed: int
) -> tuple[list[Network], list[Network]]:
    """Return the calibration networks, and ``n`` random others."""
    space = make_space(space_name, resolution=resolution)
    calibration = list(choose_networks(space))
    genotypes = space.sample(3 * n, np.random.default_rng(seed), uniform_over="networks")
    others = dict.fromkeys(space.decode(row) for row in genotypes)
    return calibration, [network for network in others if network not in calibration][:n]


def measure(
    address: str, *, space: str, n: int, resolution: int, seed: int, table: Path | None
) -> tuple[Validation, dict[str, float]]:
    """Return the validation, and the figures of the table it is about."""
    calibration, networks = choose_unseen(space, n, resolution, seed)
    layers = dict.fromkeys(
        layer for network in (*calibration, *networks) for layer in network.layers
    )
    with tempfile.TemporaryDirectory() as scratch, open_agent(address) as agent:
        directory = TableDirectory(table or Path(scratch) / "table")
        result = profile(agent, list(layers), directory, networks=calibration, plan=PLAN)
        print(f"table: {result.measured} layers, {result.wall_s:.0f} s", file=sys.stderr)
        loaded = directory.load()
        names = {format_network(network): network for network in networks}
        validation = validate(agent, loaded, names, directory.journal, plan=PLAN, seed=seed)
    assert loaded.calibration is not None
    return validation, {
        "layers": result.layers,
        "unstable": result.unstable,
        "scale": loaded.calibration.scale,
        "residual_pct": 100 * (loaded.calibration.residual or float("nan")),
        "table_wall_s": result.wall_s,
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="local")
    parser.add_argument("--space", default="mnasnet")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=SEED, help="draws the networks")
    parser.add_argument("--table", type=Path, help="folder of a table to use or to make")
    options = parser.parse_args()
    validation, about = measure(
        options.device, space=options.space, n=options.networks, resolution=options.resolution,
        seed=options.seed, table=options.table,
    )  # fmt: skip
    names = (
        "networks", "mape_pct", "bias_pct", "spearman", "kendall", "repeatability_pct",
        "madds_mape_pct", "madds_spearman",
    )  # fmt: skip
    figures = {name: float(getattr(validation, name)) for name in names}
    figures |= {"worst_pct": validation.worst.error_pct, **about}
    holds = figures["mape_pct"] < TARGET_MAPE_PCT and figures["spearman"] > TARGET_SPEARMAN
    lines = [
        f"predicted {point.predicted_ms:8.3f} ms  measured {point.first_ms:8.3f},"
        f" {point.second_ms:8.3f} ms  {point.error_pct:+6.2f} %  {point.network}"
        for point in validation.points
    ]
    print_claim(CLAIM, figures, holds=holds, as_json=options.json, lines=lines)


if __name__ == "__main__":
    main()
