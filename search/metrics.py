"""Metric: what of a classifier is its quality, in [0, 1].

accuracy             share of the images that are recognised
balanced-accuracy    mean over classes of the share of the class's images that are recognised
recall:CLASS         that share of one class, by its name
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networks.errors import suggest
from search.errors import EvaluatorError

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Metric:
    """See the module; ``label`` is the class of a recall."""

    name: str = "accuracy"
    label: int | None = None

    def __call__(self, logits: Logits, labels: Labels) -> float:
        """Return the metric of logits ``(n, classes)`` and labels ``(n,)``."""
        if self.label is not None:
            return float(np.mean(logits[labels == self.label].argmax(axis=1) == self.label))
        if self.name == "balanced-accuracy":
            return float(np.mean(list(recalls(logits, labels).values())))
        return float(np.mean(logits.argmax(axis=1) == labels))


def make_metric(name: str, classes: Sequence[str], labels: Labels) -> Metric:
    """Return the metric of this name over a validation split with these labels.

    Raises:
        EvaluatorError: there is no such metric or class, or no image of the class.
    """
    if name in ("accuracy", "balanced-accuracy"):
        return Metric(name)
    kind, _, wanted = name.partition(":")
    if kind != "recall" or not wanted:
        raise EvaluatorError(
            f"a metric is accuracy, balanced-accuracy or recall:CLASS, found {name!r}"
        )
    if wanted not in classes:
        raise EvaluatorError(f"no class is named {wanted!r}; {suggest(wanted, classes)}")
    label = list(classes).index(wanted)
    if not (labels == label).any():
        raise EvaluatorError(
            f"{name}: expected validation images of {wanted!r}, found none; split otherwise"
        )
    return Metric(name, label)


def recalls(logits: Logits, labels: Labels) -> dict[int, float]:
    """Return by label the share of its images that are recognised, of the labels that occur."""
    right = logits.argmax(axis=1) == labels
    return {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}
