"""TrainingEvaluator: quality is validation accuracy after a short training of the network itself.

A space at 224 pixels decodes to networks far too big for this; the evaluator takes the same
space at the images' resolution. One genotype then names both networks: the small one that is
trained and the large one whose latency is priced.

A short training tells extremes apart and little else. On Fashion-MNIST at 32 pixels and half
width, two epochs of 10,000 images gave the accel-nasbench space's smallest network 81.6 percent,
its largest 84.8, and three random ones 82.7 to 83.0, where two seeds of one network differ by a
point. To rank the middle, train longer or repeat.

With a run, two files lie in its directory: ``splits.npz``, which images train and validate
(`search.splits`), and ``trainings.jsonl``, each training's curve and metrics
(`search.training_log`). A training that is ended early as hopeless (`search.stopping`) has the
quality that it had then, and is marked there and in the evaluation's metrics as ``stopped``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from networks.network import ImageNetwork
from networks.spaces.space import Decision, Genotypes
from search.datasets import SearchView
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluation, FailedEvaluation, Job
from search.metrics import Logits, make_metric, recalls
from search.stopping import MedianStop, Watch
from search.training import TrainingSettings, accuracy
from search.training_log import LoggedTraining, TrainingLog
from search.training_pool import FailedTraining, FinishedTraining, TrainingJob, TrainingPool

SPLITS_FILE = "splits.npz"
LOG_FILE = "trainings.jsonl"
WATCHED_IMAGES = 1_000
"""Validation images that a hopeless training is told by; all of them for a class's recall."""


class TrainableSpace(Protocol):
    """A space whose genotypes decode to networks of any kind: chains, cells, one's own."""

    @property
    def name(self) -> str:
        """The name with its parameters."""
        ...

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions in genotype order."""
        ...

    def decode(self, genotype: npt.ArrayLike) -> ImageNetwork:
        """Return the network of one genotype, shape ``(n_decisions,)``."""
        ...


class TrainingEvaluator:
    """Trains on the train split, scores on the validation split, in worker processes.

    Workers stay between calls; `close` ends them. Implements `StreamingEvaluator`.

    Args:
        space: the task's space at the resolution, channels and classes of the images.
        data: what a search may see of a data set.
        settings: how each network is trained; a time budget makes results depend on the machine.
        workers: processes, one thread each.
        metric: what is its quality, see `search.metrics`.
        stop: ends hopeless trainings, where jobs come one by one from a run; None: none.
        progress: called with a genotype's row, or a job's number, and the share of its training
            that is done.

    Raises:
        EvaluatorError: the space's networks do not read these images, or there is no such metric.
    """

    def __init__(
        self,
        space: TrainableSpace,
        data: SearchView,
        settings: TrainingSettings | None = None,
        *,
        workers: int = 2,
        metric: str = "accuracy",
        stop: MedianStop | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        self._decode = space.decode
        self._data, self._labels = data, data.validation.labels
        self._settings = settings or TrainingSettings()
        self._progress, self._stop = progress, stop
        self._log: TrainingLog | None = None
        image = _checked(space, data).input
        self._metric = make_metric(metric, data.classes, self._labels)
        used = data.train.first(self._settings.train_images or len(data.train))
        self._pool = TrainingPool(used, data.validation, workers=workers)
        self.name = (
            f"training:{data.name}@{image.height},epochs={self._settings.epochs:g}"
            f",images={len(used)}{self._extras()}"
        )
        self.deterministic = self._settings.time_budget_s is None

    def __enter__(self) -> TrainingEvaluator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def attach(self, run: Path) -> None:
        """Keep the splits and the trainings in a run's directory, and take in what is there.

        Raises:
            DatasetError: the run began with other images, or another split of them.
            StoreError: its files cannot be read or written.
        """
        splits = self._data.splits
        if splits is not None:
            splits.keep(run / SPLITS_FILE)
        self._log = TrainingLog(run / LOG_FILE)
        if self._stop is not None:
            for training in self._log.trainings:
                self._stop.add(training.number, training.curve)

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Iterator[Evaluation | FailedEvaluation]:
        """Yield one result a row, in order; a training that failed says why. None ends early."""
        jobs = [
            TrainingJob(self._decode(genotype), seed, self._settings)
            for genotype, seed in zip(genotypes, seeds.tolist(), strict=True)
        ]
        early: dict[int, Evaluation | FailedEvaluation] = {}
        following = 0
        for row, result in self._pool.run(jobs, progress=self._progress):
            early[row] = self._judge(result)
            while following in early:
                yield early.pop(following)
                following += 1

    def stream(
        self, jobs: Iterator[Job | None]
    ) -> Iterator[tuple[int, Evaluation | FailedEvaluation]]:
        """Yield the number and result of each job, as trainings end; see `StreamingEvaluator`."""
        numbered = (None if job is None else (job.number, self._training(job)) for job in jobs)
        for number, result in self._pool.stream(numbered, progress=self._progress):
            judged = self._judge(result)
            if isinstance(judged, Evaluation):
                assert isinstance(result, FinishedTraining)
                self._keep(LoggedTraining(number, result.curve, result.stopped, judged.metrics))
            yield number, judged

    def _extras(self) -> str:
        """Return what is not as usual, for the name."""
        extras = ""
        if self._metric.name != "accuracy":
            extras += f",metric={self._metric.name}"
        if self._stop is not None:
            extras += f",stop={self._stop.quantile:g}"
        if (weights := self._settings.class_weights) is not None:
            extras += ",weights=" + "/".join(f"{weight:.4g}" for weight in weights)
        if self._settings.drop_path_keep < 1:
            extras += f",drop_path_keep={self._settings.drop_path_keep:g}"
        return extras

    def _training(self, job: Job) -> TrainingJob:
        if self._stop is None:
            return TrainingJob(self._decode(job.genotype), job.seed, self._settings)
        is_recall = self._metric.label is not None
        images = len(self._labels) if is_recall else WATCHED_IMAGES
        watch = Watch(self._metric, images, self._stop.floors(job.number))
        return TrainingJob(self._decode(job.genotype), job.seed, self._settings, watch)

    def _keep(self, training: LoggedTraining) -> None:
        if self._stop is not None:
            self._stop.add(training.number, training.curve)
        if self._log is not None:
            self._log.append(training)

    def _judge(self, result: FinishedTraining | FailedTraining) -> Evaluation | FailedEvaluation:
        if isinstance(result, FailedTraining):
            return FailedEvaluation(result.reason)
        quality = self._metric(result.logits, self._labels)
        metrics = self._metrics(result.logits) | {
            "train_steps": float(len(result.trained.losses)),
            "stopped": float(result.stopped),
        }
        return Evaluation(quality, result.trained.wall_s, metrics)

    def _metrics(self, logits: Logits) -> dict[str, float]:
        by_class = recalls(logits, self._labels)
        return {
            "accuracy": accuracy(logits, self._labels),
            "balanced_accuracy": float(np.mean(list(by_class.values()))),
            **{f"recall:{self._data.classes[label]}": value for label, value in by_class.items()},
        }


def _checked(space: TrainableSpace, data: SearchView) -> ImageNetwork:
    """Return a network of the space, which reads these images and tells these classes apart."""
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
    return network
