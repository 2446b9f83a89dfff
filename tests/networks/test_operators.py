"""Single operators: keys both ways, what networks are made of, and what the runtime makes of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agents.emulator.profiled_model import ProfiledModel, quiet
from exporters.exporter import export_network
from networks.cells import CellNetwork
from networks.errors import OperatorKeyError
from networks.graph import Graph, GraphBuilder, Shape
from networks.layers import Layer, lower_layer
from networks.names import find_network
from networks.network import ImageNetwork, count_madds
from networks.operators import (
    SingleOperator,
    is_operator_key,
    lower_unit,
    operators_of,
    operators_of_graph,
    operators_of_layers,
    parse_operator,
)
from networks.spaces import make_space
from tests.networks.cell_networks import cell_networks
from tests.networks.test_layers import layers

SPACE = make_space("mnasnet", resolution=32)
# What XNNPACK calls them; a 1 x 1 convolution is a matrix product there
ROWS = {
    "conv": ("Convolution",),
    "depthwise": ("Convolution",),
    "dense": ("Static Reshape", "Convolution"),
    "average-pool": ("Average Pooling",),
    "max-pool": ("Max Pooling",),
    "mean": ("Mean",),
    "add": ("Add",),
    "multiply": ("Multiply",),
    "concatenate": ("Copy",),
    "shift": ("Constant Pad", "Slice"),
    "relu": ("Clamp",),
    "hard-swish": ("HardSwish",),
    "sigmoid": ("Sigmoid",),
    "hard-sigmoid": ("Add", "Clamp", "Multiply"),
}


def reparsed(operators: tuple[SingleOperator, ...]) -> tuple[SingleOperator, ...]:
    return tuple(parse_operator(operator.key) for operator in operators)


@settings(deadline=None)
@given(layers())
def test_parse_is_the_inverse_of_key(layer: Layer) -> None:
    operators = operators_of_graph(lower_layer(layer))
    assert reparsed(operators) == operators
    assert all(is_operator_key(operator.key) for operator in operators)
    assert not is_operator_key(layer.key)


@settings(max_examples=30, deadline=None)
@given(cell_networks())
def test_cells_are_made_of_operators_that_have_keys(network: CellNetwork) -> None:
    operators = operators_of(network)
    assert reparsed(operators) == operators
    assert sum(count_madds(lower_unit(operator)) for operator in operators) == network.madds
    for operator in operators:
        assert operator.graph().inputs == operator.inputs
        assert operator.graph().output == operator.operator.shape


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_the_operators_of_a_chain_are_those_of_its_layers(seed: int) -> None:
    (genotype,) = SPACE.sample(1, np.random.default_rng(seed))
    network = SPACE.decode(genotype)
    by_layer = [o for layer in network.layers for o in operators_of_graph(lower_layer(layer))]
    assert operators_of(network) == tuple(by_layer)
    assert set(by_layer) == set(operators_of_layers(network.layers))


def test_layers_share_operators() -> None:
    layers_of_space = make_space("mnasnet").layers
    operators = operators_of_layers(layers_of_space)
    assert (len(layers_of_space), len(operators)) == (1621, 877)
    assert len({operator.key for operator in operators}) == 877


def graph_of_every_kind() -> Graph:
    """Every operator, and each ReLU that could be merged, once where it is and once where not."""
    graph = GraphBuilder(Shape(6, 8, 4))
    deep = graph.convolution(0, 4, name="a", kernel=(1, 3), dilation=2)
    two_read_it = graph.convolution(deep, 4, name="b", stride=1, activation="relu6")
    merged = graph.activate(graph.max_pool(deep, kernel=3), "relu")
    lone = graph.activate(graph.add(two_read_it, merged), "relu")
    joined = graph.concatenate(lone, graph.shift(two_read_it))
    gate = graph.activate(graph.global_average(joined), "hard-sigmoid")
    gated = graph.multiply(joined, graph.activate(gate, "sigmoid"))
    pooled = graph.activate(graph.average_pool(gated, kernel=3, stride=2), "hard-swish")
    thin = graph.convolution(pooled, 8, name="c", kernel=3, depthwise=True, padding="valid")
    mean = graph.global_average(graph.activate(thin, "relu"))
    graph.dense(mean, 5, name="d", activation="relu")
    return graph.build()


def test_keys_are_permanent() -> None:
    assert [operator.key for operator in operators_of_graph(graph_of_every_kind())] == [
        "op1/conv/6x8x4/c4/k1x3/s1/d2/same/linear",
        "op1/conv/6x8x4/c4/k1x1/s1/d1/same/relu6",
        "op1/max-pool/6x8x4/k3/s1/linear-relu",
        "op1/add/6x8x4",
        "op1/relu/6x8x4",
        "op1/shift/6x8x4",
        "op1/concatenate/6x8x4+6x8x4",
        "op1/mean/6x8x8",
        "op1/hard-sigmoid/1x1x8",
        "op1/sigmoid/1x1x8",
        "op1/multiply/6x8x8",
        "op1/average-pool/6x8x8/k3/s2/linear",
        "op1/hard-swish/3x4x8",
        "op1/depthwise/3x4x8/k3x3/s1/d1/valid/linear-relu",
        "op1/mean/1x2x8",
        "op1/dense/1x1x8/c5/relu",
    ]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "op2/add/6x8x4",
        "op1/add/6x8x4 ",
        "op1/add/6x8x4+6x8x4",
        "op1/add/0x8x4",
        "op1/concatenate/6x8x4",
        "op1/concatenate/6x8x4+7x8x4",
        "op1/concatenate/1x1x1+1x1x1+1x1x1+1x1x1+1x1x1+1x1x1",
        "op1/conv/6x8x4/c4/k1x1/s1/d1/same/hard-swish",
        "op1/conv/6x8x4/c4/k7x7/s1/d1/valid/relu",
        "op1/conv/6x8x4/c4/k3x3/s2/d2/same/relu",
        "op1/depthwise/6x8x4/c4/k3x3/s1/d1/same/relu",
        "op1/max-pool/6x8x4/k3/s1",
        "op1/dense/6x8x4/c4/linear",
        "op1/softmax/6x8x4",
    ],
)
def test_nothing_else_is_a_key(key: str) -> None:
    with pytest.raises(OperatorKeyError):
        parse_operator(key)


class Given(ImageNetwork):
    """A network that is nothing but a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @property
    def input(self) -> Shape:
        return self._graph.inputs[0]

    @property
    def output(self) -> Shape:
        return self._graph.output

    def graph(self) -> Graph:
        return self._graph


@pytest.mark.parametrize("name", ["nasnet-a-cifar,width=0.25", "mobilenet-v3-large", ""])
def test_the_runtime_runs_these_operators_and_no_others(tmp_path: Path, name: str) -> None:
    graph = find_network(name).graph() if name else graph_of_every_kind()
    path = tmp_path / "network.tflite"
    export_network(Given(graph), path)
    with quiet():
        model = ProfiledModel(path)
        model.invoke()
        tags = [row.tag.split(" (")[0] for row in model.operators()]
    found = Counter("Convolution" if tag == "Fully Connected" else tag for tag in tags)
    expected = Counter(row for o in operators_of_graph(graph) for row in ROWS[o.kind])
    assert found == expected
