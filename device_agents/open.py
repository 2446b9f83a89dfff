"""Opening an agent: which devices there are, and from an address to what measures there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from device_agents import machine
from device_agents.address import LocalAddress, SshAddress, parse_address
from device_agents.board import BoardAgent
from device_agents.conditions.cores import AUTO, parse_mask
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.settings import PHONE_HOME
from device_agents.devices_file import DeviceEntry
from device_agents.errors import BinaryRefused, DeviceUnusable
from device_agents.local import LocalAgent
from device_agents.phone import PhoneAgent, PowerMode
from device_agents.tools.binaries import Binary, local_binary
from device_agents.tools.command import Delegate
from device_agents.transports.opening import open_transport
from device_agents.transports.scanning import scan_phones


def _default_state_folder() -> Path:
    return Path.home() / ".local" / "state" / "hilnas"


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """How a device is measured, as far as its address does not say.

    ``cores`` is ``auto`` or a mask in hexadecimal; ``benchmark_binary`` a phone's timing tool, of
    this sha256 where one is named; ``python`` a board's interpreter, by default the environment
    that ``doctor --install`` makes; ``serial`` the device that is expected; ``device_folder`` where
    files go on it, ``state_folder`` where this machine keeps the locks of devices.
    """

    cores: str = AUTO
    threads: int = 1
    delegate: Delegate = "xnnpack"
    power_mode: PowerMode = "fixed"
    benchmark_binary: Path | None = None
    benchmark_sha256: str | None = None
    python: str | None = None
    serial: str | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    adb_key: Path | None = None
    device_folder: str | None = None
    state_folder: Path = field(default_factory=_default_state_folder)
    limits: Limits = LIMITS


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that can be reached: its address, what kind it is, and whether it can measure."""

    address: str
    kind: str
    model: str
    state: str


def find_devices(configured: Iterable[DeviceEntry] = ()) -> tuple[FoundDevice, ...]:
    """Return what can be measured on from here, and of ``configured`` what is not among it."""
    try:
        machine.choose_core(None)
        state = "ready"
    except DeviceUnusable as error:
        state = str(error)
    found = [FoundDevice("local", "local", machine.device_model(), state)]
    found += [
        FoundDevice(phone.address, phone.address.partition(":")[0], phone.model, phone.state)
        for phone in scan_phones()
    ]
    reached = {device.address for device in found}
    found += [
        FoundDevice(address, address.partition(":")[0], entry.name, "configured")
        for entry in configured
        if (address := str(entry.address)) not in reached
    ]
    return tuple(found)


def open_agent(
    address: str, *, options: AgentOptions | None = None
) -> LocalAgent | BoardAgent | PhoneAgent:
    """Return the agent at this address; close it, or use it in a ``with`` statement.

    Raises:
        AddressError: the text is no address.
        BinaryRefused: a phone without a timing tool, or with another than the one named.
        DeviceUnusable: there is such a kind of device, but it cannot be measured so.
        MissingExtra: what leads there is not installed.
        NeedsHuman: a person has to do something first.
        TransportError: it is there, and could not be reached.
    """
    options = options or AgentOptions()
    found = parse_address(address)
    if isinstance(found, LocalAddress):
        return open_local(address, options=options)
    if isinstance(found, SshAddress):
        delegate = _cpu_delegate(options)
        transport = open_transport(found, ssh_key=options.ssh_key, known_hosts=options.known_hosts)
        return BoardAgent(
            transport,
            state_folder=options.state_folder,
            python=options.python,
            cores=options.cores,
            delegate=delegate,
            serial=options.serial,
            folder=options.device_folder,
            limits=options.limits,
        )
    binary = _binary(address, options)
    transport = open_transport(found, expected_serial=options.serial, adb_key=options.adb_key)
    return PhoneAgent(
        transport,
        binary=binary,
        state_folder=options.state_folder,
        cores=options.cores,
        threads=options.threads,
        delegate=options.delegate,
        power_mode=options.power_mode,
        serial=options.serial,
        folder=options.device_folder or PHONE_HOME,
        limits=options.limits,
    )


def open_local(address: str = "local", *, options: AgentOptions | None = None) -> LocalAgent:
    """Return the agent of this machine; close it, or use it in a ``with`` statement.

    Raises:
        AddressError: the text is no address.
        DeviceUnusable: it is that of another device, or the core is not ours.
    """
    options = options or AgentOptions()
    found = parse_address(address)
    if not isinstance(found, LocalAddress):
        raise DeviceUnusable(f"expected this machine, local or local:cpu=N, found {address}")
    return LocalAgent(_only_core(found.cpu, options), delegate=_cpu_delegate(options))


def _only_core(cpu: int | None, options: AgentOptions) -> int | None:
    if options.cores == AUTO:
        return cpu
    cores = parse_mask(options.cores)
    if len(cores) != 1 or cpu not in (None, *cores):
        raise DeviceUnusable(
            f"expected a mask of one core for the resident method, found {options.cores}"
        )
    return cores[0]


def _cpu_delegate(options: AgentOptions) -> Literal["xnnpack", "none"]:
    if options.threads != 1:
        raise DeviceUnusable(
            f"expected 1 thread for the resident method, found {options.threads}:"
            " more are for phones"
        )
    if options.delegate == "gpu":
        raise DeviceUnusable("expected delegate xnnpack or none, found gpu, which is for phones")
    return options.delegate


def _binary(address: str, options: AgentOptions) -> Binary:
    if options.benchmark_binary is None:
        raise BinaryRefused(
            f"{address} needs the official timing tool: name its file with --benchmark-binary"
            " or as benchmark_binary in devices.toml"
        )
    return local_binary(options.benchmark_binary, sha256=options.benchmark_sha256)
