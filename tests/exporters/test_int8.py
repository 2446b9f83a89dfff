from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.direct import DirectExporter
from exporters.errors import CalibrationError
from exporters.exporter import Exporter
from exporters.int8 import Int8Exporter
from exporters.model_file import read_labels, read_operators
from exporters.runner import Runner
from exporters.weights import Weights, random_weights
from networks.graph import Graph, GraphBuilder, Shape
from networks.layers import Bottleneck, Conv, Separable, SqueezeExcite, lower_layer
from networks.published_cells import published_cell_network
from tests.contracts.exporter_contract import (
    LAYER,
    OPERATOR_GRAPHS,
    ExporterContract,
    Image,
    layers,
    random_image,
    run_model,
)

IMAGES = np.concatenate([random_image(LAYER.input, seed) for seed in range(4)])


class TestInt8Exporter(ExporterContract):
    """An error is a root of the mean square, over the output's range where that is > 1."""

    layer_tolerance = 0.05
    network_tolerance = 0.1

    def make_exporter(self) -> Exporter:
        return Int8Exporter()

    def make_exporter_for(self, *images: Image) -> Exporter:
        return Int8Exporter(images[0]) if len(images) == 1 else self.make_exporter()

    def difference(self, found: Image, expected: Image) -> float:
        return error(found, expected)


def error(found: Image, expected: Image) -> float:
    span = max(expected.max(), 0) - min(expected.min(), 0)
    return float(np.sqrt(np.mean((found - expected) ** 2)) / max(span, 1.0))


def export_error(graph: Graph, weights: Weights) -> float:
    """Return the error against float32 on the image that the model was calibrated on."""
    image = random_image(graph.inputs[0])
    run = run_model(Int8Exporter(image).export(graph, weights), image)
    assert run.is_one_delegate
    (expected,) = Runner(DirectExporter().export(graph, weights)).run(image)
    return error(run.output, expected)


def tensors(data: bytes) -> list[Any]:
    """Return the tensors that operators of the model read and write."""
    graph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    used = {int(i) for operator in graph.operators for i in (*operator.inputs, *operator.outputs)}
    return [graph.tensors[index] for index in sorted(used)]


def test_everything_is_int8_with_a_scale_a_channel_of_kernels() -> None:
    layer = Bottleneck(Shape(8, 8, 8), 8, kernel=3, expanded=24, se=SqueezeExcite(4))
    graph = lower_layer(layer)
    found = tensors(Int8Exporter().export(graph, random_weights(graph)))
    kinds = {tensor.name.decode().rsplit("_", 1)[0]: tensor for tensor in found}
    assert {tensor.type for tensor in found} == {schema.TensorType.INT8, schema.TensorType.INT32}
    for name, channels in (("expand", 24), ("depthwise", 24), ("se_squeeze", 4), ("project", 8)):
        kernel, bias = kinds[f"{name}/kernel"], kinds[f"{name}/bias"]
        assert kernel.type == schema.TensorType.INT8
        assert bias.type == schema.TensorType.INT32
        assert len(kernel.quantization.scale) == len(bias.quantization.scale) == channels


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("average_pool 3 stride 1 of 8", "DEQUANTIZE AVERAGE_POOL_2D QUANTIZE"),
        (
            "factorized reduction of 8",
            "MAX_POOL_2D CONV_2D PAD STRIDED_SLICE CONV_2D CONCATENATION",
        ),
        ("two inputs of 8", "CONV_2D CONV_2D ADD QUANTIZE QUANTIZE CONCATENATION"),
    ],
)
def test_operators_that_xnnpack_lacks_in_int8_are_written_as_others(
    name: str, operators: str
) -> None:
    graph = OPERATOR_GRAPHS[name]
    data = Int8Exporter().export(graph, random_weights(graph))
    assert read_operators(data) == tuple(operators.split())


def test_hard_swish_and_hard_sigmoid_are_one_delegate() -> None:
    layer = Separable(
        Shape(8, 8, 8), 8, kernel=3, activation="hard-swish", se=SqueezeExcite(4, "hard-sigmoid")
    )
    graph = lower_layer(layer)
    assert export_error(graph, random_weights(graph)) < 0.02


def with_channels(
    weights: Weights, operator: str, channels: slice, *, kernel: float, bias: float
) -> Weights:
    """Return the weights with some of an operator's output channels set to two numbers."""
    old_kernel, old_bias = (array.copy() for array in weights[operator])
    axis = 3 if operator == "depthwise" else 0
    np.moveaxis(old_kernel, axis, 0)[channels] = kernel
    old_bias[channels] = bias
    return {**weights, operator: (old_kernel, old_bias)}


@pytest.mark.parametrize("channels", [slice(1), slice(None)], ids=["a channel", "all"])
@pytest.mark.parametrize("bias", [0.0, 1.0, -1.0, 1e-9, 10.0])
@pytest.mark.parametrize("operator", ["expand", "depthwise", "se_squeeze", "se_excite", "project"])
def test_channels_that_are_dead_or_constant_stay_what_they_are(
    operator: str, bias: float, channels: slice
) -> None:
    graph = lower_layer(LAYER)
    weights = with_channels(random_weights(graph), operator, channels, kernel=0, bias=bias)
    assert export_error(graph, weights) < 0.02


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(OPERATOR_GRAPHS.values())) | layers().map(lower_layer), st.data())
def test_weights_of_any_size_give_a_model_that_runs_whole(
    graph: Graph, data: st.DataObject
) -> None:
    weights = {}
    for operator, (kernel, bias) in random_weights(graph).items():
        scales = st.sampled_from([0, 1e-6, 1e-3, 1, 1e3])
        weights[operator] = (
            kernel * np.float32(data.draw(scales)),
            bias * np.float32(data.draw(scales)),
        )
    images = [random_image(shape) for shape in graph.inputs]
    run = run_model(Int8Exporter().export(graph, weights), *images)
    assert run.is_one_delegate
    assert all(np.isfinite(output).all() for output in run.outputs)


def test_a_dead_input_gives_a_model_that_runs() -> None:
    graph = lower_layer(LAYER)
    data = Int8Exporter(np.zeros_like(IMAGES)).export(graph, random_weights(graph))
    assert run_model(data, IMAGES[:1]).is_one_delegate


def test_every_calibration_image_counts_and_their_hash_travels() -> None:
    graph = lower_layer(LAYER)
    weights = random_weights(graph)
    one, all_four = (Int8Exporter(images).export(graph, weights) for images in (IMAGES[:1], IMAGES))
    again = Int8Exporter(IMAGES[::-1][::-1]).export(graph, weights)
    assert one != all_four == again
    labels = read_labels(all_four)
    assert labels["calibration"] == "4 images"
    assert len(labels["calibration_sha256"]) == 64
    assert labels["precision"] == "int8"
    assert labels["quantizer"].startswith("litert-quantizer ")
    assert labels["calibration_sha256"] != read_labels(one)["calibration_sha256"]
    assert read_labels(Int8Exporter(seed=7).export(graph, weights))["calibration"] == "random 7"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], r"\(n, height, width, channels\), float32, found float32 \(7, 7, 8\)"),
        (IMAGES.astype(np.float64), r"found float64 \(4, 7, 7, 8\)"),
        (np.zeros((4, 7, 7, 8), np.uint8), r"found uint8 \(4, 7, 7, 8\)"),
        (IMAGES[:0], r"at least one, found none: \(0, 7, 7, 8\)"),
        (np.where(np.arange(4)[:, None, None, None] == 2, np.inf, IMAGES), "infinity in image 2"),
        (IMAGES * np.float32(np.nan), "NaN or infinity in image 0"),
    ],
    ids=["rank", "float64", "uint8", "empty", "infinite", "nan"],
)
def test_images_that_cannot_calibrate_are_refused(images: Image, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Int8Exporter(images)


def test_images_of_another_shape_are_refused_with_both() -> None:
    graph = lower_layer(Conv(Shape(8, 8, 3), 4, kernel=3))
    with pytest.raises(CalibrationError, match=r"8x8x3 for input 'image', found 7x7x8"):
        Int8Exporter(IMAGES).export(graph, random_weights(graph))
    two = OPERATOR_GRAPHS["two inputs of 7"]
    with pytest.raises(CalibrationError, match=r"one input.*found 2 inputs"):
        Int8Exporter(IMAGES).export(two, random_weights(two))


def test_activations_that_overflow_are_refused() -> None:
    graph = lower_layer(LAYER)
    weights = random_weights(graph)
    kernel, bias = weights["expand"]
    with pytest.raises(CalibrationError, match="expected finite activations"):
        Int8Exporter(IMAGES * np.float32(1e30)).export(
            graph, {**weights, "expand": (kernel * np.float32(1e20), bias)}
        )


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    graph = GraphBuilder(Shape(8, 8, 4))
    value = 0
    for index in range(60):  # the quantizer shows bars from a hundred steps on
        value = graph.convolution(value, 4, name=f"{index}", activation="relu")
    built = graph.build()
    Int8Exporter().export(built, random_weights(built))
    out, err = capfd.readouterr()
    assert out == ""
    assert all(
        line.startswith("INFO: Created TensorFlow Lite XNNPACK") for line in err.splitlines()
    )


def test_without_the_extra_one_line_names_it() -> None:
    program = (
        "import sys; sys.modules['litert_quantizer'] = None\n"
        "from exporters.errors import MissingExtra\n"
        "from exporters.int8 import Int8Exporter\n"
        "try: Int8Exporter()\n"
        "except MissingExtra as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.count("\n") == 1
    assert "pip install 'hilnas[int8]'" in run.stdout


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_a_network_of_cells_is_one_delegate(precision: str) -> None:
    graph = published_cell_network("nasnet-a-mobile", width=0.25, resolution=64).graph()
    weights = random_weights(graph)
    image = random_image(graph.inputs[0])
    exporter = Int8Exporter(image) if precision == "int8" else DirectExporter("float16")
    run = run_model(exporter.export(graph, weights), image)
    assert run.is_one_delegate
    (expected,) = Runner(DirectExporter().export(graph, weights)).run(image)
    assert error(run.output, expected) < 0.02


def test_the_version_tells_what_it_was_calibrated_on() -> None:
    images = np.zeros((2, 4, 4, 3), np.float32)
    makes = (None, images, images + 1)
    versions = {Int8Exporter(made).version for made in makes} | {Int8Exporter(seed=1).version}
    assert len(versions) == 4
    assert Int8Exporter(images).version == Int8Exporter(images.copy()).version
