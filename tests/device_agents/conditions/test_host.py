from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from device_agents.address import AdbAddress, AdbUsbAddress, LocalAddress, SshAddress
from device_agents.conditions import host
from device_agents.conditions.check import Check
from device_agents.conditions.host import check_host
from device_agents.emulator.phone import EmulatedPhone
from tests.device_agents.transports.adb_server import running_adb_server
from tests.device_agents.transports.sshd import free_port

BOARD = SshAddress("pi", "10.0.0.7", 2222)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKfZ0kq1E8L0r3n2K1yq4w9H5z7uV6xT8b3cN2mP1oQs"


def known_host(folder: Path, line: str, address: SshAddress = BOARD) -> Check:
    (folder / "known_hosts").write_text(f"# a comment\n\nother {KEY}\n{line}\n")
    *_, check = check_host(address, known_hosts=folder / "known_hosts")
    assert check.name == "known host"
    return check


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("[10.0.0.7]:2222", "ok"),
        ("[board]:2222,[10.0.0.7]:2222", "ok"),
        ("[10.0.0.*]:2222", "ok"),
        ("10.0.0.7", "not_ok"),
        ("[10.0.0.7]:22", "not_ok"),
        ("[10.0.0.*]:2222,![10.0.0.7]:2222", "not_ok"),
        ("@cert-authority [10.0.0.7]:2222", "ok"),
        ("@revoked [10.0.0.7]:2222", "not_ok"),
    ],
)
def test_a_board_is_looked_for_in_known_hosts(tmp_path: Path, name: str, state: str) -> None:
    check = known_host(tmp_path, f"{name} {KEY}")
    assert check.state == state
    assert state == "ok" or "ssh -p 2222 pi@10.0.0.7" in check.remedy


def test_hashed_names_are_found(tmp_path: Path) -> None:
    tool = shutil.which("ssh-keygen")
    if tool is None:
        pytest.skip("needs ssh-keygen: apt-get install openssh-client")
    file = tmp_path / "known_hosts"
    subprocess.run([tool, "-q", "-N", "", "-t", "ed25519", "-f", tmp_path / "key"], check=True)
    kind, key, *_ = (tmp_path / "key.pub").read_text().split()
    file.write_text(f"[10.0.0.7]:2222 {kind} {key}\n")
    subprocess.run([tool, "-H", "-f", file], check=True, capture_output=True)
    hashed = file.read_text()
    assert hashed.startswith("|1|")
    assert known_host(tmp_path, hashed).state == "ok"
    assert known_host(tmp_path, hashed, SshAddress("pi", "10.0.0.8", 2222)).state == "not_ok"


def test_no_known_hosts_at_all(tmp_path: Path) -> None:
    *_, check = check_host(BOARD, home=tmp_path)
    assert (check.name, check.state) == ("known host", "not_ok")


def test_this_machine_needs_nothing() -> None:
    assert check_host(LocalAddress()) == ()


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    device = tmp_path / "sys/1-4"
    device.mkdir(parents=True)
    for name, text in {"serial": "9B161FFAZ000BK", "busnum": "1", "devnum": "12"}.items():
        (device / name).write_text(f"{text}\n")
    return tmp_path


def usb_check(folder: Path, serial: str) -> Check:
    *_, check = check_host(
        AdbUsbAddress(serial), home=folder, usb=folder / "sys", dev=folder / "dev"
    )
    assert check.name == "usb permission"
    return check


def test_a_phone_on_usb_has_to_be_ours_to_open(usb: Path) -> None:
    check = usb_check(usb, "9B161FFAZ000BK")
    assert check.state == "not_ok"
    assert "udev" in check.remedy
    (usb / "dev/001").mkdir(parents=True)
    (usb / "dev/001/012").write_text("")
    assert usb_check(usb, "9B161FFAZ000BK").state == "ok"
    assert "no USB device has serial OTHER" in usb_check(usb, "OTHER").reading


def test_a_key_that_is_not_there_yet_is_no_fault_and_one_that_is_denied_is(
    usb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> Check:
        return check_host(AdbUsbAddress("x"), home=usb, usb=usb, dev=usb)[1]

    assert (key().name, key().state) == ("adb key", "ok")
    (usb / ".android").mkdir()
    (usb / ".android/adbkey").write_text("key")
    assert key().reading == str(usb / ".android/adbkey")


def test_no_adb_server_is_said_and_none_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    for _ in range(2):
        library, server = check_host(AdbAddress("X"), usb=tmp_path)
        assert library.state == "ok"
        assert (server.name, server.state) == ("adb server", "not_ok")
        assert "start-server" in server.remedy


def test_the_phones_of_a_real_adb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_adb_server(tmp_path) as server, EmulatedPhone() as phone:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
        assert "connected" in server.adb("connect", phone.address)

        def device(serial: str) -> Check:
            _, running, check = check_host(AdbAddress(serial), usb=tmp_path)
            assert running.state == "ok"
            return check

        assert device(phone.address).reading == "device"
        assert device("127.0.0.1:1").reading == "not connected yet"
        absent = device("9B161FFAZ000BK")
        assert absent.state == "not_ok"
        assert phone.address in absent.reading


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(host._LIBRARIES, "ssh", ("no_such_library",))
    check = check_host(BOARD)[0]
    assert (check.state, check.remedy) == ("not_ok", "pip install 'hilnas[ssh]'")
