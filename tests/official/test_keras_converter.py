from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import reject

from exporters.delegation import read_delegation
from exporters.direct import DirectExporter
from exporters.errors import CalibrationError, DamagedModel, UnsupportedOperator
from exporters.exporter import Exporter
from exporters.int8 import Int8Exporter
from exporters.keras_converter import KerasExporter
from exporters.model_file import read_labels, read_operators
from exporters.weights import random_weights
from networks.graph import Graph, MaxPool, Operator, Shape
from networks.layers import lower_layer
from networks.published_cells import published_cell_network
from networks.torch_module import GraphModule
from tests.contracts.exporter_contract import LAYER, Image, random_image, run_model
from tests.exporters.test_int8 import error
from tests.official.cross_check import CrossCheckContract, expected_operators

# What TensorFlow's own int8 path says of itself, however it is called
pytestmark = [
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning"),
]


class TestKerasExporter(CrossCheckContract):
    def make_exporter(self) -> Exporter:
        return KerasExporter()

    def check_operators(self, graph: Graph, operators: tuple[str, ...]) -> None:
        expected = expected_operators("keras", graph, direct_operators(DirectExporter(), graph))
        assert expected in (None, operators)


class TestKerasExporterFloat16(CrossCheckContract):
    arguments = ("float16",)
    layer_tolerance = 2e-3
    network_tolerance = 5e-2

    def make_exporter(self) -> Exporter:
        return KerasExporter("float16")

    def check_operators(self, graph: Graph, operators: tuple[str, ...]) -> None:
        expected = expected_operators("keras", graph, direct_operators(DirectExporter(), graph))
        found = [name for name in operators if name != "DEQUANTIZE"]
        assert expected is None or sorted(expected) == sorted(found)


class TestKerasExporterInt8(CrossCheckContract):
    arguments = ("int8",)
    layer_tolerance = 0.05
    network_tolerance = 0.1
    not_delegated = frozenset({"AVERAGE_POOL_2D", "RELU", "HARD_SWISH"})

    def make_exporter(self) -> Exporter:
        return KerasExporter("int8")

    def make_exporter_for(self, *images: Image) -> Exporter:
        return KerasExporter("int8", images[0]) if len(images) == 1 else self.make_exporter()

    def _error(self, graph: Graph, seed: int = 0) -> float:
        """Reject an arbitrary layer with a dead activation: see the last test."""
        try:
            return super()._error(graph, seed)
        except DamagedModel:
            return float(reject())

    def make_module(self, graph: Graph, seed: int) -> GraphModule:
        """Return a module without a dead squeeze: see the last test."""
        module = super().make_module(graph, seed)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if "se_squeeze" in name:
                    parameter.abs_()
        return module

    def difference(self, found: Image, expected: Image) -> float:
        return error(found, expected)

    def check_operators(self, graph: Graph, operators: tuple[str, ...]) -> None:
        direct = direct_operators(Int8Exporter(), graph)
        if not any(isinstance(operator, MaxPool) for operator in graph.operators):
            direct = tuple("RELU" if name == "MAX_POOL_2D" else name for name in direct)
        expected = expected_operators("keras", graph, direct)
        scaling = ("QUANTIZE", "DEQUANTIZE")
        assert expected is None or [name for name in expected if name not in scaling] == [
            name for name in operators if name not in scaling
        ]


def test_a_network_of_cells_has_the_same_numbers_and_operators_but_for_fused_relus() -> None:
    network = replace(
        published_cell_network("nasnet-a-mobile", width=0.25, resolution=64), repeats=1
    )
    graph = network.graph()
    weights = random_weights(graph)
    ours, theirs = (e.export(graph, weights) for e in (DirectExporter(), KerasExporter()))
    missing = Counter(read_operators(ours)) - Counter(read_operators(theirs))
    assert Counter(read_operators(theirs)) <= Counter(read_operators(ours))
    assert set(missing) == {"RELU"}
    image = random_image(graph.inputs[0])
    run = run_model(theirs, image)
    assert run.is_one_delegate
    np.testing.assert_allclose(run.output, run_model(ours, image).output, rtol=1e-5, atol=1e-5)


def test_calibration_images_are_labelled_and_those_that_do_not_fit_are_refused() -> None:
    images = np.concatenate([random_image(LAYER.input, seed) for seed in range(3)])
    graph = lower_layer(LAYER)
    weights = random_weights(graph)
    labels = read_labels(KerasExporter("int8", images).export(graph, weights))
    assert labels["calibration"] == "3 images"
    with pytest.raises(CalibrationError, match="expected calibration images of 7x7x8"):
        KerasExporter("int8", images[:, 1:]).export(graph, weights)
    with pytest.raises(CalibrationError, match="at least one"):
        KerasExporter("int8", images[:0])


def test_an_operator_that_keras_lacks_is_named() -> None:
    class Sort(Operator):
        pass

    shape = Shape(2, 2, 2)
    with pytest.raises(UnsupportedOperator, match="Sort"):
        KerasExporter().export(Graph((shape,), (Sort((0,), shape),), (1,)), {})
    with pytest.raises(UnsupportedOperator, match="without operators"):
        KerasExporter().export(Graph((shape,), (), (0,)), {})


def test_a_conversion_is_silent() -> None:
    program = (
        "from exporters.keras_converter import KerasExporter as E;"
        "from networks.layers import lower_layer, parse_layer;"
        "from exporters.weights import random_weights;"
        f"g = lower_layer(parse_layer({LAYER.key!r}));"
        "E('int8').export(g, random_weights(g))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_dead_squeeze_makes_an_int8_model_that_only_the_direct_exporter_gets_right() -> None:
    graph = lower_layer(LAYER)
    weights = random_weights(graph)
    kernel, bias = weights["se_squeeze"]
    dead = {**weights, "se_squeeze": (kernel, np.full_like(bias, -100))}
    assert read_delegation(Int8Exporter().export(graph, dead)).is_whole
    with pytest.raises(DamagedModel, match="cannot prepare"):
        read_delegation(KerasExporter("int8").export(graph, dead))


def direct_operators(exporter: Exporter, graph: Graph) -> tuple[str, ...]:
    """Return the TFLite operators that a direct exporter makes of a graph."""
    return read_operators(exporter.export(graph, random_weights(graph)))
