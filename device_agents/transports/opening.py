"""Opening a transport: from an address to what carries commands and files there."""

from __future__ import annotations

from device_agents.address import Address, LocalAddress
from device_agents.errors import DeviceUnusable
from device_agents.transports.local import LocalTransport
from device_agents.transports.transport import Transport


def open_transport(address: Address) -> Transport:
    """Return a connected transport to this address; close it after use."""
    if isinstance(address, LocalAddress):
        return LocalTransport(str(address))
    raise DeviceUnusable(f"no transport leads to {address} yet")
