from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from device_agents.emulator.phone import EmulatedPhone
from device_agents.transports.adb_server import AdbServer
from device_agents.transports.scanning import FoundPhone, scan_phones
from device_agents.transports.usb_phones import UsbPhone
from tests.device_agents.transports.adb_server import running_adb_server
from tests.device_agents.transports.sshd import free_port


def no_phones() -> Iterator[UsbPhone]:
    return iter(())


def test_phones_of_a_server_and_of_usb_each_once(tmp_path: Path) -> None:
    with EmulatedPhone() as phone, running_adb_server(tmp_path) as server:
        server.adb("connect", phone.address)
        plugged = (
            UsbPhone(phone.address, "Pixel 4", None),  # listed already
            UsbPhone("SERIAL1", "Pixel 8", None),
            UsbPhone(None, None, None),
        )
        found = scan_phones(server=AdbServer(port=server.port), on_usb=lambda: plugged)
    assert found == (
        FoundPhone(f"adb:{phone.address}", "Pixel 4", "ready"),
        FoundPhone("adb-usb:SERIAL1", "Pixel 8", "ready"),
        FoundPhone("adb-usb:?", "", "no permission"),
    )


def test_without_a_server_there_are_none_and_none_is_started() -> None:
    server = AdbServer(port=free_port())
    assert scan_phones(server=server, on_usb=no_phones) == ()
    assert scan_phones(server=server, on_usb=no_phones) == ()


def test_what_hangs_is_not_waited_for() -> None:
    def stuck() -> Iterator[UsbPhone]:
        release.wait()
        return iter(())

    release = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port: int = silent.getsockname()[1]
        found = scan_phones(server=AdbServer(port=port), on_usb=stuck, timeout_s=0.2)
    assert found == ()
    assert not release.is_set()
    release.set()


def test_this_machine_can_be_scanned() -> None:
    assert isinstance(scan_phones(server=AdbServer(port=free_port())), tuple)
