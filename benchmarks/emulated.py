"""Emulated phone for benchmarks: one that is up, and the agent that measures on it by adb-tcp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device_agents.address import AdbTcpAddress
from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.stand_in import stand_in_binary
from device_agents.phone import PhoneAgent
from device_agents.tools.binaries import local_binary
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport


def connect(phone: EmulatedPhone, folder: Path) -> Transport:
    """Return a direct transport to a phone, with a key of its own in ``folder``."""
    return open_transport(AdbTcpAddress("127.0.0.1", phone.port), adb_key=folder / "adbkey")


@contextmanager
def phone_and_agent(folder: Path) -> Iterator[tuple[EmulatedPhone, PhoneAgent]]:
    """Yield both; the timing tool is the stand-in, which runs models on this machine."""
    tool = folder / "benchmark_model"
    with EmulatedPhone(root=folder / "phone") as phone:
        tool.write_bytes(stand_in_binary(phone.profile.abis[0]))
        with PhoneAgent(
            connect(phone, folder), binary=local_binary(tool), state_folder=folder / "state"
        ) as agent:
            yield phone, agent
