from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporters.direct import DirectExporter
from exporters.errors import WeightsError
from exporters.exporter import Exporter
from exporters.model_file import read_operators
from exporters.runner import Runner
from exporters.weights import random_weights
from networks.layers import lower_layer
from networks.published import published_network
from tests.contracts.exporter_contract import LAYER, ExporterContract, random_image, run_model


class TestDirectExporterFloat16(ExporterContract):
    arguments = ("float16",)
    layer_tolerance = 5e-3
    network_tolerance = 5e-2

    def make_exporter(self) -> Exporter:
        return DirectExporter("float16")


def test_the_model_is_the_float32_one_with_weights_rounded() -> None:
    graph = lower_layer(LAYER)
    weights = random_weights(graph)
    rounded = {
        name: (kernel.astype(np.float16).astype(np.float32), bias.astype(np.float16))
        for name, (kernel, bias) in weights.items()
    }
    expected = DirectExporter().export(
        graph, {name: (kernel, bias.astype(np.float32)) for name, (kernel, bias) in rounded.items()}
    )
    image = random_image(LAYER.input)
    run = run_model(DirectExporter("float16").export(graph, weights), image)
    np.testing.assert_array_equal(run.output, Runner(expected).run(image)[0])


def test_each_kernel_and_bias_is_dequantized_and_the_rest_is_as_in_float32() -> None:
    graph = lower_layer(LAYER)
    weights = random_weights(graph)
    whole, half = (DirectExporter(kind).export(graph, weights) for kind in ("float32", "float16"))
    operators = read_operators(half)
    assert operators.count("DEQUANTIZE") == 2 * len(weights)
    assert tuple(o for o in operators if o != "DEQUANTIZE") == read_operators(whole)
    model = schema.ModelT.InitFromPackedBuf(half, 0)
    kinds = {t.name.decode(): t.type for t in model.subgraphs[0].tensors}
    for name in weights:
        assert kinds[f"{name}/kernel"] == kinds[f"{name}/bias"] == schema.TensorType.FLOAT16


def test_a_network_takes_half_the_bytes() -> None:
    graph = published_network("mnasnet-a1", resolution=64).graph()
    weights = random_weights(graph)
    whole, half = (
        len(DirectExporter(kind).export(graph, weights)) for kind in ("float32", "float16")
    )
    assert half / whole == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("part", [0, 1], ids=["kernel", "bias"])
def test_weights_beyond_the_range_are_refused_by_name(part: int) -> None:
    graph = lower_layer(LAYER)
    weights = random_weights(graph)
    weights["project"][part].flat[1] = 65519  # rounds to the largest finite number
    assert DirectExporter("float16").export(graph, weights)
    weights["project"][part].flat[1] = -65520
    with pytest.raises(WeightsError, match=r"of 'project': expected at most 65504.*found 65520"):
        DirectExporter("float16").export(graph, weights)
