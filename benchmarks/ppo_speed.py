"""PPO's own cost: the paper's 8,000 evaluations on the 42-decision space, stored as in any run.

Qualities are synthetic; latencies are the predictor's, over synthetic prices of layers. One
thread; the run directory is a temporary folder.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.additive import AdditiveEvaluator, layer_latency, option_quality
from benchmarks.claim import print_claim
from networks.spaces import make_space
from search.config import RunConfig
from search.rewards import make_reward
from search.run import resume, run_search
from search.searchers import make_searcher
from search.trials import Trial

TARGET_S = 60.0
EVALUATIONS = 8000
CLAIM = (
    f"{EVALUATIONS} stored evaluations of PPO on the mnasnet space take under {TARGET_S:g} s, and"
    " resume to the same trials"
)


def measure(*, evaluations: int = EVALUATIONS, preset: str = "paper") -> dict[str, float]:
    """Return the figures; times are of the wall unless named otherwise."""
    torch.set_num_threads(1)
    space = make_space("mnasnet", resolution=224)
    evaluator = AdditiveEvaluator(option_quality(space, 0))
    latency = layer_latency(space, 0)
    target_ms = float(np.median(latency.predict(space.sample(1000, np.random.default_rng(2)))))
    config = RunConfig(
        space="mnasnet",
        latency="additive",
        evaluator="additive",
        searcher="ppo",
        preset=preset,
        reward=make_reward("absolute", target_ms=target_ms),
        budget=evaluations,
    )

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        searcher = make_searcher("ppo", space, preset=preset)
        result = run_search(config, space, latency.predict, evaluator, searcher, out=out)
        done_s, cpu_s = time.perf_counter(), time.process_time() - cpu_started_s
        again = make_searcher("ppo", space, preset=preset)
        if resume(out, space, latency.predict, evaluator, again).trials != result.trials:
            raise AssertionError("a resumed run differs from the run")
        replayed_s = time.perf_counter()
    rewards = [t.reward for t in result.trials if isinstance(t, Trial)]
    tenth = max(1, evaluations // 10)
    return {
        "evaluations": evaluations,
        "distinct": result.distinct,
        "wall_s": done_s - started_s,
        "cpu_s": cpu_s,
        "ms_per_evaluation": (done_s - started_s) / evaluations * 1e3,
        "replay_s": replayed_s - done_s,
        "mean_reward_first_tenth": sum(rewards[:tenth]) / tenth,
        "mean_reward_last_tenth": sum(rewards[-tenth:]) / tenth,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--evaluations", type=int, default=EVALUATIONS)
    parser.add_argument("--preset", default="paper")
    options = parser.parse_args()
    figures = measure(evaluations=options.evaluations, preset=options.preset)
    holds = figures["wall_s"] < TARGET_S
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
