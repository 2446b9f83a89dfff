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
from exporters.exporter import export_network
from latency_tables.calibration import choose_networks
from latency_tables.predictor import compile_predictor
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.spaces import make_space
from networks.spaces.space import Genotypes
from search.config import RunConfig
from search.evaluators.function import FunctionEvaluator
from search.rewards import make_reward
from search.run import resume, run_search
from search.searchers import make_searcher


def main(directory: Path) -> None:
    """Profile, search, export, and print what came of each."""
    space = make_space("accel-nasbench", resolution=32)
    with open_agent("local") as agent:
        table = TableDirectory(directory / "table")
        result = profile(agent, space.layers, table, networks=choose_networks(space))
    predictor = compile_predictor(LatencyTable.load(result.table), space)
    rng = np.random.default_rng(0)
    target_ms = float(np.quantile(predictor.predict(space.sample(10_000, rng)), 0.2))
    print(f"{result.measured} layers; a fifth of the space takes under {target_ms:.3f} ms")

    def quality(genotypes: Genotypes) -> npt.NDArray[np.float64]:
        """Prefer large kernels and many layers: put your own estimate here."""
        kernels, layers = genotypes[:, 1::4].sum(axis=1), genotypes[:, 2::4].sum(axis=1)
        return np.asarray((0.6 * kernels + 0.4 * layers) / 10, dtype=np.float64)

    config = RunConfig(
        space="accel-nasbench",
        latency=f"table:{result.table}",
        evaluator="own",
        searcher="local",
        reward=make_reward("absolute", target_ms=target_ms),
        budget=300,
    )
    run = directory / "run"
    evaluator = FunctionEvaluator(quality, "own")
    searcher = make_searcher("local", space, seed=config.seed)
    parts = (space, predictor.predict, evaluator, searcher)
    if (run / "run.toml").exists():
        found = resume(run, *parts)
    else:
        found = run_search(config, *parts, out=run)
    if found.best is None:
        print("no network met the target")
        return
    model = export_network(space.decode(found.best.genotype), directory / "best.tflite")
    print(
        f"best of {found.distinct} networks: quality {found.best.quality:.3f} at"
        f" {found.best.latency_ms:.3f} ms, {model.path.name} with {len(model.operators)} operators"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-evaluator"))
