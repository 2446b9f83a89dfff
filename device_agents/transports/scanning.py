"""Scanning: which phones can be reached from here now, through an adb server or straight by USB."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_agents.address import AdbAddress, AdbUsbAddress
from device_agents.errors import DeviceError
from device_agents.transports.deadline import Deadline
from device_agents.transports.usb_phones import UsbPhone, usb_phones

if TYPE_CHECKING:
    from device_agents.transports.adb_server import AdbServer, ListedPhone

SCAN_TIMEOUT_S = 2.0
READY, NO_PERMISSION = "ready", "no permission"


@dataclass(frozen=True, slots=True)
class FoundPhone:
    """A phone, the address that leads to it, and ``ready`` or what is in the way.

    ``model`` is empty where nobody says it.
    """

    address: str
    model: str
    state: str


def scan_phones(
    *,
    timeout_s: float = SCAN_TIMEOUT_S,
    server: AdbServer | None = None,
    on_usb: Callable[[], Iterable[UsbPhone]] = usb_phones,
) -> tuple[FoundPhone, ...]:
    """Return the phones that a running adb server lists and those on USB that it does not.

    Nothing is started or claimed. What did not answer in time, or is not installed, has no
    phones.

    Args:
        server: by default that of the environment.
    """
    deadline = Deadline(timeout_s)
    listed: list[ListedPhone] = []
    plugged: list[UsbPhone] = []
    scans = (
        _in_thread(lambda: listed.extend(_listed(server, deadline))),
        _in_thread(lambda: plugged.extend(on_usb())),
    )
    for scan in scans:
        scan.join(deadline.left_s)
    known = {phone.serial for phone in listed}
    through = [
        FoundPhone(
            str(AdbAddress(phone.serial)),
            phone.model.replace("_", " "),
            READY if phone.state == "device" else phone.state,
        )
        for phone in listed
    ]
    direct = [
        FoundPhone(
            str(AdbUsbAddress(phone.serial or "?")),
            phone.model or "",
            NO_PERMISSION if phone.serial is None else READY,
        )
        for phone in plugged
        if phone.serial not in known
    ]
    return (*through, *direct)


def _listed(server: AdbServer | None, deadline: Deadline) -> tuple[ListedPhone, ...]:
    from device_agents.transports.adb_server import AdbServer

    return (server or AdbServer.of_environment()).phones(deadline)


def _in_thread(scan: Callable[[], None]) -> threading.Thread:
    def quietly() -> None:
        with suppress(DeviceError, ImportError, OSError):
            scan()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    return thread
