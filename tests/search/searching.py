"""A search to be killed: ``python -m tests.search.searching DIR SEARCHER SECONDS``.

Starts a run in DIR or continues the one there; each evaluation takes SECONDS. Prints how many
proposals were told, a line each time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes
from search.evaluators.evaluator import Evaluation, FailedEvaluation
from search.run import Progress, SearchResult, resume, run_search
from search.searchers import make_searcher
from tests.search.spaces import Additive, ConvSpace, config

SPACE = ConvSpace(4, 3, 4, 3, 4)


class Slow(Additive):
    """An additive evaluator that takes its time."""

    pause_s = 0.0

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Iterator[Evaluation | FailedEvaluation]:
        for result in super().evaluate(genotypes, seeds):
            time.sleep(self.pause_s)
            yield result


def search(
    out: Path,
    searcher: str,
    *,
    pause_s: float = 0.0,
    budget: int = 60,
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Run or continue the search."""
    evaluator = Slow(SPACE, fails=frozenset({5}))
    evaluator.pause_s = pause_s
    made = make_searcher(searcher, SPACE, seed=3)
    if (out / "run.toml").exists():
        return resume(out, SPACE, evaluator.latency_ms, evaluator, made, progress=progress)
    settings = config(searcher, budget=budget)
    return run_search(
        settings, SPACE, evaluator.latency_ms, evaluator, made, out=out, progress=progress
    )


if __name__ == "__main__":
    search(
        Path(sys.argv[1]), sys.argv[2], pause_s=float(sys.argv[3]),
        progress=lambda now: print(now.told, flush=True),
    )  # fmt: skip
