"""Granularity: whether a table prices layers or single operators; it never holds both.

Told by the keys of its rows, which begin with ``v1/`` or ``op1/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from latency_tables.errors import WrongGranularity
from latency_tables.table import LatencyTable
from networks.cells import CellNetwork
from networks.errors import NotAChain
from networks.graph import Activate, Shape
from networks.layers import Layer
from networks.network import ImageNetwork, Network
from networks.operators import (
    SingleOperator,
    Unit,
    is_operator_key,
    operators_of,
    operators_of_layers,
)

Granularity = Literal["layer", "operator"]
BASELINE = SingleOperator(Activate((0,), Shape(1, 1, 1), "relu"), (Shape(1, 1, 1),))
"""The ReLU of one number: all that it costs is the call of the runtime.

An operator by itself pays that call, a network pays it once for all; see `operator_pricing`.
"""


def units_to_price(
    granularity: Granularity, layers: Iterable[Layer], networks: Iterable[ImageNetwork] = ()
) -> tuple[Unit, ...]:
    """Return the units of these layers and of these networks, each once.

    Of operators, `BASELINE` comes first.

    Raises:
        NotAChain: one of the networks has no layers, and layers are wanted.
    """
    if granularity == "layer":
        more = (layer for network in networks for layer in layers_of(network))
        return tuple(dict.fromkeys((*layers, *more)))
    of_networks = (operator for network in networks for operator in operators_of(network))
    return tuple(dict.fromkeys((BASELINE, *operators_of_layers(layers), *of_networks)))


def layers_of(network: ImageNetwork) -> tuple[Layer, ...]:
    """Return the layers of a chain.

    Raises:
        NotAChain: it is a network of cells.
    """
    if isinstance(network, Network):
        return network.layers
    what = "a network of cells" if isinstance(network, CellNetwork) else type(network).__name__
    raise NotAChain(
        f"expected a chain of layers, found {what}, which only a table by operators prices:"
        " make one with hilnas profile --granularity operator --network NAME"
    )


def units_of(granularity: Granularity, network: ImageNetwork) -> tuple[Unit, ...]:
    """Return what a table of this granularity prices of a network, in order, with repeats.

    Raises:
        NotAChain: layers are wanted of a network of cells.
    """
    return operators_of(network) if granularity == "operator" else layers_of(network)


def granularity_of(table: LatencyTable) -> Granularity:
    """Return what the rows of a table are of; those of an empty one would be of layers."""
    return granularity_of_keys(table.rows["layer"].slice(0, 1).to_pylist())


def granularity_of_keys(keys: Sequence[str]) -> Granularity:
    """Return what these keys are of, told by the first."""
    return "operator" if keys and is_operator_key(keys[0]) else "layer"


def granularity_of_units(units: Sequence[Unit]) -> Granularity:
    """Return what these units are, told by the first."""
    return granularity_of_keys([unit.key for unit in units[:1]])


def require_same_granularity(first: LatencyTable, second: LatencyTable) -> None:
    """Check that the rows of two tables are of the same; an empty one goes with both.

    Raises:
        WrongGranularity: one is by layers, the other by operators.
    """
    mine, theirs = granularity_of(first), granularity_of(second)
    if len(first) and len(second) and mine != theirs:
        raise WrongGranularity(
            f"expected tables of one granularity, found {first.name!r} by {mine} and"
            f" {second.name!r} by {theirs}; keep them apart"
        )


def only_layers(units: Sequence[Unit], option: str) -> tuple[Layer, ...]:
    """Return these units, which an option of profiling wants to be layers.

    Raises:
        WrongGranularity: there are single operators among them.
    """
    layers = tuple(unit for unit in units if not isinstance(unit, SingleOperator))
    if len(layers) < len(units):
        raise WrongGranularity(
            f"{option}: expected layers, found single operators, which are timed one by one: leave"
            f" out {option} or --granularity operator"
        )
    return layers


def require_layers_table(table: LatencyTable) -> None:
    """Check that a table prices layers.

    Raises:
        WrongGranularity: it prices single operators.
    """
    if granularity_of(table) == "operator":
        raise WrongGranularity(
            f"table {table.name!r}: expected a table by layers, found one by operators, which"
            " prices whole networks only (hilnas table predict): use a table by layers"
            " (hilnas profile without --granularity operator)"
        )


def require_operators_table(table: LatencyTable) -> None:
    """Check that a table prices single operators.

    Raises:
        WrongGranularity: it prices layers.
    """
    if granularity_of(table) == "layer":
        raise WrongGranularity(
            f"table {table.name!r}: expected a table by operators, found one by layers: make one"
            " with hilnas profile --granularity operator"
        )


def require_one_granularity(name: str, keys: Sequence[str], wanted: Granularity) -> None:
    """Check that a table with these keys may take units of this granularity.

    Raises:
        WrongGranularity: its rows are of the other.
    """
    found = granularity_of_keys(keys)
    if keys and found != wanted:
        raise WrongGranularity(
            f"table {name!r}: expected {wanted}s, found {found}s in it, and a table holds one of"
            " the two: profile into another (--table NAME)"
        )
