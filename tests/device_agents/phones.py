"""Emulated phones for tests, and agents that do not wait as long as they would for real ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from device_agents.address import AdbTcpAddress
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.emulator.faults import Fault
from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.stand_in import stand_in_binary
from device_agents.jobs import Patience
from device_agents.phone import PhoneAgent
from device_agents.processes import ProcessPlan
from device_agents.tools.binaries import Binary, local_binary
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport

PLAN = ProcessPlan(
    min_processes=2, max_processes=2, runs=5, min_s=0.0, warmup_runs=1, warmup_s=0.005, pause_s=0.0
)
ONCE = replace(PLAN, min_processes=1, max_processes=1)
HURRIED = replace(LIMITS, cool_downs_s=(0.05, 0.05), thermal_poll_s=0.05, anchor_every_jobs=6)
IMPATIENT = Patience(deadline_s=20.0, first_pause_s=0.05, longest_pause_s=0.2)


def tool_for(folder: Path, abi: str = "arm64-v8a") -> Binary:
    """Return a stand-in for the timing tool, built for an ABI."""
    path = folder / f"benchmark_model-{abi}"
    path.write_bytes(stand_in_binary(abi))
    return local_binary(path)


@contextmanager
def emulated_phone(folder: Path, faults: Iterable[Fault] = ()) -> Iterator[EmulatedPhone]:
    """Yield a phone that comes up at once, and require that all its faults came about."""
    with EmulatedPhone(faults=faults, boot_s=0.1, root=folder / "phone") as phone:
        yield phone
        assert phone.faults.pending == ()


def connect(phone: EmulatedPhone, folder: Path) -> Transport:
    """Return a direct transport to a phone."""
    host, _, port = phone.address.rpartition(":")
    return open_transport(AdbTcpAddress(host, int(port)), adb_key=folder / "adbkey")


def agent_for(
    phone: EmulatedPhone,
    folder: Path,
    *,
    limits: Limits = HURRIED,
    patience: Patience = IMPATIENT,
    binary: Binary | None = None,
    serial: str | None = None,
) -> PhoneAgent:
    """Return an agent for a phone; close it."""
    return PhoneAgent(
        connect(phone, folder),
        binary=binary or tool_for(folder),
        state_folder=folder / "state",
        limits=limits,
        patience=patience,
        serial=serial,
    )
