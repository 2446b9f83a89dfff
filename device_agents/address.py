"""An address: the text that says which device, and on which of its cores.

local            this machine, a core chosen for it
local:cpu=N      this machine, core N
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_agents.errors import AddressError

_LOCAL = re.compile(r"local(?::cpu=(0|[1-9][0-9]{0,4}))?")


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """This machine; ``cpu`` is the core to measure on, ``None`` for one that the agent picks."""

    cpu: int | None = None

    def __str__(self) -> str:
        return "local" if self.cpu is None else f"local:cpu={self.cpu}"


def parse_address(text: str) -> LocalAddress:
    """Return the address in this text; the inverse of ``str``.

    Raises:
        AddressError: it is not one.
    """
    found = _LOCAL.fullmatch(text)
    if found is None:
        raise AddressError(f"expected an address such as local or local:cpu=1, found {text!r}")
    return LocalAddress(None if found[1] is None else int(found[1]))
