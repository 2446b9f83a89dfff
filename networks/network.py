"""Network: a chain of layers, with the graph and the counts that all networks have.

Counts follow the field: MAdds are multiply-adds of convolutions and dense operators (MnasNet
A1 at 224 pixels: 311.6 million); parameters are weights, biases, and batch norm's scale and
shift. Both are sums over operators, so a network's are the sums of its layers'.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from networks.errors import ShapeError
from networks.graph import Convolution, Dense, Graph, GraphBuilder, Operator, Shape
from networks.layers import Layer


class ImageNetwork(ABC):
    """What computes logits from an image, whatever it is made of."""

    __slots__ = ()

    @property
    @abstractmethod
    def input(self) -> Shape:
        """Shape of the image."""

    @property
    @abstractmethod
    def output(self) -> Shape:
        """Shape of the result."""

    @abstractmethod
    def graph(self) -> Graph:
        """Return its operators."""

    @property
    def params(self) -> int:
        """Number of trainable parameters."""
        return count_params(self.graph())

    @property
    def madds(self) -> int:
        """Multiply-adds of one image."""
        return count_madds(self.graph())


@dataclass(frozen=True, slots=True)
class Network(ImageNetwork):
    """Layers in order, each reading the one before; two networks of equal layers are equal."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ShapeError("a network has at least one layer")
        for index, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if before.output != after.input:
                raise ShapeError(
                    f"layer {index + 1} expects {after.input}, layer {index} gives {before.output}"
                )

    @property
    def input(self) -> Shape:
        """Shape of the image."""
        return self.layers[0].input

    @property
    def output(self) -> Shape:
        """Shape of the last layer's result."""
        return self.layers[-1].output

    def graph(self) -> Graph:
        """Return the operators of all layers; parameters of layer 3 are named ``3.conv`` etc."""
        builder = GraphBuilder(self.input)
        value = 0
        for index, layer in enumerate(self.layers):
            builder.prefix = f"{index}."
            value = layer.lower(builder, value)
        return builder.build()


def count_params(graph: Graph) -> int:
    """Return the number of trainable parameters: weights, biases, batch norm scale and shift."""
    return sum(_counts(graph, operator)[0] for operator in graph.operators)


def count_madds(graph: Graph) -> int:
    """Return the multiply-adds of one forward pass at batch 1."""
    return sum(_counts(graph, operator)[1] for operator in graph.operators)


_AFFINE_PARAMS = {"batch-norm": 2, "bias": 1, "none": 0}


def _counts(graph: Graph, operator: Operator) -> tuple[int, int]:
    shape = operator.shape
    if isinstance(operator, Convolution):
        fan_in = 1 if operator.depthwise else graph.shape(operator.inputs[0]).channels
        weights = math.prod(operator.kernel) * fan_in * shape.channels
        extra = _AFFINE_PARAMS[operator.affine] * shape.channels
        return weights + extra, weights * shape.height * shape.width
    if isinstance(operator, Dense):
        weights = graph.shape(operator.inputs[0]).channels * shape.channels
        return weights + shape.channels, weights
    return 0, 0
