"""An additive objective: random prices of a space's layers, summed over each network.

It stands in for a latency table and an evaluator where what is timed or compared is the search.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes
from search.evaluators.evaluator import Evaluation

Floats = npt.NDArray[np.float64]
REFERENCE_NETWORKS = 4000


def layer_sum(
    space: ChainSpace, seed: int, *, mean: float, std: float
) -> Callable[[Genotypes], Floats]:
    """Return a function from genotypes to sums of standard normal prices of their layers.

    Scaled so that the networks of the space, drawn uniformly, have this mean and deviation; kept
    above a tenth of the mean.
    """
    rng = np.random.default_rng(seed)
    tables = space.block_prices(rng.normal(size=len(space.layers)))
    codes = space.code_matrix()

    def total(genotypes: Genotypes) -> Floats:
        at = genotypes @ codes
        found: Floats = np.sum([table[at[:, i]] for i, table in enumerate(tables)], axis=0)
        return found

    reference = total(space.sample(REFERENCE_NETWORKS, rng, uniform_over="networks"))
    centre, spread = reference.mean(), reference.std()
    return lambda genotypes: np.maximum(
        mean + std * (total(genotypes) - centre) / spread, mean / 10
    )


class AdditiveEvaluator:
    """Qualities from a function of genotypes."""

    name = "additive"
    deterministic = True

    def __init__(self, quality: Callable[[Genotypes], Floats]) -> None:
        self.quality = quality

    def evaluate(self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]) -> list[Evaluation]:
        """Return one result a row."""
        return [Evaluation(float(quality), 0.0) for quality in self.quality(genotypes)]
