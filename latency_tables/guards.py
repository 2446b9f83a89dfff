"""Guards: the device that answers must be the one, and measure as, a table was made with."""

from __future__ import annotations

from device_agents.errors import DeviceSwapped
from device_agents.measurement import Agent, Condition
from latency_tables.errors import ConditionMismatch, DeviceChanged
from latency_tables.journal import Journal


def require_same(what: str, expected: Condition, found: Condition) -> None:
    """Check that latencies under these two conditions are comparable.

    Raises:
        DeviceChanged: they would be, were it not for the device's OS build.
        ConditionMismatch: they are not; names the fields that differ.
    """
    if expected == found:
        return
    if set(expected.differences(found)) == {"os_build"}:
        raise DeviceChanged(what, expected, found)
    raise ConditionMismatch(what, expected, found)


def require_known(agent: Agent, journal: Journal) -> None:
    """Check that the device is the one which measured for this journal at this address last.

    Raises:
        DeviceSwapped: another serial answers.
    """
    serials = [session.serial for session in journal.sessions() if session.address == agent.address]
    known = [serial for serial in serials if serial is not None]
    if known and agent.serial is not None and agent.serial != known[-1]:
        raise DeviceSwapped(
            f"{agent.address}: expected serial {known[-1]}, found {agent.serial};"
            " connect the device that was there, or profile this one into a table of its own"
        )
