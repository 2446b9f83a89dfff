from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.layer_model import LayerModel, fit_layers
from latency_tables.selection import layer_uses, layer_weights, select_layers
from tests.latency_tables.pretended import FEATURES, LAYERS, SPACE, pretended_ms


def select_slowly(model: LayerModel, weights: list[float], most: int) -> list[int]:
    """The definition: after each choice the whole covariance is conditioned again."""
    covariance, order = model.covariance.copy(), list[int]()
    left = [row for row in range(len(weights)) if row not in model.rows]
    for _ in range(min(most, len(left))):
        gains = {}
        for row in left:
            total = covariance[row, row] + model.noise
            narrowed = sum(weights[other] * covariance[other, row] ** 2 for other in left) / total
            gains[row] = narrowed + weights[row] * model.noise
        best = max(left, key=lambda row: gains[row])
        column = covariance[:, best] / math.sqrt(covariance[best, best] + model.noise)
        covariance -= np.outer(column, column)
        left.remove(best)
        order.append(best)
    return order


@given(st.integers(0, 2**32), st.integers(0, 12))
@settings(deadline=None, max_examples=25)
def test_the_fast_way_is_the_definition(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(12, 5))
    rows = rng.permutation(12)[:2]
    model = LayerModel(rows, np.zeros(12), factor @ factor.T, 0.1, np.zeros(2), np.ones(2))
    weights = rng.uniform(0.1, 2, 12)
    found = select_layers(model, weights, most)
    assert found.order.tolist() == select_slowly(model, weights.tolist(), most)
    assert len(found.std) == len(found.order) + 1
    assert not set(found.order.tolist()) & set(rows.tolist())


def test_what_is_chosen_tells_more_than_what_is_drawn() -> None:
    latency_ms, nothing = pretended_ms(1), np.zeros(0, dtype=np.int64)
    before = fit_layers(FEATURES, nothing, np.zeros(0), tuned=False)
    chosen = select_layers(before, np.ones(len(LAYERS)), 30)
    drawn = np.random.default_rng(1).permutation(len(LAYERS))[:30]
    for rows, least in ((chosen.order, 0.0), (drawn, chosen.std[-1])):
        after = fit_layers(FEATURES, rows, latency_ms[rows], tuned=False)
        left = np.setdiff1d(np.arange(len(LAYERS)), rows)
        assert after.std[left].mean() > least
    assert chosen.std[-1] < chosen.std[0]


def test_layers_that_networks_use_weigh_more() -> None:
    uses = layer_uses(SPACE, sample=200)
    assert uses.keys() == set(SPACE.layers)
    stem, head = SPACE.layers[0], SPACE.decode(SPACE.sample(1, np.random.default_rng(0))[0])
    assert uses[stem] > 1
    assert uses[head.layers[-1]] > 1
    assert min(uses.values()) > 0
    weights = layer_weights(np.array(list(uses.values())), np.zeros(len(uses)))
    assert weights.mean() == 1
    assert weights.argmax() == np.argmax(list(uses.values()))
