"""Cells: published counts, every operator, any genotype, and cells that cannot be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.direct import DirectExporter
from networks.cell_operators import CELL_OPERATORS
from networks.cells import Block, Cell, CellNetwork, Edge, unread_states
from networks.errors import CellError, ShapeError, UnknownName
from networks.graph import Activate, Concatenate, Graph, GraphBuilder, MaxPool, Shape
from networks.published_cells import (
    NASNET_A_NORMAL,
    NASNET_A_REDUCTION,
    PUBLISHED_CELLS,
    published_cell_network,
)
from networks.torch_module import GraphModule, folded_weights
from tests.contracts.exporter_contract import random_image, run_model, trained_like
from tests.networks.cell_networks import cell_networks


def error_of(graph: Graph, seed: int = 0) -> float:
    """Return how far LiteRT is from torch, over the output's scale where that is above 1."""
    module = trained_like(graph, seed)
    image = random_image(graph.inputs[0], seed)
    run = run_model(DirectExporter().export(graph, folded_weights(module)), image)
    assert run.is_one_delegate
    with torch.no_grad():
        expected = module(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()
    found = run.output if run.output.ndim == 2 else run.output.transpose(0, 3, 1, 2)
    return float(abs(found.reshape(expected.shape) - expected).max() / max(1, abs(expected).max()))


# Parameters are the trainable ones of `keras.applications.NASNetMobile(weights=None)` and
# `NASNetLarge(weights=None)` in Keras 3.15, madds the sums over their convolutions and dense
# layers (kernel size x output pixels). Keras has no CIFAR stem: that row is our own count, and
# slim's published one is 3.3M.
@pytest.mark.parametrize(
    ("name", "params", "madds"),
    [
        ("nasnet-a-mobile", 5_289_978, 563_638_816),
        ("nasnet-a-large", 88_753_150, 23_783_414_658),
        ("nasnet-a-cifar", 3_346_538, 544_333_312),
    ],
)
def test_published_counts(name: str, params: int, madds: int) -> None:
    network = published_cell_network(name)
    assert (network.params, network.madds) == (params, madds)


# Endpoints of slim's nasnet_test.py: what each cell gives, stem cells and reductions included
@pytest.mark.parametrize(
    ("name", "resolution", "shapes"),
    [
        ("nasnet-a-mobile", 224, ["28x28x264", "14x14x352", "14x14x528", "7x7x704", "7x7x1056"]),
        ("nasnet-a-large", 331,
         ["42x42x1008", "21x21x1344", "21x21x2016", "11x11x2688", "11x11x4032"]),
        ("nasnet-a-cifar", 32, ["32x32x192", "16x16x256", "16x16x384", "8x8x512", "8x8x768"]),
    ],
)  # fmt: skip
def test_published_shapes(name: str, resolution: int, shapes: list[str]) -> None:
    graph = published_cell_network(name, resolution=resolution).graph()
    six_or_four = [
        str(operator.shape)
        for operator in graph.operators
        if isinstance(operator, Concatenate) and len(operator.inputs) > 3
    ]
    body = dict.fromkeys(six_or_four if name == "nasnet-a-cifar" else six_or_four[2:])
    assert list(body) == shapes


def test_nasnet_a_mobile_is_one_delegate_and_equals_torch() -> None:
    assert error_of(published_cell_network("nasnet-a-mobile").graph()) < 1e-4


@pytest.mark.parametrize("name", ["nasnet-a-mobile", "nasnet-a-cifar"])
@pytest.mark.parametrize("resolution", [32, 35, 64])
def test_small_and_odd_resolutions(name: str, resolution: int) -> None:
    graph = published_cell_network(name, resolution=resolution, width=0.25, classes=10).graph()
    assert error_of(graph) < 1e-4


@pytest.mark.parametrize("name", PUBLISHED_CELLS)
@pytest.mark.parametrize("width", [0.25, 0.7, 1.5])
def test_any_width(name: str, width: float) -> None:
    network = published_cell_network(name, width=width, classes=7, in_channels=1)
    assert network.graph().output == network.output == Shape(1, 1, 7)
    assert network.filters % 4 == 0


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("channels", [6, 9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("operator", CELL_OPERATORS)
def test_every_operator_at_every_stride(
    operator: str, stride: int, channels: int, side: int
) -> None:
    graph = GraphBuilder(Shape(side, side + 2, channels))
    edge = Edge(operator, 0)
    cell = Cell((Block(edge, Edge("max3", 1)),), (2,))
    cell.lower(graph, 0, None, filters=6, stride=stride)
    built = graph.build()
    assert built.output == built.inputs[0].strided(stride, 6)
    assert error_of(built) < 1e-5


@settings(max_examples=15, deadline=None)
@given(cell_networks(), st.integers(0, 9))
def test_any_network_of_cells_equals_torch(network: CellNetwork, seed: int) -> None:
    graph = network.graph()
    assert graph.output == network.output
    assert error_of(graph, seed) < 1e-4


@settings(max_examples=25, deadline=None)
@given(cell_networks())
def test_every_operator_is_read_and_every_parameter_learns(network: CellNetwork) -> None:
    graph = network.graph()
    read = {value for operator in graph.operators for value in operator.inputs}
    assert read.union(graph.outputs) == set(range(1 + len(graph.operators)))
    module = GraphModule(graph)
    assert sum(p.numel() for p in module.parameters()) == network.params


def test_what_has_no_parameters_is_computed_once() -> None:
    graph = published_cell_network("nasnet-a-mobile").graph()
    for kind in (Activate, MaxPool):
        found = [operator for operator in graph.operators if isinstance(operator, kind)]
        assert len(set(found)) == len(found) > 0
    relus = [o.inputs for o in graph.operators if isinstance(o, Activate)]
    assert len(set(relus)) == len(relus)


def test_the_cell_after_a_reduction_may_skip_its_input() -> None:
    def params(skip: bool) -> int:
        cell = Cell((Block(Edge("id", 0), Edge("id", 1)),), (2,))
        return CellNetwork(
            Shape(16, 16, 3), "cifar", 5, 1, 8, cell, cell, 2, skip_reduction_input=skip
        ).params

    # the first cell after a reduction adapts 8 channels to 16 by two paths, or the stem's 5;
    # the second one 16 to 32, or the reduction's 16
    assert params(False) - params(True) == (8 - 5) * 16


def test_the_paper_concatenates_what_no_block_reads() -> None:
    assert unread_states(NASNET_A_REDUCTION.blocks) == (4, 5, 6)
    assert unread_states(NASNET_A_NORMAL.blocks) == (2, 3, 4, 5, 6)


BLOCK = Block(Edge("id", 0), Edge("id", 1))


@pytest.mark.parametrize(
    ("blocks", "concatenated", "message"),
    [
        ((), (0,), "at least one block"),
        ((Block(Edge("id", 0), Edge("id", 2)),), (2,), "block 0 reads a state from 0 to 1"),
        ((Block(Edge("id", -1), Edge("id", 1)),), (2,), "from 0 to 1, found -1"),
        ((BLOCK,), (), r"ascending order, found \[\]"),
        ((BLOCK,), (3,), "states from 0 to 2"),
        ((BLOCK,), (2, 1), r"found \[2, 1\]"),
        ((BLOCK,), (2, 2), r"found \[2, 2\]"),
        ((BLOCK, BLOCK), (3,), r"states \[2\] are neither read by a block nor concatenated"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be(
    blocks: tuple[Block, ...], concatenated: tuple[int, ...], message: str
) -> None:
    with pytest.raises(CellError, match=message):
        Cell(blocks, concatenated)


def test_an_unknown_operator_gets_suggestions() -> None:
    with pytest.raises(UnknownName, match="no cell operator is named 'sep9'; did you mean"):
        Edge("sep9", 0)
    with pytest.raises(UnknownName, match="did you mean nasnet-a-large"):
        published_cell_network("nasnet-large")


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf")])
def test_a_width_that_cannot_be(width: float) -> None:
    with pytest.raises(ShapeError, match="width multiplier"):
        published_cell_network("nasnet-a-mobile", width=width)


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(ShapeError, match="3x3 kernel without padding does not fit into 2x2x3"):
        published_cell_network("nasnet-a-mobile", resolution=2)
    with pytest.raises(ShapeError, match="imagenet stem start at 8, found 4"):
        published_cell_network("nasnet-a-mobile", width=0.1)
    with pytest.raises(ShapeError, match="classes start at 1"):
        published_cell_network("nasnet-a-cifar", classes=0)
