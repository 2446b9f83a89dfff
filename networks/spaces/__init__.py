"""Spaces by name or file: `make_space("mnasnet", resolution=224)`, `find_space("mine.toml")`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from networks.errors import NotAChain, UnknownName
from networks.spaces.accel_nasbench import accel_nasbench
from networks.spaces.chain import ChainSpace
from networks.spaces.decisions import DecisionSpace
from networks.spaces.mnasnet import mnasnet
from networks.spaces.mobile_cnn import mobile_cnn
from networks.spaces.nasnet import NasNetSpace, nasnet
from networks.spaces.space_files import read_space

_CHAINS: Mapping[str, Callable[..., ChainSpace]] = {
    "mnasnet": mnasnet,
    "accel-nasbench": accel_nasbench,
    "mobile-cnn": mobile_cnn,
}
SPACES = tuple(_CHAINS)
"""Names of spaces of chains, which a latency table prices."""
ALL_SPACES = (*SPACES, "nasnet")

DecodingSpace = ChainSpace | NasNetSpace
"""Spaces whose genotypes are networks; the others have decisions alone."""
AnySpace = DecodingSpace | DecisionSpace


def make_space(
    name: str,
    *,
    resolution: int = 224,
    width: float = 1.0,
    strides: Sequence[int] | None = None,
    stem_stride: int = 2,
    classes: int = 1000,
    in_channels: int = 3,
) -> ChainSpace:
    """Return the space of chains of this name; the arguments are those of `mnasnet.mnasnet`.

    Args:
        strides: of each block's first layer; None: the space's own.

    Raises:
        UnknownName: there is none; the nearest names are listed.
    """
    if name not in _CHAINS:
        raise UnknownName("space of chains", name, SPACES)
    chosen: dict[str, Any] = {} if strides is None else {"strides": strides}
    return _CHAINS[name](
        resolution=resolution,
        width=width,
        stem_stride=stem_stride,
        classes=classes,
        in_channels=in_channels,
        **chosen,
    )


def find_space(
    name: str,
    *,
    resolution: int | None = None,
    width: float = 1.0,
    classes: int | None = None,
    in_channels: int | None = None,
) -> AnySpace:
    """Return the space of a name or of a TOML file, see `networks.spaces.space_files`.

    Args:
        name: one of `ALL_SPACES`, or a path that ends in ``.toml``.
        resolution, classes, in_channels: None: the space's own default.
        width: multiplier of spaces of chains that have a name.

    Raises:
        UnknownName: there is none; the nearest names are listed.
        SpaceFileError: the file cannot be read, or is not a space.
    """
    given = {"resolution": resolution, "classes": classes, "in_channels": in_channels}
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if name.endswith(".toml"):
        return read_space(Path(name), **chosen)
    if name == "nasnet":
        return nasnet(**chosen)
    if name not in _CHAINS:
        raise UnknownName("space", name, ALL_SPACES)
    return make_space(name, width=width, **chosen)


def find_chain_space(name: str, *, resolution: int | None = None, width: float = 1.0) -> ChainSpace:
    """Return the space of chains of a name or of a TOML file; the rest as `find_space`.

    Raises:
        NotAChain: its networks are no chains of layers.
    """
    return require_chains(find_space(name, resolution=resolution, width=width))


def require_chains(space: AnySpace) -> ChainSpace:
    """Return the space, once its networks are chains of layers.

    Raises:
        NotAChain: they are not.
    """
    if isinstance(space, ChainSpace):
        return space
    what = "decisions and no networks"
    if isinstance(space, NasNetSpace):
        what = "cells: a table of it is by operators, --granularity operator"
    raise NotAChain(f"expected a space of chains of layers, found {space.name}, which has {what}")
