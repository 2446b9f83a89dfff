"""The emulated phone under adb-shell, directly on TCP: the first protocol version, with sums."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.profiles import OLD_32_BIT, PIXEL_4, Profile

adb_device = pytest.importorskip("adb_shell.adb_device", reason="needs adb-shell: pip install it")
keygen = pytest.importorskip("adb_shell.auth.keygen")
signer = pytest.importorskip("adb_shell.auth.sign_pythonrsa")
exceptions = pytest.importorskip("adb_shell.exceptions")

TIMEOUT_S = 10.0


def open_device(phone: EmulatedPhone, *keys: Any, auth_timeout_s: float = 0.5) -> Any:
    """Return a connected device of adb-shell."""
    device = adb_device.AdbDeviceTcp("127.0.0.1", phone.port, TIMEOUT_S)
    device.connect(rsa_keys=list(keys), auth_timeout_s=auth_timeout_s)
    return device


@pytest.fixture(params=[PIXEL_4, OLD_32_BIT], ids=["pixel-4", "old-32-bit"])
def profile(request: pytest.FixtureRequest) -> Profile:
    profile: Profile = request.param
    return profile


@pytest.fixture
def device(profile: Profile) -> Iterator[Any]:
    with EmulatedPhone(profile) as phone:
        opened = open_device(phone)
        yield opened
        opened.close()


def test_a_shell(device: Any, profile: Profile) -> None:
    end = "\r\n" if profile.crlf_shell else "\n"
    assert device.shell("echo out; echo err >&2") == f"out{end}err{end}"
    assert device.shell("getprop ro.product.model").strip() == profile.model


def test_a_file_there_and_back(device: Any) -> None:
    # Stock adb-shell hangs on much more: it ignores that a socket took only a part
    data = bytes(range(256)) * 100
    device.push(io.BytesIO(data), "/data/local/tmp/file", st_mode=0o100640, mtime=1_000_000)
    assert device.stat("/data/local/tmp/file") == (0o100640, len(data), 1_000_000)
    back = io.BytesIO()
    device.pull("/data/local/tmp/file", back)
    assert back.getvalue() == data
    assert [entry.filename for entry in device.list("/data/local/tmp")] == [bytearray(b"file")]
    assert device.stat("/data/local/tmp/none") == (0, 0, 0)


def test_keys(tmp_path: Path) -> None:
    keygen.keygen(str(tmp_path / "key"))
    keygen.keygen(str(tmp_path / "other"))
    key, other = (
        signer.PythonRSASigner.FromRSAKeyPath(str(tmp_path / name)) for name in ("key", "other")
    )
    public = (tmp_path / "key.pub").read_bytes()
    with EmulatedPhone(auth=True, authorized_keys=[public]) as phone:
        device = open_device(phone, other, key)
        assert device.shell("echo in") == "in\n"
        device.close()
        stranger = adb_device.AdbDeviceTcp("127.0.0.1", phone.port, TIMEOUT_S)
        with pytest.raises((exceptions.DeviceAuthError, exceptions.TcpTimeoutException)):
            stranger.connect(rsa_keys=[other], auth_timeout_s=0.5)
        stranger.close()
        assert phone.pending_key is not None
