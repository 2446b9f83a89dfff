"""TrainingEvaluator: quality is validation accuracy after a short training of the network itself.

A space at 224 pixels decodes to networks far too big for this; the evaluator takes the same
space at the images' resolution. One genotype then names both networks: the small one that is
trained and the large one whose latency is priced.

A short training tells extremes apart and little else. On Fashion-MNIST at 32 pixels and half
width, two epochs of 10,000 images gave the accel-nasbench space's smallest network 81.6 percent,
its largest 84.8, and three random ones 82.7 to 83.0, where two seeds of one network differ by a
point. To rank the middle, train longer or repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes, LayerSpace
from search.datasets import SearchView
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluation, FailedEvaluation
from search.training import TrainingSettings, accuracy
from search.training_pool import (
    FailedTraining,
    FinishedTraining,
    TrainingJob,
    TrainingPool,
)


class TrainingEvaluator:
    """Trains on the train split, scores on the validation split, in worker processes.

    Workers stay between calls; `close` ends them.

    Args:
        space: the task's space at the resolution, channels and classes of the images.
        data: what a search may see of a data set.
        settings: how each network is trained; a time budget makes results depend on the machine.
        workers: processes, one thread each.
        progress: called with a genotype's row and the share of its training that is done.

    Raises:
        EvaluatorError: the space's networks do not read these images.
    """

    def __init__(
        self,
        space: LayerSpace,
        data: SearchView,
        settings: TrainingSettings | None = None,
        *,
        workers: int = 2,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        self._space, self._labels = space, data.validation.labels
        self._settings = settings or TrainingSettings()
        self._progress = progress
        network = space.decode(np.zeros(len(space.decisions), dtype=np.int8))
        image, found = network.input, data.train.images.shape[1:]
        if found != (image.channels, image.height, image.width):
            raise EvaluatorError(
                f"{space.name} reads images of {image}, {data.name} has channels, height, width"
                f" {found}; make the space at that resolution and in_channels"
            )
        if network.output.channels != len(data.classes):
            raise EvaluatorError(
                f"{space.name} has {network.output.channels} classes, {data.name} has"
                f" {len(data.classes)}; make the space with that many"
            )
        used = data.train.first(self._settings.train_images or len(data.train))
        self._pool = TrainingPool(used, data.validation, workers=workers)
        self.name = (
            f"training:{data.name}@{image.height},epochs={self._settings.epochs:g}"
            f",images={len(used)}"
        )
        self.deterministic = self._settings.time_budget_s is None

    def __enter__(self) -> TrainingEvaluator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Iterator[Evaluation | FailedEvaluation]:
        """Yield one result a row, in order; a training that failed says why."""
        jobs = [
            TrainingJob(self._space.decode(genotype), seed, self._settings)
            for genotype, seed in zip(genotypes, seeds.tolist(), strict=True)
        ]
        early: dict[int, Evaluation | FailedEvaluation] = {}
        following = 0
        for row, result in self._pool.run(jobs, progress=self._progress):
            early[row] = self._judge(result)
            while following in early:
                yield early.pop(following)
                following += 1

    def _judge(self, result: FinishedTraining | FailedTraining) -> Evaluation | FailedEvaluation:
        if isinstance(result, FailedTraining):
            return FailedEvaluation(result.reason)
        return Evaluation(accuracy(result.logits, self._labels), result.trained.wall_s)
