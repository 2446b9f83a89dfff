from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.errors import ShapeError
from networks.graph import Graph, GraphBuilder, Shape
from networks.layers import Bottleneck, Conv, Layer, SqueezeExcite, lower_layer
from networks.network import count_params
from networks.published import PUBLISHED, published_network
from networks.torch_module import GraphModule, folded_weights, module_of_weights
from tests.contracts.exporter_contract import LAYER, OPERATOR_GRAPHS, layers, trained_like


@settings(max_examples=60, deadline=None)
@given(layers(), st.integers(1, 3))
def test_a_layer_has_the_shape_and_parameters_of_its_graph(layer: Layer, batch: int) -> None:
    graph = lower_layer(layer)
    module = GraphModule(graph).eval()
    source, shape = layer.input, layer.output
    output = module(torch.zeros(batch, source.channels, source.height, source.width))
    expected = (batch, shape.channels, shape.height, shape.width)
    assert output.shape == (expected[:2] if shape.height == shape.width == 1 else expected)
    assert sum(p.numel() for p in module.parameters()) == count_params(graph)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_gives_logits_and_every_parameter_a_gradient(name: str) -> None:
    network = published_network(name, resolution=32, classes=10)
    module = GraphModule(network.graph())
    logits = module(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    assert sum(p.numel() for p in module.parameters()) == network.params
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 2]))
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_submodules_carry_the_names_of_operators() -> None:
    network = published_network("mnasnet-a1", resolution=32)
    module = GraphModule(network.graph())
    assert module.get_submodule("3.depthwise")
    assert set(folded_weights(module)) == {
        name.removesuffix(".convolution").removesuffix(".dense")
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)
    }


@pytest.mark.parametrize("graph", OPERATOR_GRAPHS.values(), ids=list(OPERATOR_GRAPHS))
def test_folded_weights_make_a_module_that_computes_the_same_and_gives_them_back(
    graph: Graph,
) -> None:
    module = trained_like(graph)
    weights = folded_weights(module)
    folded = module_of_weights(graph, weights)
    again = folded_weights(folded)
    assert again.keys() == weights.keys()
    for name, parts in weights.items():
        for one, other in zip(parts, again[name], strict=True):
            np.testing.assert_array_equal(one, other)
    images = [torch.randn(2, s.channels, s.height, s.width) for s in graph.inputs]
    with torch.no_grad():
        for expected, found in zip(module.outputs(*images), folded.outputs(*images), strict=True):
            torch.testing.assert_close(expected, found, rtol=1e-5, atol=1e-5)


def test_an_image_of_another_size_is_refused_with_both() -> None:
    module = GraphModule(lower_layer(Conv(Shape(8, 8, 3), 4, kernel=3)))
    with pytest.raises(ShapeError, match=r"8x8x3.*\(1, 3, 8, 9\)"):
        module(torch.zeros(1, 3, 8, 9))


def test_the_same_seed_gives_the_same_module() -> None:
    graph = lower_layer(LAYER)
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(GraphModule(graph).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_copy_computes_the_same_and_is_its_own() -> None:
    module = trained_like(lower_layer(LAYER))
    twin = copy.deepcopy(module)
    image = torch.randn(1, 8, 7, 7)
    assert torch.equal(module(image), twin(image))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert not torch.equal(module(image), twin(image))


def test_folded_weights_do_not_follow_further_training() -> None:
    module = trained_like(published_network("mnasnet-small", resolution=32).graph())
    weights = folded_weights(module)
    before = {name: (kernel.copy(), bias.copy()) for name, (kernel, bias) in weights.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    for name, (kernel, bias) in weights.items():
        np.testing.assert_array_equal(kernel, before[name][0])
        np.testing.assert_array_equal(bias, before[name][1])


def test_initial_variance_is_he_by_fan_out() -> None:
    module = GraphModule(lower_layer(Bottleneck(Shape(8, 8, 64), 128, kernel=5, expanded=512)))
    for name, fan_out in (("expand", 512), ("depthwise", 25), ("project", 128)):
        weight = module.get_submodule(name).get_parameter("convolution.weight")
        assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


def test_padding_is_explicit_only_where_it_is_lopsided() -> None:
    for size, stride, pads in ((8, 2, True), (7, 2, False), (8, 1, False)):
        module = GraphModule(lower_layer(Conv(Shape(size, size, 2), 2, kernel=3, stride=stride)))
        assert (module.get_submodule("conv").pad is not None) == pads


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [4, 5])
def test_average_pool_leaves_padding_out(stride: int, size: int) -> None:
    graph = GraphBuilder(Shape(size, size, 1))
    graph.average_pool(0, kernel=3, stride=stride)
    pooled = GraphModule(graph.build())(torch.full((1, 1, size, size), 2.0))
    torch.testing.assert_close(pooled, torch.full_like(pooled, 2.0))


def test_values_are_dropped_after_their_last_use() -> None:
    """A gate reads a value late; dropping it early would be a KeyError."""
    layer = Bottleneck(
        Shape(6, 6, 4), 4, kernel=3, expanded=8, se=SqueezeExcite(2), skip="identity"
    )
    module = GraphModule(lower_layer(layer))
    assert module(torch.zeros(1, 4, 6, 6)).shape == (1, 4, 6, 6)
