from __future__ import annotations

import pytest

from exporters.branches import Branch, read_branches
from exporters.direct import DirectExporter
from exporters.errors import DamagedModel, DamagedPack
from exporters.weights import random_weights
from networks.graph import Graph, GraphBuilder, Shape

IMAGE = Shape(4, 4, 2)


def exported(graph: Graph) -> bytes:
    return DirectExporter().export(graph, random_weights(graph))


def test_nodes_are_traced_through_the_tensors() -> None:
    graph = GraphBuilder(IMAGE, Shape(3, 3, 2))
    first = graph.activate(graph.shift(0), "hard-sigmoid")
    second = graph.dense(graph.global_average(1), 3, name="dense")
    assert read_branches(exported(graph.build(first, second))) == (
        Branch("image_0", "features_0", 0, 3, ("PAD", "STRIDED_SLICE", "ADD", "MUL")),
        Branch("image_1", "logits_1", 4, 5, ("MEAN", "FULLY_CONNECTED")),
    )


def joined() -> Graph:
    graph = GraphBuilder(IMAGE, IMAGE)
    first = graph.activate(0, "relu")
    return graph.build(first, graph.add(first, 1))


def crossed() -> Graph:
    graph = GraphBuilder(IMAGE, IMAGE)
    second = graph.activate(1, "relu")
    return graph.build(second, graph.activate(0, "relu"))


def dangling() -> Graph:
    graph = GraphBuilder(IMAGE)
    graph.activate(0, "sigmoid")
    return graph.build(graph.activate(0, "relu"))


def interleaved() -> Graph:
    graph = GraphBuilder(IMAGE, IMAGE)
    values = [graph.activate(image, "relu") for image in (0, 1)]
    return graph.build(*(graph.activate(value, "sigmoid") for value in values))


def two_outputs() -> Graph:
    graph = GraphBuilder(IMAGE)
    first = graph.activate(0, "relu")
    return graph.build(first, graph.activate(first, "sigmoid"))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (joined(), r"tensor \d+ in branches 0 and 1|input 0"),
        (crossed(), "input 0 to lead to output 0, found output 1"),
        (dangling(), "node 0 to lead to one output"),
        (interleaved(), r"branch 0 to stand together, found nodes \[0, 2\]"),
        (two_outputs(), "one output for each of 1 inputs, found 2"),
    ],
    ids=["joined", "crossed", "dangling", "interleaved", "two outputs"],
)
def test_what_is_not_independent_branches_is_refused(graph: Graph, message: str) -> None:
    with pytest.raises(DamagedPack, match=message):
        read_branches(exported(graph))


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(DamagedModel, match="identifier TFL3"):
        read_branches(b"no model")
