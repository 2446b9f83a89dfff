"""Where the official converters give other operators than the direct exporters: all of it.

`EXPECTED` has the sequences that differ, by converter and pattern of graphs; what is not in it is
the same sequence as the direct exporter's. Why they differ:

converters of both kinds  (1) fuse what stands alone into the convolution before it where nothing
                              else reads that: a RELU, as three times in NASNet's cells, and the
                              ADD of a hard-sigmoid, which goes into the bias, with its RELU6
litert-torch              (2) makes NCHW of what a global average reads: TRANSPOSE, and another
                              one back where that value is an output too
                          (3) pads and slices in NCHW what a shift moves, one axis at a time
                          (4) has a strided average pooling pad, average, and multiply by how
                              much of the window was image
                          (5) keeps a lopsided pad where the kernel is not square
                          (6) pads a lopsided max pooling by -infinity: PADV2, which XNNPACK does
                              not take
Keras in float16          (7) shares the DEQUANTIZE of equal constants, and gives operators that
                              do not depend on each other in another order
Keras in int8             (8) leaves RELU, where Int8Exporter has a MAX_POOL_2D for XNNPACK
                          (9) has no float32 islands (DEQUANTIZE, QUANTIZE) for AVERAGE_POOL_2D
                              and HARD_SWISH: XNNPACK does not take these
                         (10) gives values that are joined the scale of the join: no QUANTIZE

(7) to (10) are rules of comparison in `test_keras_converter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

import pytest

from networks.graph import Graph, Shape
from networks.layers import Classifier, Layer, Separable, SqueezeExcite, lower_layer
from tests.contracts.exporter_contract import OPERATOR_GRAPHS, ExporterContract, mnasnet_layers

_FOLDED_HARD_SIGMOID = "DEPTHWISE_CONV_2D HARD_SWISH MEAN CONV_2D CONV_2D MUL MUL CONV_2D"  # (1)

EXPECTED: Mapping[str, Mapping[str, str]] = {
    "keras": {"*-hard-sigmoid/*": _FOLDED_HARD_SIGMOID},
    "litert-torch": {
        "*-hard-sigmoid/*": _FOLDED_HARD_SIGMOID,
        "*/classifier/*/h0/*": "TRANSPOSE MEAN FULLY_CONNECTED",  # (2)
        "*/classifier/*/h6/*": "TRANSPOSE MEAN FULLY_CONNECTED HARD_SWISH FULLY_CONNECTED",  # (2)
        "three outputs of *": "CONV_2D AVERAGE_POOL_2D TRANSPOSE MEAN FULLY_CONNECTED"
        " TRANSPOSE",  # (2)
        "factorized reduction of *": "RELU TRANSPOSE TRANSPOSE CONV_2D PAD TRANSPOSE SLICE SLICE"
        " CONV_2D CONCATENATION",  # (3)
        "average_pool * stride 2 of *": "PAD AVERAGE_POOL_2D MUL",  # (4)
        "1x* stride 2 of 8": "PAD CONV_2D CONV_2D",  # (5)
        "max_pool * stride 2 of 8": "PADV2 MAX_POOL_2D",  # (6)
    },
}

# One in five has every kind, kernel, stride, skip and squeeze-and-excitation among them
LAYERS: list[Layer] = [
    *mnasnet_layers()[::5],
    Separable(
        Shape(8, 8, 8), 8, kernel=3, activation="hard-swish", se=SqueezeExcite(4, "hard-sigmoid")
    ),
    Classifier(Shape(7, 7, 8), 5),
    Classifier(Shape(7, 7, 8), 5, 6, "hard-swish"),
]
NAMES: Mapping[Graph, str] = {lower_layer(layer): layer.key for layer in LAYERS} | {
    graph: name for name, graph in OPERATOR_GRAPHS.items()
}


def expected_operators(
    converter: str, graph: Graph, direct: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Return the operators that a converter makes of a graph; None if it is none of ours here.

    Args:
        direct: the operators that the direct exporter makes of it.
    """
    if graph not in NAMES:
        return None
    for pattern, operators in EXPECTED[converter].items():
        if fnmatchcase(NAMES[graph], pattern):
            return tuple(operators.split())
    return direct


class CrossCheckContract(ExporterContract):
    """The contract on fewer examples: a conversion takes a quarter of a second or a second."""

    examples = 10

    @pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.key)
    def test_every_layer_of_the_space_is_one_delegate_and_equals_torch(self, layer: Layer) -> None:
        super().test_every_layer_of_the_space_is_one_delegate_and_equals_torch(layer)

    @pytest.mark.parametrize("name", ["mnasnet-a1", "mobilenet-v3-large"])
    def test_published_networks_are_one_delegate_and_equal_torch(self, name: str) -> None:
        super().test_published_networks_are_one_delegate_and_equal_torch(name)
