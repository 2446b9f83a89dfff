"""Class weights: what an image of each class counts in the training loss.

balanced            a class counts as much as any other: n / (classes x images of the class)
1,1,2.5             one number a class, in the order of the classes
defect=5,dirt=2     by name; the others count 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from networks.errors import suggest
from search.errors import TrainingError

BALANCED = "balanced"


def parse_class_weights(
    text: str, classes: Sequence[str], labels: npt.ArrayLike
) -> tuple[float, ...]:
    """Return one weight a class from text, see the module.

    Args:
        labels: of the training images, shape ``(n,)``.

    Raises:
        TrainingError: not one positive number a class, or no such class.
    """
    if text == BALANCED:
        counts = np.bincount(np.asarray(labels), minlength=len(classes))
        weights = counts.sum() / (len(classes) * np.maximum(counts, 1))
        return tuple(weights.tolist())
    parts = text.split(",")
    if not any("=" in part for part in parts):
        if len(parts) != len(classes):
            raise TrainingError(
                f"class weights: expected {len(classes)} numbers, balanced, or NAME=NUMBER,"
                f" found {text!r}"
            )
        return tuple(map(_weight, parts))
    weights_by_name = dict.fromkeys(classes, 1.0)
    for part in parts:
        name, _, number = part.partition("=")
        if name.strip() not in weights_by_name:
            raise TrainingError(
                f"class weights: no class is named {name.strip()!r};"
                f" {suggest(name.strip(), classes)}"
            )
        weights_by_name[name.strip()] = _weight(number)
    return tuple(weights_by_name.values())


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise TrainingError(f"a class weight is a number greater than 0, found {text.strip()!r}")
    return weight
