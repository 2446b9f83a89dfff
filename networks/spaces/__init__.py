"""Spaces by name: `make_space("mnasnet", resolution=224)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from networks.errors import UnknownName
from networks.spaces.accel_nasbench import accel_nasbench
from networks.spaces.chain import ChainSpace
from networks.spaces.mnasnet import STRIDES, mnasnet

_SPACES: dict[str, Callable[..., ChainSpace]] = {
    "mnasnet": mnasnet,
    "accel-nasbench": accel_nasbench,
}
SPACES = tuple(_SPACES)


def make_space(
    name: str,
    *,
    resolution: int = 224,
    width: float = 1.0,
    strides: Sequence[int] = STRIDES,
    stem_stride: int = 2,
    classes: int = 1000,
    in_channels: int = 3,
) -> ChainSpace:
    """Return the space of this name; the arguments are those of `mnasnet.mnasnet`.

    Raises:
        UnknownName: there is none; the nearest names are listed.
    """
    if name not in _SPACES:
        raise UnknownName("space", name, SPACES)
    return _SPACES[name](
        resolution=resolution,
        width=width,
        strides=strides,
        stem_stride=stem_stride,
        classes=classes,
        in_channels=in_channels,
    )
