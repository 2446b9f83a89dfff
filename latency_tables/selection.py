"""Selection: which layers to measure first, and what measuring more of them would buy.

    gain of a layer = sum over layers of weight x how much its measurement would narrow them

Under a Gaussian process what a measurement narrows does not depend on what it gives, so a whole
order is chosen at once, each next layer given the ones before, and the error after each is known in
advance (active learning after Cohn, Ghahramani and Jordan 1996). Layers that many networks use
weigh more; layers alike are not chosen twice, since the second narrows little.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency_tables.layer_model import LayerModel
from networks.spaces.space import Space

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAMPLE = 500
_MEAN_OF_ERROR = math.sqrt(2 / math.pi)  # mean of |x|, x normal with standard deviation 1


@dataclass(frozen=True, slots=True)
class Selection:
    """Layers in the order to measure them.

    order       numbers of the chosen layers, shape ``(k,)``
    error_pct   expected mean error, in percent, of all layers once the first ``i`` of them are
                measured, those measured counting as 0; shape ``(k + 1,)``
    """

    order: Ints
    error_pct: Floats


def select_layers(model: LayerModel, weights: Floats, most: int) -> Selection:
    """Return up to ``most`` layers to measure next, the most informative first.

    Args:
        model: with what is measured so far; its rows are not chosen again.
        weights: how much each layer matters, shape ``(n,)``.
    """
    covariance = model.covariance.copy()
    n = len(covariance)
    measured = np.zeros(n, dtype=bool)
    measured[model.rows] = True
    order = list[int]()
    errors = [_expected_error_pct(covariance, model.noise, measured)]
    for _ in range(min(most, n - len(model.rows))):
        variance = np.maximum(np.diag(covariance), 0.0) + model.noise
        # a layer that is measured needs no prediction any more: its own share counts in full
        gain = ((covariance**2) @ (weights * ~measured)) / variance
        gain += weights * model.noise
        gain[measured] = -np.inf
        best = int(gain.argmax())
        column = covariance[:, best] / math.sqrt(variance[best])
        covariance -= np.outer(column, column)
        measured[best] = True
        order.append(best)
        errors.append(_expected_error_pct(covariance, model.noise, measured))
    return Selection(np.array(order, dtype=np.int64), np.array(errors))


def layer_weights(uses: Floats, mean: Floats) -> Floats:
    """Return how much each layer matters, shape ``(n,)``, of mean 1.

    Half for all alike, half by the layer's share in the latency of the space's networks.

    Args:
        uses: how often a network has the layer, see `layer_uses`.
        mean: log latencies.
    """
    spent = uses * np.exp(mean)
    return (1.0 + spent / spent.mean()) / 2 if spent.any() else np.ones(len(uses))


def layer_uses(space: Space, *, sample: int = SAMPLE, seed: int = 0) -> Floats:
    """Return how often a network of the space has each of its layers, on average, ``(n_layers,)``.

    Of a uniform sample of its networks, and never 0.
    """
    genotypes = space.sample(sample, np.random.default_rng(seed), uniform_over="networks")
    counts = Counter(layer for row in genotypes for layer in space.decode(row).layers)
    return np.array([(counts[layer] + 0.5) / sample for layer in space.layers])


def _expected_error_pct(covariance: Floats, noise: float, measured: npt.NDArray[np.bool_]) -> float:
    std = np.sqrt(np.maximum(np.diag(covariance), 0.0) + noise)
    return 100 * _MEAN_OF_ERROR * float(np.where(measured, 0.0, std).mean())
