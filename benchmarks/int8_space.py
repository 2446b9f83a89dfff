"""int8: every layer of the 224-pixel mnasnet space and random whole networks of it.

Each is exported with random weights, calibrated on random images, prepared by the runtime, run on
another image and compared with float32. A failure is a model that cannot be exported, prepared or
run, or that one XNNPACK delegate does not take whole. Seconds are those of the export alone.
Memory is that of this process, which keeps no model; growth is from the peak of the first half of
the layers or networks to that of the second.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.claim import print_claim
from exporters.delegation import read_delegation
from exporters.direct import DirectExporter
from exporters.errors import DamagedModel, ExportError
from exporters.int8 import Int8Exporter
from exporters.runner import Runner
from exporters.weights import random_weights
from networks.graph import Graph
from networks.layers import lower_layer
from networks.spaces import make_space

CLAIM = "every layer of the mnasnet space and every network drawn exports and runs whole in int8"
KINDS = ("export", "prepare", "run", "whole")
NETWORKS = 200
REPORT_EVERY_S = 10.0


class Failure(Exception):
    """A model that is not what was promised; ``kind`` is one of `KINDS`."""

    def __init__(self, kind: str, detail: object) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class Trial:
    """Exports graphs one after another and keeps figures of them only."""

    def __init__(self) -> None:
        self.exporter, self.reference = Int8Exporter(), DirectExporter()
        self.export_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self.errors_pct: list[float] = []
        self.size_bytes = 0

    def check(self, graph: Graph) -> None:
        """Export, prepare, run and compare a graph.

        Raises:
            Failure: at the first step that goes wrong.
        """
        weights = random_weights(graph)
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        try:
            data = self.exporter.export(graph, weights)
        except (ExportError, ValueError, RuntimeError) as error:
            raise Failure("export", error) from error
        self.export_ms.append((time.perf_counter() - started_s) * 1e3)
        self.cpu_ms.append((time.process_time() - cpu_started_s) * 1e3)
        self.size_bytes += len(data)
        image = _image(graph)
        try:
            delegation, runner = read_delegation(data), Runner(data)
        except DamagedModel as error:
            raise Failure("prepare", error) from error
        if not delegation.is_whole:
            raise Failure("whole", delegation)
        try:
            (found,) = runner.run(image)
        except RuntimeError as error:
            raise Failure("run", error) from error
        (expected,) = Runner(self.reference.export(graph, weights)).run(image)
        span = float(expected.max() - expected.min()) or 1.0
        self.errors_pct.append(float(np.sqrt(np.mean((found - expected) ** 2))) / span * 100)

    def figures(self, name: str) -> dict[str, float]:
        """Return what the exports took and how far their outputs are from float32."""
        if not self.errors_pct:
            return {f"{name}s": 0}
        return {
            f"{name}s": len(self.export_ms),
            f"{name}_mean_ms": float(np.mean(self.export_ms)),
            f"{name}_mean_cpu_ms": float(np.mean(self.cpu_ms)),
            f"{name}_max_ms": max(self.export_ms),
            f"{name}_export_s": sum(self.export_ms) / 1e3,
            f"{name}_total_mib": self.size_bytes / 2**20,
            f"{name}_error_median_pct": float(np.median(self.errors_pct)),
            f"{name}_error_max_pct": max(self.errors_pct),
        }


def measure(
    *, resolution: int, n_layers: int | None, n_networks: int, seed: int
) -> tuple[dict[str, float], list[str]]:
    """Return the figures, and a line a failure."""
    space = make_space("mnasnet", resolution=resolution)
    layers = space.layers
    if n_layers is not None:  # spread over the whole space
        layers = tuple(layers[i * len(layers) // n_layers] for i in range(n_layers))
    genotypes = space.sample(n_networks, np.random.default_rng(seed), uniform_over="networks")
    graphs = {
        "layer": ((layer.key, lower_layer(layer)) for layer in layers),
        "network": (
            (f"network {number}", space.decode(row).graph()) for number, row in enumerate(genotypes)
        ),
    }
    started_s, failures = time.perf_counter(), list[str]()
    kinds: Counter[str] = Counter()
    figures: dict[str, float] = {}
    for name, named in graphs.items():
        trial, resident_mib = Trial(), list[float]()
        for label, graph in _reported(named, name):
            try:
                trial.check(graph)
            except Failure as failure:
                kinds[failure.kind] += 1
                failures.append(f"{label}: {failure}")
            resident_mib.append(_resident_mib())
        figures |= trial.figures(name)
        if resident_mib:
            half = len(resident_mib) // 2
            figures[f"{name}_growth_mib"] = max(resident_mib[half:]) - max(resident_mib[: half + 1])
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures |= {f"failures_{kind}": kinds[kind] for kind in KINDS}
    figures |= {"peak_memory_mib": peak_kib / 1024, "wall_s": time.perf_counter() - started_s}
    return figures, failures


def _image(graph: Graph) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = graph.inputs[0]
    size = (1, shape.height, shape.width, shape.channels)
    return np.random.default_rng(1).standard_normal(size, np.float32)


def _reported(named: Iterable[tuple[str, Graph]], name: str) -> Iterator[tuple[str, Graph]]:
    """Pass graphs on and say on standard error now and then how far it is."""
    said_s = time.perf_counter()
    for number, item in enumerate(named):
        yield item
        if time.perf_counter() - said_s > REPORT_EVERY_S:
            said_s = time.perf_counter()
            print(f"{name} {number + 1}, {_resident_mib():.0f} MiB", file=sys.stderr, flush=True)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--layers", type=int, help="so many, spread over the space")
    parser.add_argument("--networks", type=int, default=NETWORKS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures, failures = measure(
        resolution=options.resolution,
        n_layers=options.layers,
        n_networks=options.networks,
        seed=options.seed,
    )
    claim = CLAIM if options.layers is None else f"of a sample only: {CLAIM}"
    print_claim(claim, figures, holds=not failures, as_json=options.json, lines=failures)


if __name__ == "__main__":
    main()
