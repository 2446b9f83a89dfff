"""Extras: optional dependencies, imported when they are first needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from exporters.errors import MissingExtra


def require_extra(extra: str, *modules: str) -> tuple[ModuleType, ...]:
    """Import the modules that an extra of this package brings and return them.

    Args:
        extra: its name in ``setup.cfg``, such as ``int8``.

    Raises:
        MissingExtra: one of the modules, or what it needs itself, is not installed.
    """
    try:
        return tuple(importlib.import_module(module) for module in modules)
    except ImportError as error:
        raise MissingExtra(
            f"expected the extra {extra!r}, found: {error};"
            f" install it: pip install 'hilnas[{extra}]'"
        ) from error
