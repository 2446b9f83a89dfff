from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_agents.address import AdbAddress
from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.profiles import OLD_32_BIT
from device_agents.errors import (
    AddressError,
    CommandTimeout,
    ConnectionLost,
    DeviceMissing,
    DeviceUnusable,
)
from device_agents.transports.adb_server import AdbServer, ListedPhone, parse_phones
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport
from tests.device_agents.transports.adb_server import RunningServer, running_adb_server
from tests.device_agents.transports.phone_contract import PhoneContract, Reach
from tests.device_agents.transports.sshd import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_adb_server(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))


@pytest.fixture(scope="module")
def phone() -> Iterator[EmulatedPhone]:
    with EmulatedPhone() as phone:
        yield phone


class TestAdbServerTransport(PhoneContract):
    @pytest.fixture
    def reach(self, server: RunningServer) -> Reach:
        def opened(
            phone: EmulatedPhone, *, expected_serial: str | None = None, timeout_s: float = 15
        ) -> Transport:
            address = AdbAddress(phone.address)
            return open_transport(address, expected_serial=expected_serial, timeout_s=timeout_s)

        return opened

    def test_another_connection_of_the_server_is_another_phone(
        self, transport: Transport, phone: EmulatedPhone, server: RunningServer
    ) -> None:
        assert "disconnected" in server.adb("disconnect", phone.address)
        assert "connected" in server.adb("connect", phone.address)
        with pytest.raises(ConnectionLost, match="reconnect"):
            transport.run(["true"])
        transport.reconnect()
        assert transport.is_alive()

    def test_what_the_adb_command_sees_is_what_was_pushed(
        self, transport: Transport, phone: EmulatedPhone, server: RunningServer, folder: str
    ) -> None:
        transport.push(b"pushed\n", f"{folder}/file")
        assert server.adb("-s", phone.address, "shell", "cat", f"{folder}/file") == "pushed\n"


def test_no_server_is_said_and_none_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    for _ in range(2):
        with pytest.raises(DeviceMissing, match=f"run `adb -P {port} start-server`"):
            open_transport(AdbAddress("SERIAL"))


@pytest.mark.parametrize(
    "serial", ["NOBODY", "$(reboot)", "a;b", "host:kill", "x'y", "127.0.0.1:1", "-s"]
)
def test_a_phone_that_the_server_does_not_know(serial: str, phone: EmulatedPhone) -> None:
    open_transport(AdbAddress(phone.address)).close()
    with pytest.raises(DeviceMissing) as caught:
        open_transport(AdbAddress(serial), timeout_s=5)
    assert serial in str(caught.value)
    assert f"{phone.address} (device)" in str(caught.value)


def test_a_phone_too_old_for_exit_codes_is_told_another_way() -> None:
    with (
        EmulatedPhone(OLD_32_BIT) as phone,
        pytest.raises(DeviceUnusable, match="adb-tcp:HOST:PORT"),
    ):
        open_transport(AdbAddress(phone.address))


def test_a_server_that_freezes_and_one_that_dies(
    phone: EmulatedPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_adb_server(tmp_path) as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        transport = open_transport(AdbAddress(phone.address))
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(CommandTimeout, match="had not ended"):
            transport.run(["true"], timeout_s=0.5)
        os.kill(server.pid, signal.SIGCONT)
        assert transport.run(["echo", "thawed"]).stdout == b"thawed\n"
        threading.Timer(0.3, os.kill, (server.pid, signal.SIGKILL)).start()
        with pytest.raises(ConnectionLost, match="reconnect"):
            transport.run(["sleep", "20"])
        assert not transport.is_alive()
        with pytest.raises(DeviceMissing, match="start-server"):
            transport.reconnect(timeout_s=0.5)


@pytest.mark.parametrize(
    ("environment", "host", "port"),
    [
        ({}, "127.0.0.1", 5037),
        ({"ANDROID_ADB_SERVER_PORT": "6000"}, "127.0.0.1", 6000),
        ({"ADB_SERVER_SOCKET": "tcp:7000"}, "127.0.0.1", 7000),
        (
            {"ADB_SERVER_SOCKET": "tcp:lab:7000", "ANDROID_ADB_SERVER_PORT": "6000"},
            "lab",
            7000,
        ),
    ],
)
def test_the_server_is_the_one_of_the_environment(
    environment: dict[str, str], host: str, port: int
) -> None:
    server = AdbServer.of_environment(environment)
    assert (server.host, server.port) == (host, port)


@pytest.mark.parametrize("value", ["many", "-1", "5037x", ""])
def test_an_environment_that_names_no_server(value: str) -> None:
    with pytest.raises(AddressError, match="ADB_SERVER_SOCKET"):
        AdbServer.of_environment({"ADB_SERVER_SOCKET": f"local:{value}"})
    if value:
        with pytest.raises(AddressError, match="ANDROID_ADB_SERVER_PORT"):
            AdbServer.of_environment({"ANDROID_ADB_SERVER_PORT": value})


LISTING = """\
0123456789ABCDEF       device usb:1-2 product:flame model:Pixel_4 device:flame transport_id:3
192.168.1.7:5555       offline transport_id:12
emulator-5554          unauthorized transport_id:1
adb-9A1-x (2)._adb-tls-connect._tcp  device
HT7            no permissions (user in plugdev group; are your udev rules wrong?); see \
[http://developer.android.com/tools/device.html] usb:1-1 transport_id:4
"""


def test_a_listing_is_taken_apart() -> None:
    phones = {phone.serial: phone for phone in parse_phones(LISTING)}
    assert phones["0123456789ABCDEF"] == ListedPhone("0123456789ABCDEF", "device", "Pixel_4", 3)
    assert phones["192.168.1.7:5555"] == ListedPhone("192.168.1.7:5555", "offline", "", 12)
    assert phones["emulator-5554"].state == "unauthorized"
    assert phones["HT7"].state.startswith("no permissions (user")
    assert phones["HT7"].transport_id == 4
    assert parse_phones("") == ()
