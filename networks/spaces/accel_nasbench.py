"""Accel-NASBench's space: MnasNet's blocks at fixed widths; expansion, kernel, layers and SE vary.

Source: the Accel-NASBench data set (afzalxo/Accel-NASBench): 7 blocks of widths
16/24/40/80/112/192/320. Its parameter counts fix the rest: expansion 1 has no expansion
convolution, SE squeezes a quarter of the layer's input, stem 32 and head 1280; block 5 alone goes
to 4 layers. Identity skips, which have no parameters, are taken from MnasNet.
"""

from __future__ import annotations

from collections.abc import Sequence

from networks.graph import Shape
from networks.layers import Conv
from networks.rounding import make_divisible
from networks.spaces.blocks import Block, BlockOption
from networks.spaces.chain import ChainSpace
from networks.spaces.mnasnet import STRIDES, checked_width, mobile_head, mobile_layer
from networks.spaces.space import Decision

WIDTHS = (16, 24, 40, 80, 112, 192, 320)
EXPANSIONS = (1, 4, 6)
KERNELS = (3, 5)
MAX_LAYERS = (3, 3, 3, 3, 3, 4, 3)


def accel_nasbench(
    *,
    resolution: int = 224,
    width: float = 1.0,
    strides: Sequence[int] = STRIDES,
    stem_stride: int = 2,
    classes: int = 1000,
    in_channels: int = 3,
) -> ChainSpace:
    """Return the space: 36^6 x 48 genotypes; the arguments are those of `mnasnet`."""
    scale = checked_width(width, strides, len(WIDTHS))
    stem_channels = make_divisible(32 * scale)
    return ChainSpace(
        "accel-nasbench",
        Shape(resolution, resolution, in_channels),
        stem=lambda image: (Conv(image, stem_channels, kernel=3, stride=stem_stride),),
        blocks=[
            _block(index, make_divisible(channels * scale), layers, stride)
            for index, (channels, layers, stride) in enumerate(
                zip(WIDTHS, MAX_LAYERS, strides, strict=True)
            )
        ],
        head=lambda shape: mobile_head(shape, 1280, classes),
    )


def _block(index: int, channels: int, max_layers: int, stride: int) -> Block:
    def option(digits: tuple[int, ...]) -> BlockOption:
        expansion, kernel, layers, se = digits
        e = EXPANSIONS[expansion]
        return BlockOption(
            channels=channels,
            depth=layers + 1,
            layer=lambda shape, stride: mobile_layer(
                shape,
                channels,
                stride,
                operator="sep" if e == 1 else f"mb{e}",
                kernel=KERNELS[kernel],
                se=bool(se),
                skip="identity",
            ),
        )

    decisions = {
        "expansion": tuple(map(str, EXPANSIONS)),
        "kernel": tuple(map(str, KERNELS)),
        "layers": tuple(str(n + 1) for n in range(max_layers)),
        "se": ("0", "0.25"),
    }
    return Block(
        tuple(Decision(f"block{index}.{name}", texts) for name, texts in decisions.items()),
        stride=stride,
        width_decision=None,
        option=option,
    )
