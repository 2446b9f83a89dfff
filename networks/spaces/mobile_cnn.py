"""The mobile CNN space of a practitioner: six stages of a classifier for a small camera.

Per stage four operators (depthwise-separable 3 x 3; inverted bottleneck 3 x 3 with expansion 3, 4
or 6), squeeze-excite or none, and a width of 16, 24, 32 or 48. Strides and depths are parameters;
the defaults are ours: 32 times smaller at the end, two layers a stage but in the first. Identity
skips act where they can.
"""

from __future__ import annotations

from collections.abc import Sequence

from networks.errors import ShapeError
from networks.graph import Shape
from networks.layers import Conv
from networks.rounding import make_divisible
from networks.spaces.blocks import Block, BlockOption
from networks.spaces.chain import ChainSpace
from networks.spaces.mnasnet import checked_width, mobile_head, mobile_layer
from networks.spaces.space import Decision

STAGE_STRIDES = (1, 2, 2, 1, 2, 2)
DEPTHS = (1, 2, 2, 2, 2, 2)
OPERATORS = ("sep", "mb3", "mb4", "mb6")
WIDTHS = (16, 24, 32, 48)
STEM_CHANNELS = 16
HEAD_CHANNELS = 192


def mobile_cnn(
    *,
    resolution: int = 224,
    width: float = 1.0,
    strides: Sequence[int] = STAGE_STRIDES,
    depths: Sequence[int] = DEPTHS,
    stem_stride: int = 2,
    classes: int = 1000,
    in_channels: int = 3,
) -> ChainSpace:
    """Return the space: 32^6 genotypes; the arguments are those of `mnasnet.mnasnet`.

    Args:
        depths: layers of each of the 6 stages.
    """
    scale = checked_width(width, strides, len(STAGE_STRIDES))
    if len(depths) != len(strides) or min(depths) < 1:
        raise ShapeError(f"expected {len(strides)} depths of at least 1, found {tuple(depths)}")
    widths = tuple(make_divisible(channels * scale) for channels in WIDTHS)
    return ChainSpace(
        "mobile-cnn",
        Shape(resolution, resolution, in_channels),
        stem=lambda image: (
            Conv(image, make_divisible(STEM_CHANNELS * scale), kernel=3, stride=stem_stride),
        ),
        blocks=[
            _stage(index, widths, depth, stride)
            for index, (depth, stride) in enumerate(zip(depths, strides, strict=True))
        ],
        head=lambda shape: mobile_head(shape, HEAD_CHANNELS, classes),
    )


def _stage(index: int, widths: tuple[int, ...], depth: int, stride: int) -> Block:
    def option(digits: tuple[int, ...]) -> BlockOption:
        operator, se, width = digits
        return BlockOption(
            channels=widths[width],
            depth=depth,
            layer=lambda shape, stride: mobile_layer(
                shape, widths[width], stride, operator=OPERATORS[operator], kernel=3,
                se=bool(se), skip="identity",
            ),
        )  # fmt: skip

    decisions = {
        "operator": OPERATORS,
        "se": ("0", "0.25"),
        "width": tuple(map(str, WIDTHS)),
    }
    return Block(
        tuple(Decision(f"stage{index}.{name}", texts) for name, texts in decisions.items()),
        stride=stride,
        width_decision=2,
        option=option,
    )
