"""Truth: a table's predictions beside random whole networks that calibration never saw.

Profiles the layers that these networks and the calibration networks have (``--table`` takes a
table that is there instead), then measures each network twice by new processes. Networks are drawn
before anything is measured; ``--seed`` draws others. ``--recorded ROOT`` measures nothing: tables
and validations of `benchmarks.recorded`, made anew from their journals.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.claim import print_claim
from benchmarks.interval_coverage import rebuild
from benchmarks.recorded import CONDITIONS
from device_agents.measurement import DEFAULT_PLAN
from device_agents.open import open_agent
from latency_tables.calibration import NETWORKS as CALIBRATION_NETWORKS
from latency_tables.calibration import choose_networks
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from latency_tables.validation import Validation, draw_networks, validate
from latency_tables.validation_history import validations
from networks.block_strings import format_network
from networks.network import Network
from networks.spaces import make_space

REPEATABILITY_PCT = 1.6
MAPE_PCT = 2.4
MAPE_TO_REPEATABILITY = 1.5
SPEARMAN = 0.99
CLAIM = (
    f"whole networks repeat within {REPEATABILITY_PCT:g} % and are predicted with MAPE up to"
    f" {MAPE_PCT:g} % and {MAPE_TO_REPEATABILITY:g} times that, with Spearman of {SPEARMAN:g}"
)
NETWORKS = 30
SEED = 20
PLAN = replace(DEFAULT_PLAN, min_span_s=60.0)  # as `hilnas profile --span 1m`
FIGURES = (
    "networks", "repeatability_pct", "passes_pct", "mape_pct", "bias_pct", "spearman", "kendall",
    "inside_pct", "madds_mape_pct", "madds_spearman",
)  # fmt: skip


def choose_unseen(
    space_name: str, n: int, resolution: int, seed: int
) -> tuple[list[Network], list[Network]]:
    """Return the calibration networks, and ``n`` random others."""
    space = make_space(space_name, resolution=resolution)
    calibration = list(choose_networks(space, n=CALIBRATION_NETWORKS))
    drawn = draw_networks(space, n + len(calibration), seed=seed)
    return calibration, [network for network in drawn if network not in calibration][:n]


def measure(
    address: str, *, space: str, n: int, resolution: int, precision: str, seed: int,
    table: Path | None,
) -> tuple[Validation, dict[str, float]]:  # fmt: skip
    """Return the validation, and the figures of the table it is about."""
    calibration, networks = choose_unseen(space, n, resolution, seed)
    layers = dict.fromkeys(
        layer for network in (*calibration, *networks) for layer in network.layers
    )
    with tempfile.TemporaryDirectory() as scratch, open_agent(address) as agent:
        directory = TableDirectory(table or Path(scratch) / "table")
        result = profile(
            agent, list(layers), directory, networks=calibration, precision=precision, plan=PLAN
        )
        print(f"table: {result.measured} layers, {result.wall_s:.0f} s", file=sys.stderr)
        loaded = directory.load()
        names = {format_network(network): network for network in networks}
        validation = validate(agent, loaded, names, directory.journal, plan=PLAN, seed=seed)
    about = {"layers": result.layers, "unstable": result.unstable, "table_wall_s": result.wall_s}
    return validation, {**about, **describe_calibration(loaded)}


def recall(root: Path) -> dict[str, tuple[Validation, LatencyTable]]:
    """Return the last validation of each recorded condition, with its table as made today."""
    found: dict[str, tuple[Validation, LatencyTable]] = {}
    for condition in CONDITIONS:
        directory = TableDirectory(root / condition.name)
        if directory.journal.exists():
            table = rebuild(directory)
            past = validations(directory.journal, table)
            found |= {condition.name: (past[-1].validation, table)} if past else {}
    return found


def describe_calibration(table: LatencyTable) -> dict[str, float]:
    """Return what ties the table's sums to whole networks."""
    found = table.calibration
    assert found is not None  # or there were no predictions
    return {
        "calibration_networks": found.networks,
        "scale": found.scale,
        "scale_std_pct": 100 * (found.scale_std or math.nan),
        **{f"{found.kind}_{i}": value for i, value in enumerate(found.coefficients)},
        "residual_pct": 100 * (found.residual or math.nan),
    }


def figures_of(validation: Validation) -> dict[str, float]:
    """Return the figures of a validation."""
    figures = {name: getattr(validation, name) for name in FIGURES}
    known = {name: float(value) for name, value in figures.items() if value is not None}
    return {**known, "worst_pct": validation.worst.error_pct}


def holds(validation: Validation) -> bool:
    """Return whether a validation meets the targets."""
    return (
        validation.repeatability_pct <= REPEATABILITY_PCT
        and validation.mape_pct
        <= min(MAPE_PCT, MAPE_TO_REPEATABILITY * validation.repeatability_pct)
        and validation.spearman >= SPEARMAN
    )


def lines_of(validation: Validation) -> list[str]:
    """Return a line a network."""
    return [
        f"predicted {point.predicted_ms:8.3f} ms  measured {point.first_ms:8.3f},"
        f" {point.second_ms:8.3f} ms  {point.error_pct:+6.2f} %  {point.network}"
        for point in validation.points
    ]


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="local")
    parser.add_argument("--space", default="mnasnet")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--precision", default="float32", choices=("float32", "float16", "int8"))
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--seed", type=int, default=SEED, help="draws the networks")
    parser.add_argument("--table", type=Path, help="folder of a table to use or to make")
    parser.add_argument("--recorded", type=Path, help="see benchmarks.recorded")
    options = parser.parse_args()
    if options.recorded is not None:
        recalled = recall(options.recorded)
        figures = {
            f"{name}_{figure}": value
            for name, (validation, table) in recalled.items()
            for figure, value in {**figures_of(validation), **describe_calibration(table)}.items()
        }
        met = all(holds(validation) for validation, _ in recalled.values())
        print_claim(f"recorded: {CLAIM}", figures, holds=met, as_json=options.json)
        return
    validation, about = measure(
        options.device, space=options.space, n=options.networks, resolution=options.resolution,
        precision=options.precision, seed=options.seed, table=options.table,
    )  # fmt: skip
    print_claim(
        f"{options.precision}: {CLAIM}", {**figures_of(validation), **about},
        holds=holds(validation), as_json=options.json, lines=lines_of(validation),
    )  # fmt: skip


if __name__ == "__main__":
    main()
