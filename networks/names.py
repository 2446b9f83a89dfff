"""Names: the texts by which people call a network, whatever it is made of.

224x224x3:cn_r1_k3_s2_c32:...:fc_c1000         a block string: a chain of layers
224x224x3:imagenet_c32:normal_...:fc_c1000     a cell string: a network of cells
mobilenet-v2,width=0.75,resolution=192         a published name of either, with options
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from networks.block_strings import format_network, parse_network
from networks.cell_strings import format_cell_network, parse_cell_network
from networks.cells import CellNetwork
from networks.errors import NotAChain, ShapeError, UnknownName
from networks.network import Network
from networks.published import PUBLISHED, published_network
from networks.published_cells import PUBLISHED_CELLS, published_cell_network

NamedNetwork: TypeAlias = Network | CellNetwork

_CELL_OPTIONS: Mapping[str, Callable[[str], float]] = {
    "width": float,
    "resolution": int,
    "classes": int,
    "in_channels": int,
}
_CHAIN_OPTIONS: Mapping[str, Callable[[str], float]] = {**_CELL_OPTIONS, "stem_stride": int}
_ONLY_IN_CELL_STRINGS = re.compile(r":(imagenet|cifar|normal|reduction)_")


def find_network(text: str) -> NamedNetwork:
    """Return the network of a block string, a cell string, or a published name with options.

    Raises:
        BlockStringError: it starts with a digit and is no block string.
        CellStringError: likewise, but it has a part that only cell strings have.
        UnknownName: no published network has that name.
        ShapeError: an option is unknown or not a number, or sizes that cannot be.
    """
    if text[:1].isdigit():
        is_cells = _ONLY_IN_CELL_STRINGS.search(text)
        return parse_cell_network(text) if is_cells else parse_network(text)
    name = text.partition(",")[0]
    if name in PUBLISHED:
        return published_network(name, **_options(text, _CHAIN_OPTIONS))
    if name in PUBLISHED_CELLS:
        return published_cell_network(name, **_options(text, _CELL_OPTIONS))
    raise UnknownName("published network", name, (*PUBLISHED, *PUBLISHED_CELLS))


def find_chain(text: str) -> Network:
    """Return the chain of layers that a text names; else as `find_network`.

    Raises:
        NotAChain: it names a network of cells.
    """
    network = find_network(text)
    if isinstance(network, CellNetwork):
        raise NotAChain(
            f"{text!r} is a network of cells, and only chains have layers: price it with a table by"
            " operators (hilnas profile --granularity operator), or export it and measure it whole"
        )
    return network


def name_network(network: NamedNetwork) -> str:
    """Return the block or cell string of a network; `find_network` is its inverse."""
    if isinstance(network, CellNetwork):
        return format_cell_network(network)
    return format_network(network)


def _options(text: str, known: Mapping[str, Callable[[str], float]]) -> dict[str, Any]:
    """Return the options after a name; of one that is there twice, the last."""
    options = {}
    for option in text.split(",")[1:]:
        key, _, value = option.partition("=")
        try:
            options[key] = known[key](value)
        except (KeyError, ValueError) as error:
            raise ShapeError(
                f"{text!r}: expected an option such as width=0.75 (there are {', '.join(known)}),"
                f" found {option!r}"
            ) from error
    return options
