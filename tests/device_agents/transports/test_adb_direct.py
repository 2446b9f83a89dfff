from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import usb1
from cryptography.hazmat.primitives.asymmetric import rsa

from device_agents.address import AdbTcpAddress, AdbUsbAddress
from device_agents.emulator.auth import parse_public_key
from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.profiles import OLD_32_BIT, PIXEL_4
from device_agents.errors import DeviceHeld, DeviceMissing, NeedsHuman, Unauthorized
from device_agents.transports.adb_direct import AdbDirectTransport
from device_agents.transports.adb_keys import load_key, public_line
from device_agents.transports.adb_links import UsbLink
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport
from device_agents.transports.usb_phones import UsbPhone
from tests.contracts.transport_contract import sh
from tests.device_agents.transports.phone_contract import PhoneContract, Reach
from tests.device_agents.transports.sshd import free_port


@pytest.fixture(scope="module", params=[PIXEL_4, OLD_32_BIT], ids=lambda profile: str(profile.name))
def phone(request: pytest.FixtureRequest) -> Iterator[EmulatedPhone]:
    with EmulatedPhone(request.param) as phone:
        yield phone


@pytest.fixture(scope="module")
def adb_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("key") / "adbkey"


class TestAdbDirectTransport(PhoneContract):
    @pytest.fixture
    def reach(self, adb_key: Path) -> Reach:
        def opened(
            phone: EmulatedPhone, *, expected_serial: str | None = None, timeout_s: float = 15
        ) -> Transport:
            return open_transport(
                AdbTcpAddress("127.0.0.1", phone.port),
                adb_key=adb_key,
                expected_serial=expected_serial,
                timeout_s=timeout_s,
            )

        return opened

    def test_the_nonce_is_no_secret(self, transport: Transport) -> None:
        done = transport.run(sh('tr "\\0" " " </proc/$PPID/cmdline; exit 3'))
        assert done.exit_code == 3
        assert b"base64" in done.stdout


def test_silence_is_no_error(adb_key: Path) -> None:
    with EmulatedPhone() as phone:
        address = AdbTcpAddress("127.0.0.1", phone.port)
        transport = open_transport(address, adb_key=adb_key)
        done = transport.run(sh("sleep 10.5; echo ran"))  # adb-shell gives up after 10 s
        transport.close()
    assert done.stdout == b"ran\n"


class BridgedLink:
    """What libusb would give of a phone, over TCP: the cable that is not there."""

    def __init__(self, port: int, refusal: Exception | None = None) -> None:
        self._port, self._refusal = port, refusal

    def connect(self, timeout_s: float) -> None:
        if self._refusal is not None:
            raise self._refusal
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout_s)

    def bulk_read(self, size: int, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        return self._socket.recv(size)

    def bulk_write(self, data: bytes, timeout_s: float) -> int:
        self._socket.settimeout(timeout_s)
        self._socket.sendall(data)
        return len(data)

    def close(self) -> None:
        self._socket.close()


USB = AdbUsbAddress("SERIAL1")


def usb_transport(*phones: UsbPhone, adb_key: Path) -> AdbDirectTransport:
    return AdbDirectTransport(USB, key_file=adb_key, link=UsbLink(USB, lambda: phones))


def test_a_phone_on_usb_is_found_by_its_serial(adb_key: Path) -> None:
    with EmulatedPhone() as phone:
        others = UsbPhone("OTHER", "Pixel 2", BridgedLink(1))
        mine = UsbPhone("SERIAL1", "Pixel 4", BridgedLink(phone.port))
        transport = usb_transport(others, mine, adb_key=adb_key)
        assert transport.address == "adb-usb:SERIAL1"
        assert transport.run(["echo", "usb"]).stdout == b"usb\n"
        transport.close()


def test_a_phone_that_an_adb_server_holds(adb_key: Path) -> None:
    held = UsbPhone("SERIAL1", "Pixel 4", BridgedLink(1, usb1.USBErrorBusy()))
    with pytest.raises(DeviceHeld, match="use adb:SERIAL1"):
        usb_transport(held, adb_key=adb_key)


def test_a_phone_that_this_user_may_not_open(adb_key: Path) -> None:
    for phone in (
        UsbPhone("SERIAL1", "Pixel 4", BridgedLink(1, usb1.USBErrorAccess())),
        UsbPhone(None, None, BridgedLink(1)),
    ):
        with pytest.raises(NeedsHuman, match="udev"):
            usb_transport(phone, adb_key=adb_key)


def test_a_phone_that_is_not_on_usb(adb_key: Path) -> None:
    with pytest.raises(DeviceMissing, match="found: OTHER"):
        usb_transport(UsbPhone("OTHER", "Pixel 2", BridgedLink(1)), adb_key=adb_key)


def test_a_port_where_nothing_listens(adb_key: Path) -> None:
    with pytest.raises(DeviceMissing, match="adb tcpip"):
        open_transport(AdbTcpAddress("127.0.0.1", free_port()), adb_key=adb_key)


def test_a_phone_that_speaks_tls(adb_key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        # A_STLS, as Android 11's wireless debugging answers a connection
        message = b"STLS\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\xac\xab\xb3\xb6"

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(message)
                while peer.recv(4096):
                    pass

        phone = threading.Thread(target=answer)
        phone.start()
        with pytest.raises(Unauthorized, match="adb pair"):
            open_transport(AdbTcpAddress("127.0.0.1", port), adb_key=adb_key)
        phone.join()


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "adbkey"
    first = load_key(path).GetPublicKey()
    kept = path.read_bytes()
    assert load_key(path).GetPublicKey() == first
    assert path.read_bytes() == kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / "new" / "adbkey.pub").read_bytes().strip() == first
    assert {p.name for p in path.parent.iterdir()} == {"adbkey", "adbkey.pub"}


def test_a_key_that_signs_is_known_by_its_public_line(tmp_path: Path) -> None:
    key = load_key(tmp_path / "adbkey")
    public = parse_public_key(key.GetPublicKey())
    assert public.signed(b"t" * 20, key.Sign(b"t" * 20))
    assert not public.signed(b"u" * 20, key.Sign(b"t" * 20))


def test_what_is_no_key_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "adbkey"
    path.write_text("precious")
    with pytest.raises(Unauthorized, match="adbkey"):
        load_key(path)
    assert path.read_text() == "precious"


def test_public_lines_are_of_one_size() -> None:
    key = rsa.generate_private_key(65_537, 2048)
    encoded, _, owner = public_line(key.public_key()).partition(b" ")
    assert len(encoded) == 700
    assert b"@" in owner
