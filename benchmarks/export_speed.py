"""Export: milliseconds a layer over the whole 224-pixel mnasnet space.

Every layer gets random weights, is written to a temporary folder and hashed; one thread.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.claim import print_claim
from exporters.layer_files import export_layers
from networks.spaces import make_space

TARGET_MS = 6.0
CLAIM = f"a layer of the mnasnet space is exported in under {TARGET_MS:g} ms"


def measure(*, resolution: int = 224, limit: int | None = None) -> dict[str, float]:
    """Return the figures; ``limit`` exports only the first so many layers."""
    layers = make_space("mnasnet", resolution=resolution).layers[:limit]
    layer_ms: list[float] = []
    size_bytes = 0
    with tempfile.TemporaryDirectory() as folder:
        started_s = before_s = time.perf_counter()
        cpu_started_s = time.process_time()
        for _, model in export_layers(layers, Path(folder)):
            now_s = time.perf_counter()
            layer_ms.append((now_s - before_s) * 1e3)
            before_s = now_s
            size_bytes += model.size_bytes
        cpu_s, wall_s = time.process_time() - cpu_started_s, before_s - started_s
    return {
        "layers": len(layer_ms),
        "mean_ms": wall_s * 1e3 / len(layer_ms),
        "mean_cpu_ms": cpu_s * 1e3 / len(layer_ms),
        "median_ms": statistics.median(layer_ms),
        "p90_ms": sorted(layer_ms)[int(0.9 * len(layer_ms))],
        "max_ms": max(layer_ms),
        "total_mib": size_bytes / 2**20,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "wall_s": wall_s,
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    figures = measure(resolution=options.resolution, limit=options.limit)
    holds = figures["mean_ms"] < TARGET_MS
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
