"""Unit of a key: the layer or the single operator that a row's key spells."""

from __future__ import annotations

from networks.layers import parse_layer
from networks.operators import Unit, is_operator_key, parse_operator


def parse_unit(key: str) -> Unit:
    """Return the layer or the single operator whose key this is.

    Raises:
        NetworkError: it is neither.
    """
    return parse_operator(key) if is_operator_key(key) else parse_layer(key)
