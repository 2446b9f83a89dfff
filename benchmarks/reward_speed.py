"""Reward: nanoseconds a network of the reward step alone; batches of 100,000, one core.

The arrays are float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from search.rewards import DEFAULT_WEIGHTS, make_reward

BATCH = 100_000
TARGET_NS = 10.0
CLAIM = f"every reward costs under {TARGET_NS:g} ns a network, in NumPy and in torch"


def measure(*, repeats: int = 200) -> dict[str, float]:
    """Return the median nanoseconds a network of each reward and library."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    quality = rng.uniform(0.5, 0.8, BATCH).astype(np.float32)
    latency_ms = rng.uniform(20, 120, BATCH).astype(np.float32)
    tensors = torch.from_numpy(quality), torch.from_numpy(latency_ms)
    figures = {}
    for kind in DEFAULT_WEIGHTS:
        reward = make_reward(kind, target_ms=60)
        figures[f"{kind}_numpy_ns"] = _median_ns(partial(reward, quality, latency_ms), repeats)
        figures[f"{kind}_torch_ns"] = _median_ns(partial(reward, *tensors), repeats)
    return figures


def _median_ns(step: Callable[[], object], repeats: int) -> float:
    samples_ns = []
    for _ in range(repeats):
        started_ns = time.perf_counter_ns()
        step()
        samples_ns.append((time.perf_counter_ns() - started_ns) / BATCH)
    return statistics.median(samples_ns)


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure()
    holds = max(figures.values()) < TARGET_NS
    if options.json:
        print(json.dumps({"claim": CLAIM, "figures": figures, "holds": holds}))
        return
    print(f"{CLAIM}: {'holds' if holds else 'does not hold'}")
    for name, value in figures.items():
        print(f"  {name:24} {value:8.2f}")


if __name__ == "__main__":
    main()
