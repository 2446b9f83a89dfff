from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.direct import DirectExporter
from exporters.weights import check_weights, random_weights
from networks.graph import Shape
from networks.layers import Conv, Layer, lower_layer
from networks.network import count_params
from networks.published import PUBLISHED, published_network
from tests.contracts.exporter_contract import layers, random_image, run_model


@settings(max_examples=50, deadline=None)
@given(layers(), st.integers(0, 2**63))
def test_random_weights_fit_any_layer_and_repeat(layer: Layer, seed: int) -> None:
    graph = lower_layer(layer)
    weights = random_weights(graph, seed)
    check_weights(graph, weights)
    again = random_weights(graph, seed)
    for name, (kernel, bias) in weights.items():
        np.testing.assert_array_equal(kernel, again[name][0])
        assert (bias > 0).all()


def test_folded_weights_and_biases_are_the_parameters_less_batch_norm_scales() -> None:
    network = published_network("mobilenet-v2", resolution=32)
    weights = random_weights(network.graph())
    size = sum(kernel.size + bias.size for kernel, bias in weights.values())
    scales = network.params - size
    assert count_params(network.graph()) == network.params
    assert 0 < scales == sum(b.size for n, (_, b) in weights.items() if "classify" not in n)


@pytest.mark.parametrize("name", PUBLISHED)
def test_activations_neither_die_nor_explode_in_a_whole_network(name: str) -> None:
    graph = published_network(name, resolution=64).graph()
    data = DirectExporter().export(graph, random_weights(graph))
    one, two = (run_model(data, random_image(graph.inputs[0], seed)).output for seed in (0, 1))
    assert 0.01 < one.std() < 100
    assert not np.array_equal(one, two)


def test_filters_of_a_kernel_larger_than_the_block_differ() -> None:
    graph = lower_layer(Conv(Shape(1, 1, 256), 256, kernel=5))
    kernel, _ = random_weights(graph)["conv"]
    assert kernel.size > 2**20
    assert len(np.unique(kernel.reshape(len(kernel), -1), axis=0)) == len(kernel)
    assert abs(float(kernel.std()) * np.sqrt(kernel[0].size / 2) - 1) < 0.01
