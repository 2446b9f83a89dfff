"""Reading: a value that was taken from a device, or `Unknown` with the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """What could not be read: denied, missing, or text that nobody here understands."""

    why: str

    def __str__(self) -> str:
        return f"unknown: {self.why}"


Reading: TypeAlias = T | Unknown


def known(reading: Reading[T]) -> T | None:
    """Return the value, or None where there is none."""
    return None if isinstance(reading, Unknown) else reading


def show(reading: Reading[T], form: Callable[[T], str] = str) -> str:
    """Return a reading as people read it."""
    return str(reading) if isinstance(reading, Unknown) else form(reading)


def not_understood(text: str, expected: str) -> Unknown:
    """Return the unknown of an output that is not what it should be."""
    line = next((repr(line.strip()[:80]) for line in text.splitlines() if line.strip()), "nothing")
    return Unknown(f"expected {expected}, found {line}")
