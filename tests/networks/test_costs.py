from __future__ import annotations

from pathlib import Path

import pytest

from exporters.exporter import export_network
from networks.costs import count_costs, peak_values
from networks.graph import GraphBuilder, Shape
from networks.names import find_network
from networks.network import Network


def test_peak_of_a_chain_is_its_largest_neighbours() -> None:
    graph = GraphBuilder(Shape(4, 4, 2))
    wide = graph.convolution(0, 8, name="a", kernel=1)
    graph.convolution(wide, 3, name="b", kernel=1)
    assert peak_values(graph.build()) == 16 * (8 + 3)


def test_what_is_read_later_stays_alive() -> None:
    graph = GraphBuilder(Shape(4, 4, 2))
    hidden = graph.convolution(0, 8, name="a", kernel=1)
    hidden = graph.convolution(hidden, 2, name="b", kernel=1)
    graph.add(hidden, 0)
    assert peak_values(graph.build()) == 16 * (2 + 8 + 2)


def test_an_output_is_never_freed() -> None:
    graph = GraphBuilder(Shape(1, 1, 5))
    first = graph.dense(0, 7, name="a")
    second = graph.dense(first, 4, name="b")
    third = graph.dense(second, 1, name="c")
    assert peak_values(graph.build(first, third)) == 5 + 7 == 7 + 4 + 1


@pytest.mark.parametrize(
    "name", ["mnasnet-a1", "mobilenet-v1", "mobilenet-v3-large", "nasnet-a-mobile"]
)
def test_a_file_is_as_large_as_counted(name: str, tmp_path: Path) -> None:
    network = find_network(name)
    exported = export_network(network, tmp_path / "model.tflite", seed=0)
    assert count_costs(network.graph()).size_bytes == pytest.approx(exported.size_bytes, rel=0.005)


def test_costs_of_a_network_add_up_over_its_layers() -> None:
    network = find_network("mnasnet-b1")
    assert isinstance(network, Network)
    whole = count_costs(network.graph())
    layers = [count_costs(Network((layer,)).graph()) for layer in network.layers]
    assert whole.madds == sum(cost.madds for cost in layers)
    assert whole.params == sum(cost.params for cost in layers)
    assert whole.size_bytes == sum(cost.size_bytes for cost in layers)
    assert whole.memory_bytes == max(cost.memory_bytes for cost in layers)
