"""Opening an agent: which devices there are, and from an address to what measures there."""

from __future__ import annotations

from dataclasses import dataclass

from device_agents import machine
from device_agents.address import LocalAddress, parse_address
from device_agents.errors import DeviceUnusable
from device_agents.local import LocalAgent


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that can be reached: its address, what kind it is, and whether it can measure."""

    address: str
    kind: str
    model: str
    state: str


def find_devices() -> tuple[FoundDevice, ...]:
    """Return what can be measured on from here."""
    try:
        machine.choose_core(None)
        state = "ready"
    except DeviceUnusable as error:
        state = str(error)
    return (FoundDevice("local", "local", machine.device_model(), state),)


def open_agent(address: str) -> LocalAgent:
    """Return the agent at this address; close it, or use it in a ``with`` statement.

    Raises:
        AddressError: the text is no address.
        DeviceUnusable: there is such a kind of device, but not this one.
    """
    found = parse_address(address)
    if not isinstance(found, LocalAddress):
        raise DeviceUnusable(f"no agent measures at {address} yet")
    return LocalAgent(found.cpu)
