"""Layers: keys both ways, shapes that cannot be, counts that add up."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.errors import LayerKeyError, ShapeError
from networks.graph import Activation, Gate, Shape
from networks.layers import (
    Bottleneck,
    Classifier,
    Conv,
    Layer,
    Separable,
    Skip,
    SqueezeExcite,
    lower_layer,
    parse_layer,
)
from networks.network import Network, count_madds, count_params

ACTIVATIONS = get_args(Activation)
GATES = get_args(Gate)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    side, inputs = draw(st.integers(1, 20)), draw(st.integers(1, 16))
    shape = Shape(side, draw(st.integers(1, 20)), inputs)
    kind = draw(st.sampled_from(["conv", "separable", "bottleneck", "classifier"]))
    activation: Activation = draw(st.sampled_from(ACTIVATIONS))
    if kind == "classifier":
        hidden = draw(st.integers(0, 9))
        return Classifier(
            shape, draw(st.integers(1, 9)), hidden, activation if hidden else "linear"
        )
    stride, channels = draw(st.sampled_from([1, 2])), draw(st.integers(1, 16))
    if draw(st.booleans()):
        stride, channels = 1, inputs
    acts = stride == 1 and channels == inputs
    gate = st.builds(SqueezeExcite, st.integers(1, 5), st.sampled_from(GATES))
    se = draw(st.none() | gate)
    kernel = draw(st.sampled_from([1, 3, 5]))
    skip: Skip = draw(st.sampled_from(get_args(Skip))) if acts else "none"
    if kind == "conv":
        return Conv(
            shape, channels, kernel=kernel, stride=stride, activation=activation, se=se, skip=skip
        )
    if kind == "separable":
        return Separable(
            shape, channels, kernel=kernel, stride=stride, activation=activation, se=se, skip=skip,
            pointwise=draw(st.sampled_from(ACTIVATIONS)),
        )  # fmt: skip
    return Bottleneck(
        shape, channels, kernel=kernel, stride=stride, activation=activation, se=se, skip=skip,
        expanded=draw(st.integers(1, 40)),
    )  # fmt: skip


@given(layers())
def test_parse_is_the_inverse_of_key(layer: Layer) -> None:
    assert parse_layer(layer.key) == layer


@given(layers())
def test_the_graph_gives_the_shape_that_the_layer_says(layer: Layer) -> None:
    assert lower_layer(layer).output == layer.output


@given(layers())
def test_a_network_counts_the_sum_of_its_layers(layer: Layer) -> None:
    after = Conv(layer.output, 8, kernel=3)
    network = Network((layer, after))
    graphs = [lower_layer(layer), lower_layer(after)]
    assert network.params == sum(map(count_params, graphs))
    assert network.madds == sum(map(count_madds, graphs))


def test_keys_are_permanent() -> None:
    shape = Shape(56, 56, 24)
    gate = SqueezeExcite(6)
    assert (
        Bottleneck(shape, 40, kernel=5, stride=2, expanded=72, se=gate).key
        == "v1/bottleneck/56x56x24/c40/k5/s2/m72/relu/se6-sigmoid/none"
    )
    assert (
        Separable(Shape(112, 112, 32), 16, kernel=3).key
        == "v1/separable/112x112x32/c16/k3/s1/relu-linear/se0/none"
    )
    assert Conv(shape, 24, kernel=3, skip="pool").key == "v1/conv/56x56x24/c24/k3/s1/relu/se0/pool"
    assert Classifier(Shape(7, 7, 1280), 1000).key == "v1/classifier/7x7x1280/c1000/h0/linear"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "v2/conv/56x56x24/c24/k3/s1/relu/se0/none",
        "v1/conv/56x56x24/c24/k3/s1/relu/se0/none ",
        "v1/conv/56x56x24/c24/k3/s1/relu/se0",
        "v1/conv/56x56x24/c24/k3/s1/m72/relu/se0/none",
        "v1/separable/56x56x24/c24/k3/s1/relu/se0/none",
        "v1/bottleneck/56x56x24/c24/k3/s1/relu/se0/none",
        "v1/conv/56x56x24/c24/k4/s1/relu/se0/none",
        "v1/conv/56x56x24/c40/k3/s1/relu/se0/identity",
        "v1/classifier/7x7x1280/c1000/h0/relu",
    ],
)
def test_nothing_else_is_a_key(key: str) -> None:
    with pytest.raises(LayerKeyError):
        parse_layer(key)


def test_layers_that_do_not_connect_are_named_with_both_shapes() -> None:
    first = Conv(Shape(8, 8, 3), 16, kernel=3, stride=2)
    with pytest.raises(ShapeError, match=r"layer 1 expects 8x8x16, layer 0 gives 4x4x16"):
        Network((first, Conv(Shape(8, 8, 16), 8, kernel=1)))


def test_a_skip_that_cannot_act_cannot_be_built() -> None:
    with pytest.raises(ShapeError, match="stride 2 and 16 -> 16"):
        Conv(Shape(8, 8, 16), 16, kernel=3, stride=2, skip="identity")
