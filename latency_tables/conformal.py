"""Conformal intervals: where a layer that was not measured lies, and they hold by size class.

    half width of a layer = score of its class x standard deviation that the model gives it

A score is how many of its standard deviations a measured layer lies from what the others say of it.
That of a class is the quantile which one more layer of the class stays under with the level's
probability (Vovk et al. 2005, Mondrian conformal prediction), so that the intervals hold for small,
medium and large layers alike, whatever the model got wrong.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from latency_tables.layer_model import LayerModel
from latency_tables.table import LEVEL

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SIZE_CLASSES = ("small", "medium", "large")
MEAN_ERROR = math.sqrt(2 / math.pi)  # of a normal distribution, in standard deviations
_BELIEVED = 20  # layers of a class whose errors are as the model says, beside those seen


def size_classes(latency: Floats) -> Ints:
    """Return the class of each layer, shape ``(n,)``: which third by latency it is in."""
    borders = np.quantile(latency, [1 / 3, 2 / 3])
    return np.searchsorted(borders, latency)


def interval_reach(model: LayerModel, *, level: float = LEVEL) -> Floats:
    """Return half of each layer's interval of log latency, shape ``(n,)``.

    Of a model without measured layers it is the normal distribution's.
    """
    classes = size_classes(model.mean)
    seen = np.abs(model.held_out) / model.held_out_std
    scores = np.array(
        [_score(seen[classes[model.rows] == each], level) for each in range(len(SIZE_CLASSES))]
    )
    return scores[classes] * model.std


def expected_errors(model: LayerModel) -> Floats:
    """Return the mean relative error to expect of each layer's prediction, shape ``(n,)``.

    As the model says, times how much larger those of layers held out are than it says of them.
    """
    if len(model.rows):
        ratio = float(np.abs(model.held_out).mean() / (MEAN_ERROR * model.held_out_std.mean()))
    else:
        ratio = 1.0
    return ratio * MEAN_ERROR * model.std


def _score(seen: Floats, level: float) -> float:
    """Return the conformal quantile of these scores and of some that are as the model says."""
    believed = stats.halfnorm.ppf((np.arange(_BELIEVED) + 0.5) / _BELIEVED)
    scores = np.sort(np.concatenate([seen, believed]))
    return float(scores[min(math.ceil((len(scores) + 1) * level), len(scores)) - 1])
