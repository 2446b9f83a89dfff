"""Reward: genotypes to latencies to rewards, batches of 100,000 on one core.

``SPACE_KIND_per_s`` is the whole path, from one int8 a decision to a float64 reward; ``..._ns`` is
the reward step alone, a network, on float32 arrays and tensors. Medians of one thread's CPU time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from latency_tables.predictor import Predictor
from networks.spaces import SPACES, make_space
from networks.spaces.space import Genotypes
from search.rewards import DEFAULT_WEIGHTS, Reward, make_reward

BATCH = 100_000
TARGET_PER_S = 20e6
CLAIM = f"genotypes of either space become rewards at {TARGET_PER_S / 1e6:g} million a second"


def measure(*, repeats: int = 100) -> dict[str, float]:
    """Return the median rates of the whole path, and nanoseconds of the reward step."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    quality = rng.uniform(0.5, 0.8, BATCH)
    figures = {}
    for name in SPACES:
        space = make_space(name)
        predictor = Predictor(space, rng.uniform(0.1, 5, len(space.layers)))
        genotypes = space.sample(BATCH, rng)
        for kind in DEFAULT_WEIGHTS:
            path = partial(_path, predictor, make_reward(kind, target_ms=60), quality, genotypes)
            figures[f"{name}_{kind}_per_s"] = 1e9 / _median_ns(path, repeats)
    arrays = quality.astype(np.float32), rng.uniform(20, 120, BATCH).astype(np.float32)
    tensors = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])
    for kind in DEFAULT_WEIGHTS:
        reward = make_reward(kind, target_ms=60)
        figures[f"{kind}_numpy_ns"] = _median_ns(partial(reward, *arrays), repeats)
        figures[f"{kind}_torch_ns"] = _median_ns(partial(reward, *tensors), repeats)
    return figures


def _path(
    predictor: Predictor, reward: Reward, quality: npt.NDArray[np.float64], genotypes: Genotypes
) -> npt.NDArray[np.floating]:
    return reward(quality, predictor.predict(genotypes))


def _median_ns(step: Callable[[], object], repeats: int) -> float:
    samples_ns = []
    for _ in range(repeats):
        started_ns = time.thread_time_ns()
        step()
        samples_ns.append((time.thread_time_ns() - started_ns) / BATCH)
    return statistics.median(samples_ns)


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with threadpool_limits(1):  # of NumPy's matrix product
        figures = measure()
    holds = min(v for name, v in figures.items() if name.endswith("_per_s")) >= TARGET_PER_S
    if options.json:
        print(json.dumps({"claim": CLAIM, "figures": figures, "holds": holds}))
        return
    print(f"{CLAIM}: {'holds' if holds else 'does not hold'}")
    for name, value in figures.items():
        print(f"  {name:28} {value:14.4g}")


if __name__ == "__main__":
    main()
