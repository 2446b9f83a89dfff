"""Reward: genotypes to rewards a second on one core, batch 100,000, 42 int8 decisions each.

A child process pinned to one core, with one BLAS thread, predicts and rewards the same batch again
and again. Beside it, over the same prices: places by matrix product, which is for spaces that do
not pack (and again without the BLAS kernel that the environment names, if it names one), a plain
NumPy gather, and a Python loop over a dictionary.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.claim import print_claim

TARGET = 20e6
CLAIM = f"genotypes become rewards at over {TARGET / 1e6:g} million a second on one core"
BATCH = 100_000
LOOP = 2_000
KERNEL = "OPENBLAS_CORETYPE"


def measure(repeats: int) -> dict[str, float]:
    """Return the figures of this process; run it pinned and with one BLAS thread."""
    import numpy as np

    from latency_tables.codes import MatrixCodes
    from latency_tables.predictor import Predictor
    from networks.spaces import make_space
    from search.rewards import Reward

    space, rng = make_space("mnasnet"), np.random.default_rng(0)
    predictor = Predictor(space, rng.uniform(0.02, 2.0, len(space.layers)))
    by_matrix = Predictor(space, predictor.prices_ms, codes=MatrixCodes)
    genotypes, quality = space.sample(BATCH, rng), rng.uniform(0.5, 0.8, BATCH)
    latency_ms = predictor.predict(genotypes)
    reward = Reward("absolute", float(np.median(latency_ms)), alpha=-0.07, beta=-0.07)
    million, million_quality = np.tile(genotypes, (10, 1)), np.tile(quality, 10)
    tables, matrix = space.block_prices(predictor.prices_ms), space.code_matrix()

    def gather() -> None:
        codes = genotypes.astype(np.int64) @ matrix
        sum(table[codes[:, block]] for block, table in enumerate(tables))

    price = dict(zip(space.layers, predictor.prices_ms.tolist(), strict=True))

    def loop() -> list[float]:
        return [sum(price[layer] for layer in space.decode(row).layers) for row in genotypes[:LOOP]]

    np.testing.assert_allclose(loop(), latency_ms[:LOOP], rtol=1e-12)
    best, median = _per_second(
        lambda: reward(quality, predictor.predict(genotypes)), BATCH, repeats
    )
    return {
        "rewards_per_s": median,
        "rewards_per_s_best": best,
        "predictions_per_s": _per_second(lambda: predictor.predict(genotypes), BATCH, repeats)[1],
        "rewards_per_s_batch_1e6": _per_second(
            lambda: reward(million_quality, predictor.predict(million)), 10 * BATCH, repeats // 10
        )[1],
        "by_matrix_per_s": _per_second(lambda: by_matrix.predict(genotypes), BATCH, repeats)[1],
        "numpy_gather_per_s": _per_second(gather, BATCH, 3)[1],
        "python_loop_per_s": _per_second(loop, LOOP, 3)[1],
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _per_second(work: Callable[[], object], n: int, repeats: int) -> tuple[float, float]:
    """Return the best and the median rate."""
    work()
    rates = []
    for _ in range(max(3, repeats)):
        started_s = time.perf_counter()
        work()
        rates.append(n / (time.perf_counter() - started_s))
    return max(rates), statistics.median(rates)


def _in_child(repeats: int, environment: dict[str, str]) -> dict[str, float]:
    argv = [sys.executable, "-m", "benchmarks.reward_speed", "--child", f"--repeats={repeats}"]
    core = max(os.sched_getaffinity(0))
    child = subprocess.run(
        argv,
        env={**environment, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    figures: dict[str, float] = json.loads(child.stdout)
    return figures


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.repeats)))
        return
    environment = dict(os.environ)
    figures = _in_child(options.repeats, environment)
    if environment.pop(KERNEL, None) is not None:
        own = _in_child(options.repeats, environment)
        figures["by_matrix_per_s_with_blas_own_kernel"] = own["by_matrix_per_s"]
    holds = figures["rewards_per_s"] > TARGET
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
