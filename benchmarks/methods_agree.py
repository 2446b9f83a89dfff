"""Methods: whether process, packed and resident give the same layers the same latencies here.

60 layers of the 224-pixel mnasnet space that span kinds and sizes. Processes and packs by the
emulated phone's timing tool, which runs models on this machine's core; the resident method on that
core directly. Whatever differs by one factor, a calibration takes out: so one scale between two
methods is removed before they are compared. Process and packed are wall time, resident is CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from scipy.stats import spearmanr

from benchmarks.claim import print_claim
from benchmarks.emulated import phone_and_agent
from device_agents.floor import reference_pace_ns, summarize
from device_agents.local import STATISTIC, LocalAgent
from device_agents.measurement import DEFAULT_PLAN, ModelFile, Visit
from device_agents.packs import PackedPlan, PackVisit
from device_agents.processes import ProcessPlan, ProcessVisit, process_floor
from exporters.layer_files import export_layers
from exporters.pack_plan import plan_packs
from exporters.packs import ExportedPack, export_packs
from latency_tables.attribution import attribute_rows
from latency_tables.errors import PackDiscarded
from latency_tables.packed import choose_clean_layers
from networks.layers import Layer
from networks.spaces import make_space

TARGET_PCT = 5.0
CLAIM = f"after one scale the median layer differs by under {TARGET_PCT:g} % between two methods"
# No clock has to ramp up here, so that warm-ups and runs may be shorter than on a phone
CLEAN = ProcessPlan(
    min_processes=5, max_processes=7, warmup_s=0.05, runs=20, min_s=0.2, pause_s=0.0
)
PACKED = PackedPlan(warmup_s=0.05, runs=20, pause_s=0.0, clean=CLEAN)
Latencies = Mapping[str, float]
"""Nanoseconds by layer key."""


def by_phone(layers: list[Layer], folder: Path) -> tuple[Latencies, Latencies, int]:
    """Return what processes and packs give, in one session, and how many packs were discarded."""
    keys = {m.sha256: (layer.key, m.path) for layer, m in export_layers(layers, folder / "layers")}
    packs: dict[str, ExportedPack] = {}
    for deal in range(PACKED.shuffles):
        dealt = plan_packs(layers, PACKED.pack_size, seed=deal)
        packs |= {pack.sha256: pack for pack, _ in export_packs(dealt, folder / f"deal-{deal}")}
    files = [ModelFile(path, sha256) for sha256, (_, path) in keys.items()]
    files += [ModelFile(pack.path, sha256, "pack") for sha256, pack in packs.items()]
    clean: dict[str, list[ProcessVisit]] = {}
    packed: dict[str, list[float]] = {}
    discarded = 0
    with phone_and_agent(folder) as (_, agent):
        for outcome in agent.measure(files, PACKED):
            if isinstance(outcome, ProcessVisit):
                clean.setdefault(keys[outcome.sha256][0], []).append(outcome)
            elif isinstance(outcome, PackVisit):
                of_layers = packs[outcome.sha256].layers
                operators = [layer.operators for layer in of_layers]
                try:
                    times = attribute_rows(operators, outcome.profile, precision="float32")
                except PackDiscarded:
                    discarded += 1
                    continue
                for layer, time_ns in zip(of_layers, times, strict=True):
                    if time_ns is not None:
                        packed.setdefault(layer.key, []).append(time_ns)
    return (
        {key: process_floor(visits, CLEAN).hot_ns for key, visits in clean.items()},
        {key: statistics.median(values) for key, values in packed.items()},
        discarded,
    )


def by_residents(layers: list[Layer], folder: Path) -> Latencies:
    """Return what the resident method gives."""
    keys = {m.sha256: (layer.key, m.path) for layer, m in export_layers(layers, folder / "layers")}
    files = [ModelFile(path, sha256) for sha256, (_, path) in keys.items()]
    found: dict[str, list[Visit]] = {}
    with LocalAgent() as agent:
        for outcome in agent.measure(files, DEFAULT_PLAN):
            if isinstance(outcome, Visit):
                found.setdefault(keys[outcome.sha256][0], []).append(outcome)
    pace_ns = reference_pace_ns([visit for visits in found.values() for visit in visits])
    return {
        key: summarize(visits, STATISTIC, DEFAULT_PLAN, pace_ns=pace_ns).hot_ns
        for key, visits in found.items()
    }


def compare(ours: Latencies, theirs: Latencies) -> dict[str, float]:
    """Return how two methods differ over the layers that both have, after one scale."""
    both = sorted(ours.keys() & theirs.keys())
    ratios = [theirs[key] / ours[key] for key in both]
    scale = statistics.median(ratios)
    apart = sorted(abs(ratio / scale - 1) * 100 for ratio in ratios)
    rank = spearmanr([ours[key] for key in both], [theirs[key] for key in both])
    return {
        "layers": len(both),
        "scale": scale,
        "median_pct": statistics.median(apart),
        "p90_pct": apart[int(0.9 * len(apart))],
        "spearman": float(rank.statistic),
    }


def measure(*, layers: int = 60) -> dict[str, float]:
    """Return the figures over so many layers."""
    chosen = list(choose_clean_layers(make_space("mnasnet", resolution=224).layers, layers))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        process, packed, discarded = by_phone(chosen, folder)
        phone_s = time.perf_counter() - started
        methods = {"process": process, "packed": packed, "resident": by_residents(chosen, folder)}
    figures = {
        f"{a}_{b}_{name}": value
        for a, b in combinations(methods, 2)
        for name, value in compare(methods[a], methods[b]).items()
    }
    return {
        **figures,
        "packs_discarded": discarded,
        "fastest_us": min(process.values()) / 1e3,
        "slowest_us": max(process.values()) / 1e3,
        "phone_s": phone_s,
        "wall_s": time.perf_counter() - started,
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layers", type=int, default=60)
    options = parser.parse_args()
    figures = measure(layers=options.layers)
    medians = [value for name, value in figures.items() if name.endswith("median_pct")]
    print_claim(CLAIM, figures, holds=max(medians) < TARGET_PCT, as_json=options.json)


if __name__ == "__main__":
    main()
