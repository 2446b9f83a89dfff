"""FinalistsResult: a few networks trained from several seeds and compared on the test images.

    candidates x seeds  --train (train split)-->  logits of validation and test images
      accuracy on test      mean over seeds, t interval of that mean
      verdict               candidate against the best, by Welch's t test over seeds:
                            "worse" or "no difference"

The test images are looked at once, after every choice has been made. The seed whose weights are
kept for export is the one that did best on *validation*: choosing it on test would make its test
accuracy a maximum of several draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import special, stats

from networks.network import Network
from search.datasets import Dataset, Labels, Split
from search.errors import TrainingError
from search.training import Logits, TrainedNetwork, TrainingSettings, accuracy
from search.training_pool import FailedTraining, FinishedTraining, TrainingJob, TrainingPool
from search.training_store import TrainingStore

Verdict = Literal["best", "no difference", "worse", "unknown"]
CALIBRATION_BINS = 15
CHOOSING_IMAGES = 2_000
"""Validation images by which the weights to export are chosen: enough to tell seeds apart."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds and the t interval in which a repetition's expectation lies."""

    mean: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class FailedSeed:
    """A training that gave no accuracy, and why."""

    seed: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Finalist:
    """One candidate, by the test images.

    Args:
        accuracies: test accuracy by seed, of the trainings that finished.
        accuracy: their mean and interval; None with fewer than two seeds.
        verdict: against the best candidate; ``unknown`` where either has fewer than two.
        p_value: of Welch's t test, times the number of rivals (Bonferroni: the best was picked
            by its result); None for the best and the unknown.
        recalls: by class name, mean over seeds.
        calibration_error: expected calibration error, mean over seeds.
        exported: the weights to export: of the seed that is best on validation; None: all failed.
    """

    name: str
    network: Network
    accuracies: Mapping[int, float]
    accuracy: Interval | None
    verdict: Verdict
    p_value: float | None
    recalls: Mapping[str, float]
    calibration_error: float | None
    failures: tuple[FailedSeed, ...]
    exported: TrainedNetwork | None


@dataclass(frozen=True, slots=True, eq=False)
class FinalistsResult:
    """All candidates in the order given; ``best`` names the highest mean accuracy, or is None."""

    source: str
    train_images: int
    test_images: int
    seeds: tuple[int, ...]
    finalists: tuple[Finalist, ...]
    best: str | None

    def __getitem__(self, name: str) -> Finalist:
        """Return the candidate of this name."""
        return next(finalist for finalist in self.finalists if finalist.name == name)

    def to_dict(self) -> dict[str, object]:
        """Return everything but networks and weights, for JSON."""
        return {
            "source": self.source,
            "train_images": self.train_images,
            "test_images": self.test_images,
            "seeds": list(self.seeds),
            "best": self.best,
            "finalists": [_finalist_to_dict(finalist) for finalist in self.finalists],
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One finished training with what it says about the held-out images."""

    trained: TrainedNetwork
    validation_accuracy: float
    logits: Logits


def compare(
    candidates: Mapping[str, Network],
    data: Dataset,
    settings: TrainingSettings | None = None,
    *,
    seeds: int = 3,
    workers: int = 2,
    confidence: float = 0.90,
    keep: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> FinalistsResult:
    """Train every candidate from ``seeds`` seeds and compare them on the test images.

    Args:
        candidates: networks by the names that the result uses.
        data: train images train, validation images choose the weights to export, test images
            judge.
        confidence: of the intervals; verdicts use its complement as level.
        keep: folder for finished trainings; those found there are not repeated.
        progress: called with the share of all trainings that is done, in [0, 1].

    Raises:
        TrainingError: no candidates, fewer than one seed, or a confidence outside (0, 1).
    """
    if not candidates or seeds < 1 or not 0 < confidence < 1:
        raise TrainingError(
            "a comparison needs candidates, a seed or more and a confidence in (0, 1), found"
            f" {len(candidates)}, {seeds} and {confidence}"
        )
    settings = settings or TrainingSettings()
    train = data.train.first(settings.train_images or len(data.train))
    jobs = [(name, seed) for seed in range(seeds) for name in candidates]
    store = None if keep is None else TrainingStore(keep, f"{data.source}:{len(train)}")
    runs, failures = _train(
        jobs, candidates, train, data, settings, workers, store, progress or (lambda share: None)
    )
    scores = {
        name: {seed: accuracy(run.logits, data.test.labels) for seed, run in found.items()}
        for name, found in runs.items()
    }
    means = {name: float(np.mean(list(s.values()))) for name, s in scores.items() if s}
    best = max(means, key=lambda name: means[name]) if means else None
    finalists = []
    for name, network in candidates.items():
        verdict, p_value = _verdict(name, best, scores, 1 - confidence)
        logits = [run.logits for run in runs[name].values()]
        finalists.append(
            Finalist(
                name,
                network,
                scores[name],
                interval(list(scores[name].values()), confidence),
                verdict,
                p_value,
                _recalls(logits, data.test.labels, data.classes),
                _mean([calibration_error(part, data.test.labels) for part in logits]),
                tuple(failures[name]),
                _to_export(runs[name]),
            )
        )
    return FinalistsResult(
        data.source, len(train), len(data.test), tuple(range(seeds)), tuple(finalists), best
    )


def interval(values: Sequence[float], confidence: float) -> Interval | None:
    """Return the mean of the values and its t interval; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half, confidence)


def calibration_error(logits: Logits, labels: Labels, *, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error of softmax probabilities (Guo et al. 2017).

    That is the mean over images of |accuracy - confidence| of the image's confidence bin.
    """
    probabilities = special.softmax(logits.astype(np.float64), axis=1)
    confidence, right = probabilities.max(axis=1), logits.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _train(
    jobs: Sequence[tuple[str, int]],
    candidates: Mapping[str, Network],
    train: Split,
    data: Dataset,
    settings: TrainingSettings,
    workers: int,
    store: TrainingStore | None,
    progress: Callable[[float], None],
) -> tuple[dict[str, dict[int, _Run]], dict[str, list[FailedSeed]]]:
    """Train all jobs; return runs by name and seed, and failures by name."""
    runs: dict[str, dict[int, _Run]] = {name: {} for name in candidates}
    failures: dict[str, list[FailedSeed]] = {name: [] for name in candidates}
    shares = np.zeros(len(jobs))

    def advance(index: int, share: float) -> None:
        shares[index] = share
        progress(float(shares.mean()))

    choosing = data.validation.first(CHOOSING_IMAGES)
    held_out = Split(
        np.concatenate([choosing.images, data.test.images]),
        np.concatenate([choosing.labels, data.test.labels]),
    )
    with TrainingPool(train, held_out, workers=workers) as pool:
        wanted = [TrainingJob(candidates[name], seed, settings) for name, seed in jobs]
        for index, result in _run_or_recall(pool, wanted, store, advance):
            name, seed = jobs[index]
            advance(index, 1.0)
            if isinstance(result, FailedTraining):
                failures[name].append(FailedSeed(seed, result.reason))
            else:
                validation, test = np.split(result.logits, [len(choosing)])
                score = accuracy(validation, choosing.labels)
                runs[name][seed] = _Run(result.trained, score, test)
    return {name: dict(sorted(found.items())) for name, found in runs.items()}, failures


def _run_or_recall(
    pool: TrainingPool,
    jobs: Sequence[TrainingJob],
    store: TrainingStore | None,
    progress: Callable[[int, float], None],
) -> Iterator[tuple[int, FinishedTraining | FailedTraining]]:
    """Yield each job's index and result: kept ones first, then new ones, which are kept."""
    new = []
    for index, job in enumerate(jobs):
        kept = store.get(job) if store else None
        if kept is None:
            new.append(index)
        else:
            yield index, kept
    for place, result in pool.run(
        [jobs[index] for index in new], progress=lambda place, share: progress(new[place], share)
    ):
        if store and isinstance(result, FinishedTraining):
            store.put(jobs[new[place]], result)
        yield new[place], result


def _verdict(
    name: str, best: str | None, scores: Mapping[str, Mapping[int, float]], level: float
) -> tuple[Verdict, float | None]:
    """Compare with the best by Welch's test: one seed starts two networks from unlike weights."""
    if name == best:
        return "best", None
    if best is None or min(len(scores[name]), len(scores[best])) < 2:
        return "unknown", None
    one, other = (np.array(list(scores[which].values())) for which in (best, name))
    if np.ptp(one) == np.ptp(other) == 0:  # no spread: the statistic is infinite, or 0/0
        p_value = float(one[0] == other[0])
    else:
        p_value = stats.ttest_ind_from_stats(
            one.mean(), one.std(ddof=1), len(one),
            other.mean(), other.std(ddof=1), len(other), equal_var=False,
        ).pvalue  # fmt: skip
    p_value = min(1.0, float(p_value) * (len(scores) - 1))
    return ("worse" if p_value < level else "no difference"), p_value


def _recalls(logits: Sequence[Logits], labels: Labels, classes: Sequence[str]) -> dict[str, float]:
    """Return by class the share of its images that were recognised, mean over seeds."""
    if not logits:
        return {}
    right = np.mean([part.argmax(axis=1) == labels for part in logits], axis=0)
    present = np.unique(labels)
    return {classes[label]: float(right[labels == label].mean()) for label in present.tolist()}


def _to_export(runs: Mapping[int, _Run]) -> TrainedNetwork | None:
    best = max(runs.values(), key=lambda run: run.validation_accuracy, default=None)
    return best.trained if best else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _finalist_to_dict(finalist: Finalist) -> dict[str, object]:
    exported = finalist.exported
    return {
        "name": finalist.name,
        "params": finalist.network.params,
        "madds": finalist.network.madds,
        "accuracies": {str(seed): value for seed, value in finalist.accuracies.items()},
        "accuracy": asdict(finalist.accuracy) if finalist.accuracy else None,
        "verdict": finalist.verdict,
        "p_value": finalist.p_value,
        "recalls": dict(finalist.recalls),
        "calibration_error": finalist.calibration_error,
        "failures": [asdict(failure) for failure in finalist.failures],
        "exported_seed": exported.seed if exported else None,
    }
