"""Opening an agent: from an address to the thing that measures there."""

from __future__ import annotations

from device_agents.address import parse_address
from device_agents.local import LocalAgent


def open_agent(address: str) -> LocalAgent:
    """Return the agent at this address; close it, or use it in a ``with`` statement.

    Raises:
        AddressError: the text is no address.
        DeviceUnusable: there is such a kind of device, but not this one.
    """
    return LocalAgent(parse_address(address).cpu)
