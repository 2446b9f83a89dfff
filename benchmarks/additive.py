"""Synthetic objectives on a real space: qualities that add up over options, latencies over layers.

They stand in for an evaluator and a latency table where what is timed or compared is the search.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from latency_tables.predictor import Predictor
from networks.network import Network
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes
from search.evaluators.evaluator import Evaluation

Floats = npt.NDArray[np.float64]
LATENCY_NOISE = 0.3
"""Standard deviation of the logarithm of a layer's time a multiply-add."""


def option_quality(
    space: ChainSpace, seed: int, *, mean: float = 0.65, std: float = 0.02
) -> Callable[[Genotypes], Floats]:
    """Return a function from genotypes to qualities: sums of a normal number for each option.

    Qualities have about this mean and standard deviation over genotypes; those of canonical
    genotypes count, so that equal networks are equally good.
    """
    rng = np.random.default_rng(seed)
    worth = [rng.normal(size=len(decision.options)) for decision in space.decisions]
    scale = std / np.sqrt(len(worth))

    def quality(genotypes: Genotypes) -> Floats:
        rows = space.canonical(genotypes)
        total = np.sum([values[rows[:, i]] for i, values in enumerate(worth)], axis=0)
        found: Floats = mean + scale * total
        return found

    return quality


def layer_latency(space: ChainSpace, seed: int) -> Predictor:
    """Return the predictor whose layers take time by their multiply-adds, with factors at random.

    The unit is arbitrary: a million multiply-adds take about 0.2 ms.
    """
    rng = np.random.default_rng(seed)
    madds = np.array([Network((layer,)).madds for layer in space.layers])
    factors = rng.lognormal(sigma=LATENCY_NOISE, size=len(madds))
    return Predictor(space, 0.01 + 0.2e-6 * madds * factors)


class AdditiveEvaluator:
    """Qualities from a function of genotypes."""

    name = "additive"
    deterministic = True

    def __init__(self, quality: Callable[[Genotypes], Floats]) -> None:
        self.quality = quality

    def evaluate(self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]) -> list[Evaluation]:
        """Return one result a row."""
        return [Evaluation(float(quality), 0.0) for quality in self.quality(genotypes)]
