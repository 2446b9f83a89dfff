"""What searchers cost: ask and tell of a candidate, and whole stored runs of 10^3 to 10^5 of them.

Runs are over the 42 decisions of the mnasnet space at batches of 10, each in a process of its own,
one thread, in a temporary folder. Qualities are synthetic; latencies are the predictor's, over
synthetic prices of layers. ``ask_tell_ms`` is processor time in the searcher, ``run_ms`` that of
the whole run, both an evaluation. Memory is the largest that the process held while it searched,
and with the result, which has every trial: libraries are most of it.

    python -m benchmarks.searcher_overhead [--most 100000] [--only ppo:paper] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.additive import AdditiveEvaluator, layer_latency, option_quality
from benchmarks.claim import print_claim
from networks.spaces import make_space
from networks.spaces.space import Genotypes
from search.config import RunConfig
from search.rewards import make_reward
from search.run import Progress, run_search
from search.searcher import Asked, Rewards, Searcher, Told, Values
from search.searchers import make_searcher

BATCH = 10
SIZES = (1000, 10_000, 100_000)
LINEAR = ("ppo:paper", "ppo:small-budget", "reinforce:small-budget", "evolution:paper",
          "evolution:small-budget", "nsga2:small-budget", "random", "local")  # fmt: skip
OTHERS = ("guided", "tpe")
"""These look at many or all of their evaluations before each proposal: 10^3 only."""
GROWTH = 1.5
STATE_KIB = 1.0
CLAIM = (
    "from 10^3 to 10^5 evaluations, of all but guided and tpe, a run's cost an evaluation"
    f" grows by less than a factor of {GROWTH:g} each time that there are ten times as many, and"
    f" its memory by less than {STATE_KIB:g} KiB an evaluation"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took; times are of the processor, in ms an evaluation."""

    searcher: str
    evaluations: int
    distinct: int
    ask_tell_ms: float
    run_ms: float
    wall_s: float
    memory_mib: float
    memory_with_result_mib: float


class Timed:
    """A searcher that passes everything on, and keeps the processor time that it took."""

    def __init__(self, inner: Searcher) -> None:
        self.name, self._inner, self.cpu_s = inner.name, inner, 0.0

    @property
    def figures(self) -> Mapping[str, float]:
        """Those of the searcher inside."""
        return self._inner.figures

    def recover(self, history: Iterable[Asked | Told]) -> None:
        """Bring the searcher inside to where a recorded one stood."""
        self._inner.recover(history)

    def ask(self, n: int) -> Genotypes:
        """Return the next proposals."""
        started_s = time.process_time()
        genotypes = self._inner.ask(n)
        self.cpu_s += time.process_time() - started_s
        return genotypes

    def tell(self, genotypes: Genotypes, rewards: Rewards, values: Values | None = None) -> None:
        """Hear results."""
        started_s = time.process_time()
        self._inner.tell(genotypes, rewards, values)
        self.cpu_s += time.process_time() - started_s


def measure(searcher: str, evaluations: int) -> Cost:
    """Return what a run costs, in this process."""
    torch.set_num_threads(1)
    space = make_space("mnasnet", resolution=224)
    latency = layer_latency(space, 0)
    target_ms = float(np.median(latency.predict(space.sample(1000, np.random.default_rng(2)))))
    name, _, preset = searcher.partition(":")
    config = RunConfig(
        space="mnasnet",
        latency="additive",
        evaluator="additive",
        searcher=name,
        preset=preset or None,
        reward=make_reward("absolute", target_ms=target_ms),
        budget=evaluations,
        batch=BATCH,
    )
    evaluator = AdditiveEvaluator(option_quality(space, 0))
    searching_mib = 0.0

    def progress(_: Progress) -> None:
        nonlocal searching_mib
        searching_mib = _peak_mib()

    timed = Timed(make_searcher(name, space, preset=preset or None, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        result = run_search(
            config, space, latency.predict, evaluator, timed,
            out=Path(folder) / "run", progress=progress,
        )  # fmt: skip
        wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_started_s
    return Cost(
        searcher,
        evaluations,
        result.distinct,
        timed.cpu_s / evaluations * 1e3,
        cpu_s / evaluations * 1e3,
        wall_s,
        searching_mib,
        _peak_mib(),
    )


def measure_apart(searcher: str, evaluations: int) -> Cost:
    """Return what a run costs, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.searcher_overhead", "--one", searcher,
               str(evaluations)]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Cost(**json.loads(done.stdout))


def measure_all(*, most: int, only: Sequence[str]) -> Iterator[Cost]:
    """Yield the costs of all runs, a searcher after the other."""
    for searcher in only or (*LINEAR, *OTHERS):
        sizes = SIZES[:1] if searcher in OTHERS else SIZES
        for evaluations in sizes:
            if evaluations <= most:
                yield measure_apart(searcher, evaluations)


def growth(costs: Sequence[Cost]) -> tuple[float, float]:
    """Return the largest growth of a cost from one size to ten times it, and of memory, in KiB."""
    pairs = [
        (a, b) for a, b in pairwise(costs) if a.searcher == b.searcher and a.searcher not in OTHERS
    ]
    return (
        max((b.run_ms / a.run_ms for a, b in pairs), default=1.0),
        max(
            ((b.memory_mib - a.memory_mib) * 1024 / (b.evaluations - a.evaluations)
             for a, b in pairs if b.evaluations == SIZES[-1]),
            default=0.0,
        ),
    )  # fmt: skip


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def format_costs(costs: Sequence[Cost]) -> list[str]:
    """Return the table."""
    lines = [f"{'searcher':24}{'evaluations':>12}{'distinct':>10}{'ask+tell ms':>13}"
             f"{'run ms':>9}{'wall s':>9}{'MiB':>7}{'+result':>9}"]  # fmt: skip
    lines += [
        f"{c.searcher:24}{c.evaluations:12}{c.distinct:10}{c.ask_tell_ms:13.3f}{c.run_ms:9.3f}"
        f"{c.wall_s:9.1f}{c.memory_mib:7.0f}{c.memory_with_result_mib:9.0f}"
        for c in costs
    ]
    return lines


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--one", nargs=2, metavar=("SEARCHER", "EVALUATIONS"))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(options.one[0], int(options.one[1])))))
        return
    costs = []
    for cost in measure_all(most=options.most, only=options.only):
        costs.append(cost)
        print(format_costs([cost])[1], file=sys.stderr, flush=True)
    slower, state_kib = growth(costs)
    figures = {f"ask_tell_ms {c.searcher} {c.evaluations}": c.ask_tell_ms for c in costs}
    figures |= {"largest_growth": slower, "state_kib_per_evaluation": state_kib}
    holds = slower < GROWTH and state_kib < STATE_KIB
    print_claim(CLAIM, figures, holds=holds, as_json=options.json, lines=format_costs(costs))


if __name__ == "__main__":
    main()
