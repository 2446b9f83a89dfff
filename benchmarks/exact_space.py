"""Exact answers: processor seconds to count MnasNet's space, draw within a target, find fronts.

All at 1 us, of mnasnet@224 (7 blocks, 432^7 genotypes), each the median of repetitions that start
from the layers' prices. ``--recorded`` prices the layers by a recorded table; else they are made
from multiply-adds with noise. The same prices 25 times over stand for a phone. A small space is
checked against a list of all its networks: counts at every latency, bounds, and the front.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.claim import print_claim
from latency_tables.calibration import calibrated_ms
from latency_tables.exact import PricedSpace
from latency_tables.exact_front import layer_scores
from latency_tables.store import TableDirectory
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from tests.networks.small_spaces import all_networks, make_small_space, sums

TARGET_S = 0.5
CLAIM = f"count, distribution and exact front of mnasnet@224 each take under {TARGET_S:g} s at 1 us"
PHONE = 25
Floats = npt.NDArray[np.float64]


def make_prices(madds: Floats, seed: int = 0) -> Floats:
    """Return milliseconds a layer as a laptop's core may take: 20 us, 50 G madds/s, and noise."""
    noise = np.random.default_rng(seed).lognormal(0, 0.3, len(madds))
    prices: Floats = (0.02 + madds / 50e6) * noise
    return prices


def measure(space: ChainSpace, prices_ms: Floats, repeats: int, prefix: str) -> dict[str, float]:
    """Return seconds by what is asked, of a new `PricedSpace` each time."""
    madds, params = layer_scores(space, "madds"), layer_scores(space, "params")

    def seconds(work: Callable[[PricedSpace], object]) -> float:
        taken = []
        for _ in range(repeats):
            started_s = time.process_time()
            work(PricedSpace(space, prices_ms))
            taken.append(time.process_time() - started_s)
        return statistics.median(taken)

    target_ms = PricedSpace(space, prices_ms).networks.quantile_ms(0.2)
    rng = np.random.default_rng(0)
    return {
        f"{prefix}count_s": seconds(lambda priced: priced.networks.within_bounds(target_ms)),
        f"{prefix}count_with_genotypes_s": seconds(lambda priced: priced.within(target_ms)),
        f"{prefix}distribution_s": seconds(
            lambda priced: [priced.networks.quantile_ms(q / 1000) for q in range(1001)]
        ),
        f"{prefix}draw_10000_s": seconds(
            lambda priced: priced.sample_within(10_000, rng, target_ms)
        ),
        f"{prefix}front_madds_s": seconds(lambda priced: priced.front(madds)),
        f"{prefix}front_params_s": seconds(lambda priced: priced.front(params)),
    }


def check_small(seed: int) -> int:
    """Return in how many answers a listed space and its exact counts differ; 0 is right."""
    space = make_small_space((2, (8, 16), (1, 2)), (1, (8, 8, 16), (1, 2, 3)), (2, (8, 16), (1, 2)))
    rng, networks = np.random.default_rng(seed), all_networks(space)
    steps = rng.integers(1, 300, len(space.layers)).astype(np.float64)
    latencies = np.rint(sums(space, networks, steps)).astype(np.int64)
    counts = PricedSpace(space, steps / 1e3).networks.counts
    wrong = int((counts != np.bincount(latencies, minlength=len(counts))).sum())
    prices_ms, scores = (rng.uniform(0.01, 1, len(space.layers)) for _ in range(2))
    latencies_ms, values = sums(space, networks, prices_ms), sums(space, networks, scores)
    priced = PricedSpace(space, prices_ms)
    for target_ms in rng.uniform(latencies_ms.min(), latencies_ms.max(), 200):
        low, high = priced.networks.within_bounds(target_ms)
        wrong += not low <= (latencies_ms <= target_ms).sum() <= high
    front = priced.front(scores)
    for target_ms in np.linspace(latencies_ms.min(), latencies_ms.max(), 200)[1:]:
        best = values[latencies_ms <= target_ms].max()
        wrong += not np.isclose(front.score[front.latency_ms <= target_ms].max(), best, rtol=1e-12)
    return wrong


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--recorded", type=Path, help="one condition's folder of benchmarks.recorded"
    )
    options = parser.parse_args()
    space = make_space("mnasnet")
    prices_ms = make_prices(layer_scores(space, "madds"))
    if options.recorded is not None:
        prices_ms = calibrated_ms(TableDirectory(options.recorded).load(), space.layers)
    priced = PricedSpace(space, prices_ms)
    target_ms = priced.networks.quantile_ms(0.2)
    low, high = priced.networks.within_bounds(target_ms)
    timed = measure(space, prices_ms, options.repeats, "")
    figures = {
        **timed,
        **measure(space, PHONE * prices_ms, max(1, options.repeats // 3), "phone_"),
        "steps": float(len(priced.networks.counts)),
        "front_madds_points": float(len(priced.front(layer_scores(space, "madds")).score)),
        "rounding_pct_of_count": 100 * (high - low) / priced.networks.within(target_ms),
        "networks_as_the_space_counts": float(priced.networks.total == space.n_networks),
        "small_space_errors": float(sum(map(check_small, range(3)))),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    asked = ("count_s", "distribution_s", "front_madds_s", "front_params_s")
    holds = (
        all(timed[name] < TARGET_S for name in asked)
        and figures["small_space_errors"] == 0
        and priced.networks.total == space.n_networks
    )
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
