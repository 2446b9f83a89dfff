"""Reward: genotypes to rewards a second on one core, 42 int8 decisions each, in two precisions.

A child process pinned to one core, with one BLAS thread, predicts and rewards a batch of 100,000
and one of 1,000,000 again and again. Beside it, over the same prices: means with their standard
deviations, places by matrix product, which is for spaces that do not pack (and again without the
BLAS kernel that the environment names, if it names one), a plain NumPy gather, and a Python loop
over a dictionary. Another child rewards 10^8 different genotypes that come in batches, and says how
its peak memory grew after the first million.
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
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from benchmarks.claim import print_claim

if TYPE_CHECKING:
    from latency_tables.predictor import Latencies, Precision, Predictor
    from networks.spaces.space import Genotypes

TARGET = 40e6
MOST_GROWTH_MIB = 8.0
CLAIM = (
    f"genotypes become rewards at over {TARGET / 1e6:g} million a second on one core in float32,"
    " whatever the batch, and memory is flat to 10^8 of them"
)
BATCH = 100_000
BATCHES = {"1e5": 1, "1e6": 10}
STREAMED = 10**8
LOOP = 2_000
KERNEL = "OPENBLAS_CORETYPE"


def make_predictor(precision: Precision) -> Predictor:
    """Return the predictor of the full space with random prices and errors."""
    import numpy as np

    from latency_tables.predictor import Predictor
    from latency_tables.uncertainty import Uncertainty
    from networks.spaces import make_space

    space, rng = make_space("mnasnet"), np.random.default_rng(0)
    prices_ms = rng.uniform(0.02, 2.0, len(space.layers))
    known = Uncertainty(rng.uniform(0, 0.02, len(prices_ms)) * prices_ms, 0.01, 0.02)
    return Predictor(space, prices_ms, uncertainty=known, precision=precision)


def measure_speed(repeats: int) -> dict[str, float]:
    """Return the figures of this process; run it pinned and with one BLAS thread."""
    import numpy as np

    from latency_tables.codes import MatrixCodes
    from latency_tables.predictor import Predictor
    from search.rewards import Reward

    figures = {}
    precisions: tuple[Precision, ...] = (np.float32, np.float64)
    for precision in precisions:
        predictor, rng = make_predictor(precision), np.random.default_rng(1)
        few = predictor.space.sample(BATCH, rng)
        reward = Reward("absolute", float(np.median(predictor.predict(few))), -0.07, -0.07)
        for batch, times in BATCHES.items():
            genotypes = np.tile(few, (times, 1))
            quality: Latencies = rng.uniform(0.5, 0.8, len(genotypes)).astype(precision)

            def rewards(
                genotypes: Genotypes = genotypes, quality: Latencies = quality
            ) -> Latencies:
                return reward(quality, predictor.predict(genotypes))  # noqa: B023

            best, median = _per_second(rewards, len(genotypes), repeats // times)
            name = f"{precision.__name__}_{batch}"
            figures[f"{name}_per_s"], figures[f"{name}_per_s_best"] = median, best
        rate = _per_second(lambda: predictor.predict_with_std(few), BATCH, repeats // 4)[1]  # noqa: B023
        figures[f"{precision.__name__}_with_std_per_s"] = rate
    by_matrix = Predictor(predictor.space, predictor.prices_ms, codes=MatrixCodes)
    figures["by_matrix_per_s"] = _per_second(lambda: by_matrix.predict(few), BATCH, repeats // 4)[1]
    figures |= _measure_others(predictor, few)
    for name in ("numpy_gather", "python_loop"):
        figures[f"times_{name}"] = figures["float32_1e5_per_s"] / figures[f"{name}_per_s"]
    return figures


def _measure_others(predictor: Predictor, genotypes: Genotypes) -> dict[str, float]:
    """Return the rates of latencies alone, by the ways that anyone would write first."""
    import numpy as np

    space = predictor.space
    tables, matrix = space.block_prices(predictor.prices_ms), space.code_matrix()

    def gather() -> None:
        codes = genotypes.astype(np.int64) @ matrix
        sum(table[codes[:, block]] for block, table in enumerate(tables))

    price = dict(zip(space.layers, predictor.prices_ms.tolist(), strict=True))

    def loop() -> list[float]:
        return [sum(price[layer] for layer in space.decode(row).layers) for row in genotypes[:LOOP]]

    np.testing.assert_allclose(loop(), predictor.predict(genotypes[:LOOP]), rtol=1e-12)
    return {
        "numpy_gather_per_s": _per_second(gather, BATCH, 3)[1],
        "python_loop_per_s": _per_second(loop, LOOP, 3)[1],
    }


def measure_memory(n: int) -> dict[str, float]:
    """Return how fast ``n`` different genotypes are rewarded, and how peak memory grew meanwhile.

    The growth is counted from the first million on; the rate has their making in it.
    """
    import numpy as np

    from search.rewards import Reward

    predictor = make_predictor(np.float32)
    batches, reward = stream(predictor, n), Reward("absolute", 40.0, -0.07, -0.07)
    quality = np.full(BATCH, 0.7, np.float32)
    best, started_s, early_mib = -1.0, time.perf_counter(), 0.0
    for number, genotypes in enumerate(batches):
        best = max(best, float(reward(quality, predictor.predict(genotypes)).max()))
        if number == 10:
            early_mib = _peak_mib()
    return {
        "streamed": float(n),
        "streamed_per_s": n / (time.perf_counter() - started_s),
        "peak_memory_mib": _peak_mib(),
        "peak_memory_growth_mib": _peak_mib() - early_mib,
    }


def stream(predictor: Predictor, n: int) -> Iterator[Genotypes]:
    """Yield ``n`` different genotypes in batches: halves of a hundred thousand, paired anew."""
    import numpy as np

    base = predictor.space.sample(BATCH, np.random.default_rng(2))
    half, batch = base.shape[1] // 2, base.copy()
    for shift in range(n // BATCH):
        batch[: BATCH - shift, half:] = base[shift:, half:]
        batch[BATCH - shift :, half:] = base[:shift, half:]
        yield batch


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _per_second(work: Callable[[], object], n: int, repeats: int) -> tuple[float, float]:
    """Return the best and the median rate."""
    work()
    rates = []
    for _ in range(max(3, repeats)):
        started_s = time.perf_counter()
        work()
        rates.append(n / (time.perf_counter() - started_s))
    return max(rates), statistics.median(rates)


def _in_child(environment: dict[str, str], *arguments: str) -> dict[str, float]:
    core = max(os.sched_getaffinity(0))
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.reward_speed", *arguments],
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
    parser.add_argument("--streamed", type=int, default=STREAMED, help="genotypes that come by")
    parser.add_argument("--child", choices=("speed", "memory"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "speed":
        print(json.dumps(measure_speed(options.repeats)))
        return
    if options.child == "memory":
        print(json.dumps(measure_memory(options.streamed)))
        return
    environment = dict(os.environ)
    speed = ("--child=speed", f"--repeats={options.repeats}")
    figures = _in_child(environment, *speed)
    figures |= _in_child(environment, "--child=memory", f"--streamed={options.streamed}")
    if environment.pop(KERNEL, None) is not None:
        own = _in_child(environment, *speed)
        figures["by_matrix_per_s_with_blas_own_kernel"] = own["by_matrix_per_s"]
    rates = [figures[f"float32_{batch}_per_s"] for batch in BATCHES]
    is_flat = figures["peak_memory_growth_mib"] < MOST_GROWTH_MIB
    holds = min(rates) > TARGET and is_flat
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
