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
from latency_tables.single_thread import single_thread
from networks.layers import Layer
from networks.spaces.space import LayerSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAMPLE = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Layers in the order to measure them.

    order       numbers of the chosen layers, shape ``(k,)``
    std         mean standard deviation of the layers that are not measured once the first ``i``
                of these are, of log latencies, shape ``(k + 1,)``; 0 where all are
    """

    order: Ints
    std: Floats


@single_thread()
def select_layers(model: LayerModel, weights: Floats, most: int) -> Selection:
    """Return up to ``most`` layers to measure next, the most informative first.

    Args:
        model: with what is measured so far; its rows are not chosen again.
        weights: how much each layer matters, shape ``(n,)``.
    """
    covariance, noise = model.covariance, model.noise
    left = np.ones(len(covariance), dtype=bool)
    left[model.rows] = False
    most = min(most, int(left.sum()))
    # What a measurement takes off the covariance is a product of one column with itself. The
    # columns are kept apart, and what is needed of the difference is brought up to date.
    taken = np.zeros((len(covariance), most))
    variance = np.maximum(np.diag(covariance), 0.0) + noise
    weighed = np.where(left, weights, 0.0)
    narrowed = (covariance**2) @ weighed
    order, std = list[int](), [_mean_std(variance, left)]
    for step in range(most):
        # the layer itself needs no prediction any more, so that its noise counts as narrowed too
        gain = narrowed / variance + weights * noise
        best = int(np.where(left, gain, -np.inf).argmax())
        before = taken[:, :step]
        own = covariance[:, best] - before @ before[best]
        narrowed -= own**2 * weighed[best]
        left[best], weighed[best] = False, 0.0
        column = own / math.sqrt(variance[best])
        spread = column * weighed
        narrowed += column * (
            column * (spread @ column) - 2 * (covariance @ spread - before @ (before.T @ spread))
        )
        variance = np.maximum(variance - column**2, noise)
        taken[:, step] = column
        order.append(best)
        std.append(_mean_std(variance, left))
    return Selection(np.array(order, dtype=np.int64), np.array(std))


def layer_weights(uses: Floats, mean: Floats) -> Floats:
    """Return how much each layer matters, shape ``(n,)``, of mean 1.

    Half for all alike, half by the layer's share in the latency of the space's networks.

    Args:
        uses: how often a network has the layer, see `layer_uses`.
        mean: log latencies.
    """
    spent = uses * np.exp(mean)
    return (1.0 + spent / spent.mean()) / 2 if spent.any() else np.ones(len(uses))


def layer_uses(space: LayerSpace, *, sample: int = SAMPLE, seed: int = 0) -> dict[Layer, float]:
    """Return how often a network of the space has each of its layers, on average.

    Of a uniform sample of its networks, and never 0.
    """
    genotypes = space.sample(sample, np.random.default_rng(seed), uniform_over="networks")
    counts = Counter(layer for row in genotypes for layer in space.decode(row).layers)
    return {layer: (counts[layer] + 0.5) / sample for layer in space.layers}


def _mean_std(variance: Floats, left: npt.NDArray[np.bool_]) -> float:
    return float(np.sqrt(variance[left]).mean()) if left.any() else 0.0
