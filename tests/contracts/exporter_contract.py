"""The contract of exporters: an implementation inherits these tests and says how it is made.

A model is right if LiteRT runs it as one whole-graph XNNPACK delegate and its numbers are those
of the torch module in eval mode, to the tolerance that an exporter's precision allows.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.delegation import read_delegation
from exporters.errors import WeightsError
from exporters.exporter import Exporter
from exporters.model_file import read_labels, read_operators
from exporters.runner import Runner
from exporters.weights import random_weights
from networks.graph import Activation, Graph, GraphBuilder, Shape
from networks.layers import (
    Bottleneck,
    Classifier,
    Conv,
    Layer,
    Separable,
    SqueezeExcite,
    can_skip,
    lower_layer,
)
from networks.published import PUBLISHED, published_network
from networks.torch_module import GraphModule, folded_weights

Image: TypeAlias = npt.NDArray[np.float32]

LAYER = Bottleneck(
    Shape(7, 7, 8), 8, kernel=5, expanded=16, se=SqueezeExcite(2), skip="pool"
)  # one of everything


@dataclass(frozen=True)
class Run:
    """What LiteRT made of a model: its outputs, and whether XNNPACK took the graph whole."""

    outputs: tuple[npt.NDArray[np.float32], ...]
    is_one_delegate: bool

    @property
    def output(self) -> npt.NDArray[np.float32]:
        """The only output."""
        (output,) = self.outputs
        return output


def run_model(data: bytes, *images: npt.NDArray[np.float32]) -> Run:
    """Run a model on one NHWC image an input, one thread."""
    return Run(Runner(data).run(*images), read_delegation(data).is_whole)


def trained_like(graph: Graph, seed: int = 0) -> GraphModule:
    """Return a module in eval mode whose batch norms look as if they had been trained.

    Statistics are those of the module's own activations, so that the output's scale is about 1.
    """
    torch.manual_seed(seed)
    module = GraphModule(graph, momentum=1.0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.7, 1.3)
            torch.nn.init.normal_(part.bias, std=0.2)
        elif isinstance(part, torch.nn.Conv2d) and part.bias is not None:
            torch.nn.init.normal_(part.bias, std=0.2)
    module.train()
    with torch.no_grad():
        module.outputs(*(torch.randn(8, *_nchw(shape)) for shape in graph.inputs))
    return module.eval()


def random_image(shape: Shape, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return one standard normal image, NHWC."""
    size = (1, shape.height, shape.width, shape.channels)
    return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Small layers of every kind, on images of any proportion."""
    shape = Shape(draw(st.integers(1, 11)), draw(st.integers(1, 11)), draw(st.integers(1, 9)))
    channels = draw(st.integers(1, 9) | st.just(shape.channels))
    activation: Activation = draw(st.sampled_from(["relu", "relu6", "hard-swish"]))
    kind = draw(st.sampled_from([Conv, Separable, Bottleneck, Classifier]))
    if kind is Classifier:
        hidden = draw(st.integers(0, 4))
        return Classifier(shape, channels, hidden, activation if hidden else "linear")
    stride = draw(st.sampled_from([1, 2]))
    skips = ["none", "identity", "pool"] if can_skip(shape.channels, channels, stride) else ["none"]
    se = st.builds(SqueezeExcite, st.integers(1, 4), st.sampled_from(["sigmoid", "hard-sigmoid"]))
    shared: dict[str, Any] = {
        "kernel": draw(st.sampled_from([1, 3, 5, 7])),
        "stride": stride,
        "activation": activation,
        "se": draw(st.none() | se),
        "skip": draw(st.sampled_from(skips)),
    }
    if kind is Separable:
        return Separable(
            shape, channels, pointwise=draw(st.sampled_from(["linear", "relu6"])), **shared
        )
    if kind is Bottleneck:
        return Bottleneck(shape, channels, expanded=draw(st.integers(1, 12)), **shared)
    return Conv(shape, channels, **shared)


def mnasnet_layers() -> list[Layer]:
    """Every kind of layer of the mnasnet space, on odd and even images."""
    found: list[Layer] = []
    for size, kernel, se, (stride, skip) in product(
        (7, 8),
        (3, 5),
        (None, SqueezeExcite(2)),
        ((1, "none"), (1, "identity"), (1, "pool"), (2, "none")),
    ):
        shared: dict[str, Any] = {"kernel": kernel, "se": se, "stride": stride, "skip": skip}
        shape = Shape(size, size, 8)
        found += [
            Conv(shape, 8, **shared),
            Separable(shape, 8, **shared),
            Bottleneck(shape, 8, expanded=24, **shared),
        ]
    return found


def operator_graphs() -> dict[str, Graph]:
    """What NASNet's cells need beyond MnasNet's layers, on odd and even images."""
    found: dict[str, Graph] = {}
    for size in (7, 8):
        image, other = Shape(size, size, 4), Shape(size, size, 3)
        for kernel, stride in product((3, 5, 7), (1, 2)):
            for pool in (GraphBuilder.max_pool, GraphBuilder.average_pool):
                graph = GraphBuilder(image)
                pool(graph, 0, kernel=kernel, stride=stride)
                found[f"{pool.__name__} {kernel} stride {stride} of {size}"] = graph.build()
        for length, stride in product((3, 7), (1, 2)):
            graph = GraphBuilder(image)
            flat = graph.convolution(
                0, 6, name="flat", kernel=(1, length), stride=stride, activation="relu"
            )
            graph.convolution(flat, 6, name="tall", kernel=(length, 1))
            found[f"1x{length} then {length}x1 stride {stride} of {size}"] = graph.build()
        for depthwise in (False, True):
            graph = GraphBuilder(image)
            graph.convolution(
                0, 4 if depthwise else 6, name="dilated", kernel=3, dilation=2, depthwise=depthwise
            )
            found[f"dilated depthwise={depthwise} of {size}"] = graph.build()
        graph = GraphBuilder(image)
        graph.convolution(0, 6, name="stem", kernel=3, stride=2, padding="valid")
        found[f"valid of {size}"] = graph.build()

        graph = GraphBuilder(image)
        value = graph.activate(0, "relu")
        repeats: list[tuple[str, Activation]] = [("a", "relu"), ("b", "linear")]
        for part, activation in repeats:
            value = graph.convolution(
                value, 4, name=f"{part}_depthwise", kernel=5, depthwise=True, affine="none"
            )
            value = graph.convolution(value, 4, name=f"{part}_pointwise", activation=activation)
        graph.add(value, 0)
        found[f"separable twice plus identity of {size}"] = graph.build()

        graph = GraphBuilder(image)
        value = graph.activate(0, "relu")
        graph.concatenate(
            graph.convolution(value, 3, name="even", stride=2),
            graph.convolution(graph.shift(value), 3, name="odd", stride=2),
        )
        found[f"factorized reduction of {size}"] = graph.build()

        graph = GraphBuilder(image, other)
        left = graph.convolution(0, 5, name="left")
        right = graph.convolution(1, 5, name="right", kernel=3)
        graph.concatenate(graph.add(left, right), left, 1)
        found[f"two inputs of {size}"] = graph.build()

        graph = GraphBuilder(image, other)
        left = graph.convolution(0, 5, name="left", kernel=3)
        right = graph.average_pool(1, kernel=3)
        logits = graph.dense(graph.global_average(right), 7, name="logits")
        found[f"three outputs of {size}"] = graph.build(logits, left, right)
    return found


OPERATOR_GRAPHS = operator_graphs()


class ExporterContract:
    """What every exporter promises. Subclasses say how one is made.

    ``arguments`` are those that its class takes, in whatever process; ``not_delegated`` are
    operators that XNNPACK does not take in its models, so that these are not one delegate.
    """

    arguments: tuple[str, ...] = ()
    not_delegated: frozenset[str] = frozenset()
    examples = 60
    layer_tolerance = 1e-5
    network_tolerance = 1e-4

    def make_exporter(self) -> Exporter:
        """Return the exporter under test."""
        raise NotImplementedError

    def make_exporter_for(self, *images: Image) -> Exporter:
        """Return the exporter for a graph that will be run on these images, one an input."""
        return self.make_exporter()

    def difference(self, found: Image, expected: Image) -> float:
        """Return the largest difference, over the output's scale where that is > 1."""
        return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))

    def make_module(self, graph: Graph, seed: int) -> GraphModule:
        """Return the module that a model should equal."""
        return trained_like(graph, seed)

    def check_operators(self, graph: Graph, operators: tuple[str, ...]) -> None:
        """Refuse operators that the model of a graph should not have; by default, none."""

    @pytest.mark.parametrize("layer", mnasnet_layers(), ids=lambda layer: layer.key)
    def test_every_layer_of_the_space_is_one_delegate_and_equals_torch(self, layer: Layer) -> None:
        assert self._error(lower_layer(layer)) < self.layer_tolerance

    def test_any_layer_equals_torch(self) -> None:
        @settings(max_examples=self.examples, deadline=None)
        @given(layers(), st.integers(0, 9))
        def equals_torch(layer: Layer, seed: int) -> None:
            assert self._error(lower_layer(layer), seed) < self.layer_tolerance

        equals_torch()

    @pytest.mark.parametrize("graph", OPERATOR_GRAPHS.values(), ids=list(OPERATOR_GRAPHS))
    def test_every_operator_of_cells_is_one_delegate_and_equals_torch(self, graph: Graph) -> None:
        assert self._error(graph) < self.layer_tolerance

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_published_networks_are_one_delegate_and_equal_torch(self, name: str) -> None:
        graph = published_network(name, resolution=64).graph()
        assert self._error(graph) < self.network_tolerance

    def test_inputs_and_outputs_have_names_and_batch_one(self) -> None:
        layer, network = (
            lower_layer(LAYER),
            published_network("mnasnet-small", resolution=32).graph(),
        )
        for graph, sink, shape in (
            (layer, "features", [1, 7, 7, 8]),
            (network, "logits", [1, 1000]),
        ):
            interpreter = Interpreter(model_content=self._export(graph))
            signature = interpreter.get_signature_list()["serving_default"]
            assert signature == {"inputs": ["image"], "outputs": [sink]}
            assert interpreter.get_output_details()[0]["shape"].tolist() == shape
            image = graph.inputs[0]
            assert interpreter.get_input_details()[0]["shape"].tolist() == [
                1, image.height, image.width, image.channels,
            ]  # fmt: skip

    def test_labels_and_exporter_travel_in_the_model(self) -> None:
        exporter = self.make_exporter()
        data = self._export(lower_layer(LAYER), {"layer": LAYER.key})
        assert {
            "layer": LAYER.key,
            "exporter": exporter.name,
            "exporter_version": exporter.version,
        }.items() <= read_labels(data).items()

    def test_another_process_writes_the_same_bytes(self) -> None:
        exporter = type(self.make_exporter())
        program = (
            f"import hashlib, sys; from {exporter.__module__} import {exporter.__qualname__} as E;"
            "from networks.layers import lower_layer, parse_layer;"
            "from exporters.weights import random_weights;"
            f"g = lower_layer(parse_layer({LAYER.key!r}));"
            f"e = E(*{self.arguments!r});"
            "data = e.export(g, random_weights(g, 3), labels={'b': '1', 'a': '2'});"
            "print(hashlib.sha256(data).hexdigest())"
        )
        graph = lower_layer(LAYER)
        labels = {"a": "2", "b": "1"}
        data = self.make_exporter().export(graph, random_weights(graph, 3), labels=labels)
        there = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
            timeout=120,
        )
        assert there.stdout.strip() == hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("part", [0, 1], ids=["kernel", "bias"])
    def test_weights_that_are_not_finite_are_refused_by_name(self, bad: float, part: int) -> None:
        graph = lower_layer(LAYER)
        weights = random_weights(graph)
        weights["se_squeeze"][part].flat[1] = bad
        with pytest.raises(WeightsError, match="'se_squeeze' holds NaN or infinity"):
            self.make_exporter().export(graph, weights)

    def test_weights_of_another_shape_are_refused_with_both(self) -> None:
        graph = lower_layer(LAYER)
        weights = random_weights(graph)
        kernel, bias = weights["depthwise"]
        with pytest.raises(WeightsError, match=r"'depthwise'.*\(1, 5, 5, 16\).*\(16, 5, 5, 1\)"):
            self.make_exporter().export(
                graph, {**weights, "depthwise": (kernel.transpose(3, 1, 2, 0), bias)}
            )
        with pytest.raises(WeightsError, match=r"no operators \['3\.expand'\]"):
            self.make_exporter().export(graph, {**weights, "3.expand": weights["expand"]})
        del weights["project"]
        with pytest.raises(WeightsError, match="'project' has no weights"):
            self.make_exporter().export(graph, weights)

    def _export(self, graph: Graph, labels: dict[str, str] | None = None) -> bytes:
        return self.make_exporter().export(graph, random_weights(graph), labels=labels)

    def _error(self, graph: Graph, seed: int = 0) -> float:
        """Return the largest of the outputs' differences from torch."""
        module = self.make_module(graph, seed)
        images = [random_image(shape, seed + i) for i, shape in enumerate(graph.inputs)]
        exporter = self.make_exporter_for(*images)
        data = exporter.export(graph, folded_weights(module))
        run = run_model(data, *images)
        operators = read_operators(data)
        assert run.is_one_delegate == self.not_delegated.isdisjoint(operators)
        self.check_operators(graph, operators)
        with torch.no_grad():
            outputs = module.outputs(*(torch.from_numpy(i).permute(0, 3, 1, 2) for i in images))
        return max(map(self._difference, run.outputs, (output.numpy() for output in outputs)))

    def _difference(self, nhwc: Image, expected: Image) -> float:
        found = nhwc.transpose(0, 3, 1, 2) if nhwc.ndim == 4 else nhwc
        return self.difference(found.reshape(expected.shape), expected)


def _nchw(shape: Shape) -> tuple[int, int, int]:
    return shape.channels, shape.height, shape.width


def operators_of(exporter: Exporter, layer: Layer) -> tuple[str, ...]:
    """Return the TFLite operators that an exporter makes of a layer."""
    graph = lower_layer(layer)
    return read_operators(exporter.export(graph, random_weights(graph)))
