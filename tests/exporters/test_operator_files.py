"""Single operators as files of their own: what a network's file holds, and one whole delegate."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from exporters.catalog import make_exporter
from exporters.delegation import read_delegation
from exporters.exporter import export_network
from exporters.layer_files import export_layers
from exporters.model_file import read_labels
from networks.names import find_network
from networks.operators import operators_of, operators_of_graph
from tests.networks.test_operators import graph_of_every_kind


@pytest.mark.parametrize("name", ["nasnet-a-cifar,width=0.25", "mobilenet-v3-large,resolution=32"])
def test_a_network_holds_the_operators_of_its_units(tmp_path: Path, name: str) -> None:
    network = find_network(name)
    whole = export_network(network, tmp_path / "network.tflite")
    units = Counter(operators_of(network))
    parts: Counter[str] = Counter()
    for (unit, times), (_, model) in zip(
        units.items(), export_layers(units, tmp_path / "units"), strict=True
    ):
        assert model.path.exists(), unit.key
        parts.update({operator: times * n for operator, n in Counter(model.operators).items()})
    assert parts == Counter(whole.operators)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_each_is_one_delegate_in_every_precision(tmp_path: Path, precision: str) -> None:
    units = operators_of_graph(graph_of_every_kind())
    exporter = make_exporter(precision=precision)
    for unit, model in export_layers(units, tmp_path, exporter=exporter):
        data = model.path.read_bytes()
        assert read_labels(data)["layer"] == unit.key
        assert read_delegation(data).is_whole, unit.key
