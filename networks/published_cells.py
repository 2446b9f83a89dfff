"""Published networks of cells by name: NASNet-A in its three sizes.

    nasnet-a-mobile   4 @ 1056   224 pixels, 1000 classes    5.3M parameters   564M madds
    nasnet-a-large    6 @ 4032   331 pixels, 1000 classes   88.8M             23.8B
    nasnet-a-cifar    6 @ 768     32 pixels,   10 classes    3.3M

Source: Zoph et al. 2018 (arXiv 1707.07012), figure 4 and table 2; tensorflow/models' slim for
what the cells concatenate, stems and the input of the cell after a reduction. Keras's NASNet has
the same parameters and computes the same, but for the pools of its reduction cells, whose zero
padding counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from networks.cells import Block, Cell, CellNetwork, Edge, Stem
from networks.errors import ShapeError, UnknownName
from networks.graph import Shape
from networks.rounding import make_divisible

NASNET_A_NORMAL = Cell(
    blocks=(
        Block(Edge("sep5", 0), Edge("sep3", 1)),
        Block(Edge("sep5", 1), Edge("sep3", 1)),
        Block(Edge("avg3", 0), Edge("id", 1)),
        Block(Edge("avg3", 1), Edge("avg3", 1)),
        Block(Edge("sep3", 0), Edge("id", 0)),
    ),
    concatenated=(1, 2, 3, 4, 5, 6),
)
NASNET_A_REDUCTION = Cell(
    blocks=(
        Block(Edge("sep5", 0), Edge("sep7", 1)),
        Block(Edge("max3", 0), Edge("sep7", 1)),
        Block(Edge("avg3", 0), Edge("sep5", 1)),
        Block(Edge("id", 3), Edge("avg3", 2)),
        Block(Edge("sep3", 2), Edge("max3", 0)),
    ),
    concatenated=(3, 4, 5, 6),
)


@dataclass(frozen=True, slots=True)
class _Size:
    resolution: int
    classes: int
    stem: Stem
    stem_channels: int
    repeats: int
    filters: int
    skip_reduction_input: bool = False


_SIZES: Mapping[str, _Size] = {
    "nasnet-a-mobile": _Size(224, 1000, "imagenet", 32, 4, 44),
    "nasnet-a-cifar": _Size(32, 10, "cifar", 96, 6, 32),
    "nasnet-a-large": _Size(331, 1000, "imagenet", 96, 6, 168, skip_reduction_input=True),
}
PUBLISHED_CELLS = tuple(_SIZES)


def published_cell_network(
    name: str,
    *,
    width: float = 1.0,
    resolution: int | None = None,
    classes: int | None = None,
    in_channels: int = 3,
) -> CellNetwork:
    """Return the published network of cells of this name.

    Args:
        width: multiplier of all widths, greater than 0; filters become a multiple of 4, of which
            the stem's cells take a quarter and a half.
        resolution: height and width of the image in pixels; as published by default.
        classes: as published by default.

    Raises:
        UnknownName: there is none; the nearest names are listed.
        ShapeError: a width that is not a positive number, or sizes that leave no pixel or filter.
    """
    if name not in _SIZES:
        raise UnknownName("published network of cells", name, _SIZES)
    if not 0 < width < float("inf"):
        raise ShapeError(f"width multiplier is greater than 0, found {width}")
    size = _SIZES[name]
    side = size.resolution if resolution is None else resolution
    return CellNetwork(
        image=Shape(side, side, in_channels),
        stem=size.stem,
        stem_channels=make_divisible(size.stem_channels * width),
        repeats=size.repeats,
        filters=make_divisible(size.filters * width, 4),
        normal=NASNET_A_NORMAL,
        reduction=NASNET_A_REDUCTION,
        classes=size.classes if classes is None else classes,
        skip_reduction_input=size.skip_reduction_input,
    )
