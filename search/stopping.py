"""MedianStop: trainings that stay behind earlier ones of the same run are ended early.

After each epoch but the last, a training ends if the best validation quality that it has had is
below a quantile (the median, 0.5) of what earlier trainings had as their best by the same epoch.
Of those that were stopped before that epoch nothing is counted. (Golovin et al. 2017, Google
Vizier, section 3.2.2, with the best quality in place of its running mean.)

A run must not depend on which of its workers was faster, and must go on as it was after a kill. So
a training is compared with those only that lie at least `under_way` proposals before it: batch x
lookahead of the run. The run has told all of these to its searcher before it proposes the new one,
so they have ended, whatever the timing was; and their curves are in the run's `TrainingLog`.

A network that is small because a latency target makes it so learns less in an epoch. Under tight
targets choose a low quantile, such as 0.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.errors import EvaluatorError
from search.metrics import Metric

LEAST_CURVES = 5
"""Fewer earlier trainings say nothing."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a worker looks at after each epoch but the last, and where it ends the training.

    Args:
        metric: of the first ``images`` evaluation images.
        floors: by epoch; the training ends when its best so far is below; epochs beyond: never.
    """

    metric: Metric
    images: int
    floors: tuple[float, ...] = ()

    def is_hopeless(self, curve: Sequence[float]) -> bool:
        """Return whether a training with these qualities after its epochs should end."""
        return len(curve) <= len(self.floors) and max(curve) < self.floors[len(curve) - 1]


class MedianStop:
    """The rule of one run, see the module; `add` what has ended.

    Args:
        quantile: in (0, 1), of earlier trainings' best qualities.
        under_way: how many proposals a training is ahead of what it is compared with.

    Raises:
        EvaluatorError: a quantile outside (0, 1), or less than one proposal.
    """

    def __init__(self, quantile: float, *, under_way: int) -> None:
        if not (0 < quantile < 1) or under_way < 1:
            raise EvaluatorError(
                "hopeless trainings are below a quantile between 0 and 1 of those 1 proposal or"
                f" more before them, found {quantile} and {under_way}"
            )
        self.quantile, self._under_way = quantile, under_way
        self._best: dict[int, list[float]] = {}

    def add(self, number: int, curve: Sequence[float]) -> None:
        """Take in the qualities of a proposal's training after its epochs."""
        self._best[number] = np.maximum.accumulate(curve).tolist() if curve else []

    def floors(self, number: int) -> tuple[float, ...]:
        """Return by epoch the quality below which a proposal's training is hopeless."""
        earlier = [best for n, best in self._best.items() if n <= number - self._under_way]
        epochs = max(map(len, earlier), default=0)
        return tuple(
            self._floor([best[epoch] for best in earlier if len(best) > epoch])
            for epoch in range(epochs)
        )

    def _floor(self, qualities: Sequence[float]) -> float:
        if len(qualities) < LEAST_CURVES:
            return -math.inf
        return float(np.quantile(qualities, self.quantile, method="lower"))
