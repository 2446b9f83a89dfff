"""Doctor: from an address to every precondition of measuring there, with its reading and remedy.

host checks  -->  connection  -->  state of the device  -->  runtime (boards, this machine)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device_agents.address import Address, LocalAddress, SshAddress, parse_address
from device_agents.conditions.check import Check
from device_agents.conditions.checks import check_board, check_phone, is_ready
from device_agents.conditions.host import check_host
from device_agents.conditions.install import (
    Runtime,
    install_runtime,
    venv_python,
    verify_runtime,
)
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.linux_checks import Wanted, check_steal
from device_agents.conditions.reading import Unknown, known
from device_agents.conditions.states import BoardState, read_board, read_phone
from device_agents.errors import (
    DeviceError,
    DeviceHeld,
    DeviceMissing,
    DeviceUnusable,
    MissingExtra,
    NeedsHuman,
    TransportError,
)
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport

BOARD_FOLDER = ".cache/hilnas"  # in the user's home on a board
STEAL_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found at an address; see `Check` for what the checks say."""

    device: str
    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether the device can be measured on now."""
        return is_ready(self.checks)


def diagnose(
    address: Address | str,
    *,
    python: str | None = None,
    wanted: Wanted | None = None,
    limits: Limits = LIMITS,
    open_at: Callable[[Address], Transport] = open_transport,
    home: Path | None = None,
    known_hosts: Path | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Diagnosis:
    """Return every precondition of the protocol with its reading; changes nothing on the device.

    Args:
        python: the interpreter that times on a board; by default the one that
            `install_runtime` makes, and on this machine the one that runs this.
        wanted: which device, cores and mode are meant to be measured.
        open_at: what opens a transport.
        home: the user's folder on this computer; known_hosts: by default the one in there.

    Raises:
        AddressError: the text is no address.
    """
    address = parse_address(address) if isinstance(address, str) else address
    checks = list(check_host(address, home=home, known_hosts=known_hosts))
    try:
        transport = open_at(address)
    except DeviceError as error:
        return Diagnosis(str(address), (*checks, _failed_connection(error)))
    try:
        checks.append(_check_connection(transport))
        if isinstance(address, LocalAddress | SshAddress):
            checks += _diagnose_board(transport, address, python, wanted, limits, sleep)
        else:
            checks += check_phone(read_phone(transport), limits, wanted)
    except TransportError as error:
        checks.append(_failed_connection(error))
    finally:
        transport.close()
    return Diagnosis(str(address), tuple(checks))


def _diagnose_board(
    transport: Transport,
    address: LocalAddress | SshAddress,
    python: str | None,
    wanted: Wanted | None,
    limits: Limits,
    sleep: Callable[[float], None],
) -> list[Check]:
    wanted = wanted or Wanted(ours=f"/{BOARD_FOLDER}/")
    if isinstance(address, LocalAddress) and address.cpu is not None:
        wanted = replace(wanted, cores=f"{1 << address.cpu:x}")
    before = read_board(transport)
    sleep(STEAL_INTERVAL_S)
    state = read_board(transport)
    return [
        *check_board(state, limits, wanted),
        check_steal(before.linux.ticks, state.linux.ticks, limits),
        _check_runtime(transport, address, python, state),
    ]


def _check_connection(transport: Transport) -> Check:
    started_s = time.perf_counter()
    transport.run(["true"])
    trip_ms = 1000 * (time.perf_counter() - started_s)
    return Check("connection", f"a command takes {trip_ms:.0f} ms", "ok")


def _failed_connection(error: DeviceError) -> Check:
    remedies: dict[type[DeviceError], str] = {
        DeviceMissing: "plug it in and switch it on; `hilnas devices` lists what is there",
        NeedsHuman: "do what the reading says, on the device or on this computer",
        DeviceHeld: "use the address that the reading names",
        MissingExtra: "install the extra that the reading names",
        TransportError: "check cable, network and power, then try again",
    }
    remedy = next(
        (text for kind, text in remedies.items() if isinstance(error, kind)),
        "use another address of the same device",
    )
    return Check("connection", str(error), "not_ok", remedy)


def _check_runtime(
    transport: Transport,
    address: LocalAddress | SshAddress,
    python: str | None,
    state: BoardState,
) -> Check:
    """Judge the interpreter that an agent would use: the given, the installed, or the system's."""
    if isinstance(address, LocalAddress):
        remedy, candidates = "pip install hilnas", [python or sys.executable]
    else:
        remedy = f"hilnas doctor {address} --install"
        installed = [venv_python(_board_home(state))] if known(state.home) else []
        candidates = [python] if python else [*installed, "python3"]
    wrong = []
    for candidate in candidates:
        try:
            return Check("runtime", str(verify_runtime(transport, candidate)), "ok")
        except DeviceUnusable as error:
            wrong.append(str(error))
    return Check("runtime", wrong[0], "not_ok", remedy)


def _board_home(state: BoardState) -> str:
    if isinstance(state.home, Unknown):
        raise DeviceUnusable(f"expected the user's home folder on the board; {state.home}")
    return f"{state.home}/{BOARD_FOLDER}"


def install_on(
    address: Address | str,
    *,
    wheels: Path | None = None,
    report: Callable[[str], Any] = lambda text: None,
    open_at: Callable[[Address], Transport] = open_transport,
) -> Runtime:
    """Set up the timing environment of a board; see `install_runtime`.

    Raises:
        DeviceUnusable: it is no board, or nothing fits it.
        DeviceError: it cannot be reached, or a wheel did not arrive.
    """
    address = parse_address(address) if isinstance(address, str) else address
    if not isinstance(address, SshAddress):
        raise DeviceUnusable(
            f"expected a board such as ssh:USER@HOST to install on, found {address}:"
            " phones need no Python, and this machine times with the one that runs hilnas"
        )
    transport = open_at(address)
    try:
        home = _board_home(read_board(transport))
        return install_runtime(transport, home=home, wheels=wheels, report=report)
    finally:
        transport.close()
