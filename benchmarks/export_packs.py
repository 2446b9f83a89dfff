"""Packs: seconds, bytes and memory of the whole 224-pixel mnasnet space, as packs and as files.

Each export is a process of its own, so that its peak memory is its own: of a sample that is spread
over the space and holds its largest layer, of all layers, and again where all is there already.
What matters is how much of each further MiB on disk stays in memory: all of it if anything were
kept. The allocator may hold freed blocks about the size of one pack, so it is not exactly zero.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.claim import print_claim
from exporters.layer_export import export_layer_files
from exporters.pack_plan import PACK_SIZE, layer_bytes
from networks.layers import Layer
from networks.spaces import make_space

SAMPLE = 200
TARGET_KEPT = 0.1
CLAIM = (
    f"of what all layers add to {SAMPLE} of them at most {TARGET_KEPT:.0%} stays in memory,"
    " and what is there is found again faster than it was exported"
)


def choose_layers(resolution: int, limit: int | None) -> tuple[Layer, ...]:
    """Return the space's layers; with ``limit``, so many spread over it, the largest with them."""
    layers = make_space("mnasnet", resolution=resolution).layers
    if limit is None:
        return layers
    largest = max(layers, key=layer_bytes)
    spread = (layers[number * len(layers) // limit] for number in range(limit))
    return tuple(dict.fromkeys([largest, *spread]))[:limit]


def export(directory: Path, *, resolution: int, limit: int | None, pack: int) -> dict[str, float]:
    """Export in this process and return what it took; ``pack`` 0 makes a file a layer."""
    layers = choose_layers(resolution, limit)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started_s, cpu_started_s = time.perf_counter(), time.process_time()
    done = export_layer_files(layers, directory, pack_size=pack or None)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "layers": done.layers,
        "files": done.written + done.kept,
        "kept": done.kept,
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": time.process_time() - cpu_started_s,
        "total_mib": done.size_bytes / 2**20,
        "growth_mib": (peak_kib - before_kib) / 1024,
    }


def measure(*, resolution: int, pack: int, limit: int | None) -> dict[str, float]:
    """Return the figures of packs and of single files; ``limit`` takes only so many layers."""
    figures: dict[str, float] = {}
    for name, size in (("packs", pack), ("files", 0)):
        with tempfile.TemporaryDirectory() as folder:
            sample = _in_child(
                Path(folder, "sample"), resolution, min(SAMPLE, limit or SAMPLE), size
            )
            whole = _in_child(Path(folder, "whole"), resolution, limit, size)
            again = _in_child(Path(folder, "whole"), resolution, limit, size)
        assert again["kept"] == whole["files"]
        for figure in ("layers", "files", "wall_s", "cpu_s", "total_mib", "growth_mib"):
            figures[f"{name}_{figure}"] = whole[figure]
        figures[f"{name}_sample_growth_mib"] = sample["growth_mib"]
        added_mib = whole["total_mib"] - sample["total_mib"]
        if added_mib > 0:  # else the sample is all there is
            more_mib = whole["growth_mib"] - sample["growth_mib"]
            figures[f"{name}_kept_in_memory"] = more_mib / added_mib
        figures[f"{name}_resume_s"] = again["wall_s"]
        figures[f"{name}_resume_growth_mib"] = again["growth_mib"]
    return figures


def _in_child(directory: Path, resolution: int, limit: int | None, pack: int) -> dict[str, float]:
    command = [
        sys.executable, "-m", __spec__.name, "--export", str(directory),
        "--resolution", str(resolution), "--pack", str(pack), "--limit", str(limit or 0),
    ]  # fmt: skip
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=3600)
    found: dict[str, float] = json.loads(child.stdout)
    return found


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--pack", type=int, default=PACK_SIZE)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit: int | None = options.limit or None
    if options.export:
        figures = export(
            options.export, resolution=options.resolution, limit=limit, pack=options.pack
        )
        print(json.dumps(figures))
        return
    figures = measure(resolution=options.resolution, pack=options.pack, limit=limit)
    holds = all(
        figures.get(f"{name}_kept_in_memory", 1.0) <= TARGET_KEPT
        and figures[f"{name}_resume_s"] < figures[f"{name}_wall_s"]
        for name in ("packs", "files")
    )
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
