from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporters.direct import DirectExporter
from exporters.errors import UnsupportedOperator
from exporters.exporter import Exporter
from exporters.weights import random_weights
from networks.graph import Graph, Operator, Shape
from networks.layers import Bottleneck, Classifier, Layer, Separable, SqueezeExcite, lower_layer
from tests.contracts.exporter_contract import LAYER, ExporterContract, operators_of


class TestDirectExporter(ExporterContract):
    def make_exporter(self) -> Exporter:
        return DirectExporter()


@pytest.mark.parametrize(
    ("layer", "operators"),
    [
        (
            LAYER,
            "AVERAGE_POOL_2D CONV_2D DEPTHWISE_CONV_2D MEAN CONV_2D CONV_2D LOGISTIC MUL"
            " CONV_2D ADD",
        ),
        (
            Separable(
                Shape(4, 4, 4), 8, kernel=3, activation="hard-swish",
                se=SqueezeExcite(2, "hard-sigmoid"),
            ),
            "DEPTHWISE_CONV_2D HARD_SWISH MEAN CONV_2D CONV_2D ADD MUL MUL CONV_2D",
        ),
        (Bottleneck(Shape(4, 4, 4), 8, kernel=3, expanded=8), "CONV_2D DEPTHWISE_CONV_2D CONV_2D"),
        (Classifier(Shape(4, 4, 4), 8), "MEAN FULLY_CONNECTED"),
    ],
    ids=["pool-skip", "hard", "bottleneck", "classifier"],
)  # fmt: skip
def test_operators_are_those_of_the_official_converter(layer: Layer, operators: str) -> None:
    assert operators_of(DirectExporter(), layer) == tuple(operators.split())


def test_data_is_aligned_and_buffer_zero_empty() -> None:
    graph = lower_layer(LAYER)
    data = DirectExporter().export(graph, random_weights(graph))
    model = schema.Model.GetRootAs(data)
    assert model.Buffers(0).DataLength() == 0
    assert model.BuffersLength() > 1
    start = np.frombuffer(data, np.uint8).ctypes.data
    for index in range(1, model.BuffersLength()):
        address = model.Buffers(index).DataAsNumpy().ctypes.data
        assert (address - start) % 16 == 0


def test_an_operator_that_tflite_lacks_is_named() -> None:
    class Sort(Operator):
        pass

    shape = Shape(2, 2, 2)
    with pytest.raises(UnsupportedOperator, match="Sort"):
        DirectExporter().export(Graph((shape,), (Sort((0,), shape),), (1,)), {})
    with pytest.raises(UnsupportedOperator, match="without operators"):
        DirectExporter().export(Graph((shape,), (), (0,)), {})
