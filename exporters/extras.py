"""Extras: optional dependencies, imported when they are first needed."""

from __future__ import annotations

import importlib
import importlib.metadata
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


def version_of(extra: str, *distributions: str) -> str:
    """Return the version of the first of these distributions that is installed.

    Raises:
        MissingExtra: none of them is.
    """
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise MissingExtra(
        f"expected the extra {extra!r}, found none of {', '.join(distributions)};"
        f" install it: pip install 'hilnas[{extra}]'"
    )
