"""Search with your own idea of quality, from a notebook or a script.

Profiles a small space on this machine (or goes on where it was), searches it with a function of
yours as the evaluator, and exports the best network. Run it twice: the second time nothing is
measured again.

    python examples/own_evaluator.py [DIRECTORY]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device_agents.open import open_agent
from latency_tables.calibration import choose_networks
from latency_tables.predictor import compile_predictor
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.spaces import make_space
from networks.spaces.space import Genotypes
from search.notebook import Run


def quality(genotypes: Genotypes) -> npt.NDArray[np.float64]:
    """Prefer large kernels and many layers: put your own estimate here."""
    kernels, layers = genotypes[:, 1::4].sum(axis=1), genotypes[:, 2::4].sum(axis=1)
    return np.asarray((0.6 * kernels + 0.4 * layers) / 10, dtype=np.float64)


def main(directory: Path) -> None:
    """Profile, search, export, and print what came of each."""
    space = make_space("accel-nasbench", resolution=32)
    with open_agent("local") as agent:
        result = profile(
            agent, space.layers, TableDirectory(directory / "table"),
            networks=choose_networks(space),
        )  # fmt: skip
    table = LatencyTable.load(result.table)
    some = space.sample(10_000, np.random.default_rng(0))
    target_ms = float(np.quantile(compile_predictor(table, space).predict(some), 0.2))
    print(f"{result.measured} layers; a fifth of the space takes under {target_ms:.3f} ms")
    run = Run.search(
        space, table, quality,
        target_ms=target_ms, searcher="local", budget=300, out=directory / "run",
    )  # fmt: skip
    if run.best is None:
        print("no network met the target")
        return
    model = run.export(directory / "best.tflite")
    print(
        f"best of {run.result.distinct} networks: quality {run.best.quality:.3f} at"
        f" {run.best.latency_ms:.3f} ms, {model.path.name} with {len(model.operators)} operators"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-evaluator"))
