"""MnasNet's factorized hierarchical space: 7 blocks around MobileNetV2.

Source: Tan et al. 2019, section 3.1. Per block: ConvOp (4, counting MBConv with expansion 3 and 6
apart, which makes the 432), kernel, squeeze-excite ratio, skip, filters and layers, the last
two relative to MobileNetV2.

The paper leaves gaps. These rules are ours; with them A1 and B1 are points of the space:

* filters are floored to a multiple of 16 from 48 up, of 8 below, at least 8
  (1.25 x 96 -> 112, 1.25 x 160 -> 192)
* a block keeps at least one layer
* `sep` is depthwise + linear 1 x 1; `conv` is k x k, BN, ReLU
* SE sits after the spatial convolution's ReLU and squeezes to max(1, int(0.25 x input channels))
* a skip acts only where stride is 1 and channels match: identity adds the input, pooling adds
  its 3 x 3 stride-1 average; elsewhere it is none
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from networks.errors import ShapeError
from networks.graph import Shape
from networks.layers import (
    Bottleneck,
    Classifier,
    Conv,
    Layer,
    Separable,
    Skip,
    SqueezeExcite,
    can_skip,
)
from networks.rounding import floor_filters, make_divisible, squeeze_channels
from networks.spaces.blocks import Block, BlockOption
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Decision

# MobileNetV2's filters and layers, and MnasNet's strides
BASE = ((16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1))
STRIDES = (1, 2, 2, 2, 1, 2, 1)

_OPERATORS = ("conv", "sep", "mb3", "mb6")
_KERNELS = (3, 5)
_SKIPS: tuple[Skip, ...] = ("none", "identity", "pool")
_FILTERS = (Fraction(3, 4), Fraction(1), Fraction(5, 4))
_LAYERS = (-1, 0, 1)


def mnasnet(
    *,
    resolution: int = 224,
    width: float = 1.0,
    strides: Sequence[int] = STRIDES,
    stem_stride: int = 2,
    classes: int = 1000,
    in_channels: int = 3,
) -> ChainSpace:
    """Return the space: 432^7 genotypes at the defaults.

    Args:
        resolution: height and width of the image in pixels.
        width: multiplier of all filters but the last 1 x 1 convolution's 1280.
        strides: of the first layer of each of the 7 blocks.
    """
    scale = checked_width(width, strides, len(BASE))
    stem_channels, head_channels = make_divisible(32 * scale), 1280
    blocks = [
        _block(index, channels * scale, layers, stride)
        for index, ((channels, layers), stride) in enumerate(zip(BASE, strides, strict=True))
    ]
    return ChainSpace(
        "mnasnet",
        Shape(resolution, resolution, in_channels),
        stem=lambda image: (Conv(image, stem_channels, kernel=3, stride=stem_stride),),
        blocks=blocks,
        head=lambda shape: mobile_head(shape, head_channels, classes),
    )


def checked_width(width: float, strides: Sequence[int], blocks: int) -> Fraction:
    """Return the width multiplier as an exact fraction, once it and the strides make sense."""
    if not 0 < width < float("inf"):
        raise ShapeError(f"width multiplier is greater than 0, found {width}")
    if len(strides) != blocks or any(stride not in (1, 2) for stride in strides):
        raise ShapeError(f"expected {blocks} strides of 1 or 2, found {tuple(strides)}")
    return Fraction(width).limit_denominator(1000)


def mobile_head(shape: Shape, channels: int, classes: int) -> tuple[Layer, ...]:
    """Return the head that mobile networks share: 1 x 1 convolution, average, dense."""
    last = Conv(shape, channels, kernel=1)
    return last, Classifier(last.output, classes)


def mobile_layer(
    shape: Shape, channels: int, stride: int, *, operator: str, kernel: int, se: bool, skip: Skip
) -> Layer:
    """Return one layer of a mobile space; ``skip`` counts only where it acts.

    ``operator`` is ``conv``, ``sep``, or ``mb`` and an integer expansion.
    """
    gate = SqueezeExcite(squeeze_channels(shape.channels)) if se else None
    acting: Skip = skip if can_skip(shape.channels, channels, stride) else "none"
    if operator == "conv":
        return Conv(shape, channels, kernel=kernel, stride=stride, se=gate, skip=acting)
    if operator == "sep":
        return Separable(shape, channels, kernel=kernel, stride=stride, se=gate, skip=acting)
    expanded = shape.channels * int(operator.removeprefix("mb"))
    return Bottleneck(
        shape, channels, kernel=kernel, stride=stride, expanded=expanded, se=gate, skip=acting
    )


def _block(index: int, channels: Fraction, layers: int, stride: int) -> Block:
    def option(digits: tuple[int, ...]) -> BlockOption:
        operator, kernel, se, skip, filters, delta = digits
        width = floor_filters(channels * _FILTERS[filters])
        return BlockOption(
            channels=width,
            depth=max(1, layers + _LAYERS[delta]),
            layer=lambda shape, stride: mobile_layer(
                shape,
                width,
                stride,
                operator=_OPERATORS[operator],
                kernel=_KERNELS[kernel],
                se=bool(se),
                skip=_SKIPS[skip],
            ),
        )

    decisions = {
        "operator": _OPERATORS,
        "kernel": ("3", "5"),
        "se": ("0", "0.25"),
        "skip": _SKIPS,
        "filters": ("0.75", "1.0", "1.25"),
        "layers": ("-1", "0", "+1"),
    }
    return Block(
        tuple(Decision(f"block{index}.{name}", texts) for name, texts in decisions.items()),
        stride=stride,
        width_decision=4,
        option=option,
    )
