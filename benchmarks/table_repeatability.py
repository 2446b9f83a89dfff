"""Table: the whole 224-pixel mnasnet table of this machine, twice, independently.

Two profiles into two fresh journals: export, timing and journal on the clock. Then the share of
layers whose two hot floors lie within 3 % of each other. ``--layers N`` takes a random sample.
"""

from __future__ import annotations

import argparse
import random
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
from latency_tables.table import LatencyTable
from networks.spaces import make_space

TARGET_S = 360.0
TARGET_SHARE = 0.90
WITHIN = 0.03
PLAN = replace(DEFAULT_PLAN, min_span_s=60.0)  # as `hilnas profile --span 1m`
CLAIM = (
    f"the full mnasnet table takes under {TARGET_S / 60:g} minutes, and at least"
    f" {100 * TARGET_SHARE:g} % of its layers lie within {100 * WITHIN:g} % of a second run"
)


def measure(
    address: str, *, n_layers: int | None = None, folder: Path | None = None
) -> dict[str, float]:
    """Return the figures; ``folder`` keeps both tables."""
    space = make_space("mnasnet")
    layers = list(space.layers)
    if n_layers is not None:
        layers = random.Random(1).sample(layers, min(n_layers, len(layers)))
    networks = choose_networks(space)
    figures: dict[str, float] = {"layers": len(layers)}
    tables = []
    with tempfile.TemporaryDirectory() as scratch:
        for run in (1, 2):
            directory = TableDirectory((folder or Path(scratch)) / f"run{run}")
            with open_agent(address) as agent:
                result = profile(agent, layers, directory, networks=networks, plan=PLAN, seed=0)
            figures |= {
                f"wall_s_run{run}": result.wall_s,
                f"unstable_run{run}": result.unstable,
                f"invalid_run{run}": len(result.invalid),
            }
            tables.append(LatencyTable.load(result.table))
            print(f"run {run}: {result.measured} layers, {result.wall_s:.0f} s", file=sys.stderr)
    return figures | compare(*tables)


def compare(first: LatencyTable, second: LatencyTable) -> dict[str, float]:
    """Return how the hot floors of the layers in both tables differ."""
    layers = [layer for layer in first.rows["layer"].to_pylist() if layer in second]
    ours, theirs = first.hot_ms(layers), second.hot_ms(layers)
    difference = np.abs(ours / theirs - 1)
    figures = {
        "share_within_3_pct": float((difference <= WITHIN).mean()),
        "median_pct": 100 * float(np.median(difference)),
        "p90_pct": 100 * float(np.quantile(difference, 0.9)),
        "worst_pct": 100 * float(difference.max()),
        "visits_median": float(np.median(first.rows["visits"].to_numpy())),
        "one_pass_ms": float(ours.sum()),
    }
    for number, table in enumerate((first, second), start=1):
        if table.calibration is not None:
            figures[f"scale_run{number}"] = table.calibration.scale
    return figures


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="local")
    parser.add_argument("--layers", type=int, help="a random sample of so many")
    parser.add_argument("--keep", type=Path, help="folder for both tables and journals")
    options = parser.parse_args()
    figures = measure(options.device, n_layers=options.layers, folder=options.keep)
    wall_s = max(figures["wall_s_run1"], figures["wall_s_run2"])
    holds = wall_s < TARGET_S and figures["share_within_3_pct"] >= TARGET_SHARE
    claim = CLAIM if options.layers is None else f"of a sample only: {CLAIM}"
    print_claim(claim, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
