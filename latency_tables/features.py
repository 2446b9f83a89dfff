"""Features: what a layer is made of, as far as it says how long the layer takes.

    layer --lowered--> operators --> kind, multiply-adds, values moved, sizes

Layers share operators: the 1,621 layers of the full MnasNet space at 224 pixels are made of 877
different ones. So what is learned of a layer is told by operator, see `latency_tables.layer_model`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networks.graph import (
    Activate,
    AveragePool,
    Convolution,
    Dense,
    Graph,
    MaxPool,
    Operator,
    Shape,
)
from networks.layers import Classifier, Layer, lower_layer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TILES = (8, 16, 32, 64)
"""Channels that a runtime may compute together."""
CACHES = (2**15, 2**17, 2**19)
"""Numbers of weights around which they may no longer fit into a cache."""

_WORD = 2.0  # kernel, stride or activation differs: as far as a size that differs e^2 times


@dataclass(frozen=True, slots=True)
class OperatorFeatures:
    """One operator, whatever layer it is in.

    ``kind`` is what a runtime has a kernel of its own for; ``moved`` counts the values read,
    written and held as weights (bytes are that times the precision's width).
    """

    kind: str
    input: Shape
    output: Shape
    kernel: int
    stride: int
    activation: str
    madds: int
    moved: int

    @property
    def sizes(self) -> tuple[float, ...]:
        """Coordinates in which operators of one kind are near or far: logarithms of its sizes."""
        words = (
            _WORD * math.log(self.kernel),
            _WORD * math.log(self.stride),
            _WORD * (self.activation != "linear"),
        )
        area = 0.5 * math.log(self.output.height * self.output.width)
        return (area, math.log(self.input.channels), math.log(self.output.channels), *words)

    @property
    def kinks(self) -> tuple[float, ...]:
        """What a device adds to the cost that sizes suggest, as logarithms of possible factors.

        Channels of output and input rounded up to each of `TILES` / channels: 24 cost as many as
        32 where 16 are computed together. And how far weights exceed each of `CACHES`.
        """
        sides = (self.output.channels, self.input.channels)
        weights = self.madds / (self.output.height * self.output.width)
        return (
            *(math.log(_round_up(side, tile) / side) for side in sides for tile in TILES),
            *(math.log1p(weights / cache) for cache in CACHES),
        )


@dataclass(frozen=True)
class Features:
    """Layers by operator.

    operators   the different operators of all layers
    counts      how often each layer has each operator, shape ``(n_layers, n_operators)``
    sizes       of each layer as a whole, shape ``(n_layers, n_sizes)``; near layers are alike
    """

    operators: tuple[OperatorFeatures, ...]
    counts: Floats
    sizes: Floats

    @property
    def kinds(self) -> Ints:
        """Number of each operator's kind, shape ``(n_operators,)``."""
        names = [operator.kind for operator in self.operators]
        return np.unique(names, return_inverse=True)[1]

    @property
    def operator_sizes(self) -> Floats:
        """`OperatorFeatures.sizes` of each operator, shape ``(n_operators, n_sizes)``."""
        return np.array([operator.sizes for operator in self.operators])

    @property
    def kinks(self) -> Floats:
        """`OperatorFeatures.kinks` of each operator, shape ``(n_operators, n_kinks)``."""
        return np.array([operator.kinks for operator in self.operators])

    @property
    def work(self) -> Floats:
        """What each operator has to do, shape ``(n_operators, 3 + n_tiles)``.

        Calls, values moved, multiply-adds, and those with output channels rounded up to `TILES`.
        """
        return np.array([_work(operator) for operator in self.operators])


def _work(operator: OperatorFeatures) -> tuple[float, ...]:
    channels, madds = operator.output.channels, float(operator.madds)
    padded = (madds * _round_up(channels, tile) / channels for tile in TILES)
    return (1.0, float(operator.moved), madds, *padded)


def _round_up(channels: int, tile: int) -> int:
    return -(-channels // tile) * tile


def features_of(layers: Sequence[Layer]) -> Features:
    """Return the features of these layers, in their order."""
    numbers: dict[OperatorFeatures, int] = {}
    entries = []
    for row, layer in enumerate(layers):
        graph = lower_layer(layer)
        for operator in graph.operators:
            found = _operator_features(graph, operator)
            entries.append((row, numbers.setdefault(found, len(numbers))))
    counts = np.zeros((len(layers), len(numbers)))
    np.add.at(counts, tuple(np.array(entries, dtype=np.int64).reshape(-1, 2).T), 1.0)
    return Features(tuple(numbers), counts, np.array([_layer_sizes(layer) for layer in layers]))


def _operator_features(graph: Graph, operator: Operator) -> OperatorFeatures:
    source, shape = graph.shape(operator.inputs[0]), operator.shape
    kernel = stride = 1
    activation, weights = "linear", 0
    if isinstance(operator, Convolution):
        kernel, stride = max(operator.kernel), operator.stride
        activation = operator.activation
        weights = math.prod(operator.kernel) * shape.channels
        weights *= 1 if operator.depthwise else source.channels
    elif isinstance(operator, Dense):
        activation, weights = operator.activation, source.channels * shape.channels
    elif isinstance(operator, AveragePool | MaxPool):
        kernel, stride = operator.kernel, operator.stride
    read = sum(math.prod(_sides(graph.shape(value))) for value in operator.inputs)
    return OperatorFeatures(
        _kind(operator, shape), source, shape, kernel, stride, activation,
        madds=weights * shape.height * shape.width,
        moved=read + math.prod(_sides(shape)) + weights,
    )  # fmt: skip


def _kind(operator: Operator, shape: Shape) -> str:
    """Return the name of the kernel that a runtime is likely to have for it."""
    if isinstance(operator, Activate):
        return operator.function
    if not isinstance(operator, Convolution):
        return type(operator).__name__.lower()
    if operator.depthwise:
        return "depthwise"
    if max(operator.kernel) > 1:
        return "convolution"
    return "dense" if shape.height * shape.width == 1 else "pointwise"


def _sides(shape: Shape) -> tuple[int, int, int]:
    return shape.height, shape.width, shape.channels


def _layer_sizes(layer: Layer) -> tuple[float, ...]:
    """Return where a layer lies among others: logarithms of its sizes, and words as distances."""
    shape, out = layer.input, layer.output
    area, channels = 0.5 * math.log(shape.height * shape.width), math.log(shape.channels)
    kind = ("conv", "separable", "bottleneck", "classifier").index(layer.kind)
    one_hot = tuple(_WORD * (kind == number) for number in range(4))
    if isinstance(layer, Classifier):
        return (area, channels, math.log(out.channels), *(0.0,) * 6, *one_hot)
    expanded = getattr(layer, "expanded", shape.channels)
    return (
        area, channels, math.log(out.channels), math.log(expanded / shape.channels),
        _WORD * math.log(layer.kernel), _WORD * math.log(layer.stride),
        _WORD * (layer.se is not None), _WORD * (layer.skip != "none"),
        _WORD * (layer.skip == "pool"), *one_hot,
    )  # fmt: skip
