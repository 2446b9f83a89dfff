"""Peer keys: the keys of two published kinds of latency tables, as our layers.

    proxylessnas   expanded_conv-input:56x56x24-output:28x28x40-expand:6-kernel:5-stride:2-idskip:0
    once-for-all   the same with -se:0-hs:1 behind it, and ``expand`` is the expanded width
    both           Conv-input:224x224x3-output:112x112x32, Conv_1-..., Logits-...
    once-for-all   AvgPool2D-..., Conv_2-...

A key says neither activation nor kernel of a convolution: the code that reads the tables does
(ProxylessNAS `search/utils/latency_estimator.py`; once-for-all
`ofa/nas/efficiency_predictor/latency_lookup_table.py`, `ofa/utils/layers.py`). ProxylessNAS is
ReLU6 throughout, once-for-all's networks are MobileNetV3's: ReLU or hard-swish in blocks,
hard-swish elsewhere, squeeze-and-excitation to a quarter of the expanded width. Expansion 1 has
no expansion convolution in either. What is not exactly one of our layers is refused by reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from networks.errors import ShapeError
from networks.graph import Activation, Shape
from networks.layers import Bottleneck, Classifier, Conv, Layer, Separable, Skip, SqueezeExcite
from networks.rounding import make_divisible

Family = Literal["once-for-all", "proxylessnas"]

_N = r"[1-9]\d{0,5}"
_SHAPE = rf"{_N}x{_N}x{_N}"
_BLOCK = re.compile(
    rf"expanded_conv-input:(?P<input>{_SHAPE})-output:(?P<output>{_SHAPE})-expand:(?P<expand>{_N})"
    rf"-kernel:(?P<kernel>{_N})-stride:(?P<stride>{_N})-idskip:(?P<skip>[01])"
    r"(?:-se:(?P<se>[01])-hs:(?P<hs>[01]))?"
)
_OTHER = re.compile(
    rf"(?P<kind>Conv|Conv_1|Conv_2|AvgPool2D|Logits)-input:(?P<input>{_SHAPE})"
    rf"-output:(?P<output>{_SHAPE}|{_N})"
)
_HEAD = "once-for-all prices average, mixing convolution and dense apart, a classifier is all three"


class NotOneLayer(Exception):
    """The key is not exactly one of our layers; says why. Never leaves this package."""


def family_of(keys: Iterable[str]) -> Family | None:
    """Return whose table these keys are of, None where no block tells, or blocks of both do."""
    blocks = [match for key in keys if (match := _BLOCK.fullmatch(key))]
    found: set[Family] = {
        "proxylessnas" if block["se"] is None else "once-for-all" for block in blocks
    }
    return found.pop() if len(found) == 1 else None


def translate_key(key: str, family: Family) -> Layer:
    """Return the layer that a key of this family prices.

    Raises:
        NotOneLayer: none of ours is exactly that.
    """
    try:
        if block := _BLOCK.fullmatch(key):
            return _block(block, family)
        if other := _OTHER.fullmatch(key):
            return _other(other, family)
    except ShapeError as error:
        raise NotOneLayer(str(error)) from error
    raise NotOneLayer(f"not a key of {family}")


def _block(match: re.Match[str], family: Family) -> Layer:
    shape, output = _shape(match["input"]), _shape(match["output"])
    kernel, stride, expand = int(match["kernel"]), int(match["stride"]), int(match["expand"])
    skip: Skip = "identity" if match["skip"] == "1" else "none"
    if family == "once-for-all":
        expanded = expand
        activation: Activation = "hard-swish" if match["hs"] == "1" else "relu"
    else:
        expanded, activation = expand * shape.channels, "relu6"
    se = None
    if match["se"] == "1":
        se = SqueezeExcite(make_divisible(expanded // 4), "hard-sigmoid")
    layer: Layer
    if expanded == shape.channels:
        layer = Separable(
            shape, output.channels, kernel=kernel, stride=stride, activation=activation, se=se,
            skip=skip,
        )  # fmt: skip
    else:
        layer = Bottleneck(
            shape, output.channels, kernel=kernel, stride=stride, activation=activation, se=se,
            skip=skip, expanded=expanded,
        )  # fmt: skip
    return _giving(layer, output)


def _other(match: re.Match[str], family: Family) -> Layer:
    kind, shape = match["kind"], _shape(match["input"])
    if family == "once-for-all" and kind in ("AvgPool2D", "Conv_2", "Logits"):
        raise NotOneLayer(_HEAD)
    output = _shape(match["output"]) if "x" in match["output"] else Shape(1, 1, int(match[3]))
    activation: Activation = "hard-swish" if family == "once-for-all" else "relu6"
    if kind == "Conv":  # "the initial 3x3 conv with stride 2"
        return _giving(
            Conv(shape, output.channels, kernel=3, stride=2, activation=activation), output
        )
    if kind == "Conv_1":
        return _giving(Conv(shape, output.channels, kernel=1, activation=activation), output)
    if kind == "Logits":  # "all operations after Conv_1"
        return _giving(Classifier(shape, output.channels), output)
    raise NotOneLayer(f"not a key of {family}")


def _giving(layer: Layer, output: Shape) -> Layer:
    if layer.output != output:
        raise NotOneLayer(f"gives {layer.output} by its sizes, {output} by its key")
    return layer


def _shape(text: str) -> Shape:
    return Shape(*map(int, text.split("x")))
