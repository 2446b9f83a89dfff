"""Check: one precondition of a trustworthy measurement, with its reading and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "not_ok", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was read and whether that is fine; what could not be read is unknown, never fine.

    ``remedy`` says what to do in one line; it is empty only where the state is ok.
    """

    name: str
    reading: str
    state: State
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.remedy:
            raise ValueError(f"what is not ok has a remedy: {self}")
