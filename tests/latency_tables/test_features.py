from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.features import CACHES, TILES, features_of
from networks.layers import lower_layer
from networks.network import Network, count_madds
from networks.published import published_network
from networks.spaces import make_space

SPACES = [make_space(name, resolution=64) for name in ("mnasnet", "accel-nasbench")]
LAYERS = [layer for space in SPACES for layer in space.layers]


@given(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=8))
def test_a_layer_is_the_sum_of_its_operators(layers: list[Network]) -> None:
    found = features_of(layers)  # type: ignore[arg-type]
    graphs = [lower_layer(layer) for layer in layers]  # type: ignore[arg-type]
    madds = found.counts @ [operator.madds for operator in found.operators]
    assert madds.tolist() == [count_madds(graph) for graph in graphs]
    assert found.counts.sum(axis=1).tolist() == [len(graph.operators) for graph in graphs]
    assert len(set(found.operators)) == len(found.operators)


def test_layers_share_operators() -> None:
    space = SPACES[0]
    found = features_of(space.layers)
    assert len(found.operators) < 0.7 * len(space.layers)
    assert found.counts.shape == (len(space.layers), len(found.operators))
    assert found.operator_sizes.shape[0] == found.kinds.shape[0] == len(found.operators)
    assert found.kinks.shape == (len(found.operators), 2 * len(TILES) + len(CACHES))
    assert (found.kinks >= 0).all()
    assert np.isfinite(found.sizes).all()
    assert {"convolution", "pointwise", "depthwise", "dense", "add"} <= {
        operator.kind for operator in found.operators
    }


def test_channels_are_rounded_up_to_tiles() -> None:
    layers = published_network("mobilenet-v2").layers
    found = features_of(layers)
    for operator, kinks in zip(found.operators, found.kinks, strict=True):
        for tile, kink in zip(TILES, kinks, strict=False):
            rounded = operator.output.channels * np.exp(kink)
            assert rounded % tile == pytest.approx(0, abs=1e-6) or rounded % tile == pytest.approx(
                tile
            )
            assert operator.output.channels <= rounded + 1e-9 < operator.output.channels + tile
