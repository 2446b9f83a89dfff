from __future__ import annotations

import os
from pathlib import Path

import pytest

from device_agents.address import Address, SshAddress
from device_agents.conditions.check import Check
from device_agents.conditions.doctor import Diagnosis, diagnose
from device_agents.conditions.linux_checks import Wanted
from device_agents.errors import AddressError, DeviceHeld, DeviceMissing, Unauthorized
from device_agents.transports.local import LocalTransport
from device_agents.transports.transport import Transport
from tests.device_agents.conditions import dumps
from tests.device_agents.conditions.programs import FakePhone


def named(diagnosis: Diagnosis, name: str) -> Check:
    (check,) = (check for check in diagnosis.checks if check.name == name)
    return check


def stand_in(address: Address) -> Transport:
    return LocalTransport(str(address))


def test_this_machine() -> None:
    core = min(os.sched_getaffinity(0))
    diagnosis = diagnose(f"local:cpu={core}", sleep=lambda seconds: None)
    assert diagnosis.device == f"local:cpu={core}"
    assert named(diagnosis, "connection").state == "ok"
    assert named(diagnosis, "runtime").reading.startswith("ai-edge-litert ")
    assert f"cpu {core} (mask {1 << core:x})" in named(diagnosis, "cores").reading
    assert {"governor", "load", "steal", "system"} <= {check.name for check in diagnosis.checks}
    assert all(check.state == "ok" or check.remedy for check in diagnosis.checks)


def test_a_board_without_a_runtime_is_told_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    diagnosis = diagnose(
        SshAddress("pi", "board"), python=str(tmp_path / "none/python"), open_at=stand_in,
        home=tmp_path, sleep=lambda seconds: None,
    )  # fmt: skip
    runtime = named(diagnosis, "runtime")
    assert runtime.state == "not_ok"
    assert runtime.remedy == "hilnas doctor --install ssh:pi@board"
    assert named(diagnosis, "known host").state == "not_ok"
    assert not diagnosis.ready


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePhone:
    phone = FakePhone(tmp_path, os.environ["PATH"])
    monkeypatch.setenv("PATH", phone.path)
    phone.write({
        "property.ro.serialno": "9B161FFAZ000BK", "property.ro.product.model": "Pixel 4",
        "property.ro.build.fingerprint": "google/flame/flame:13/TP1A/1:user/release-keys",
        "property.ro.product.cpu.abi": "arm64-v8a", "property.ro.build.version.release": "13",
        "dump.battery": dumps.BATTERY_9, "dump.thermalservice": dumps.THERMAL_14,
    })  # fmt: skip
    return phone


def test_a_phone(phone: FakePhone) -> None:
    before = phone.read()
    wanted = Wanted(serial="9B161FFAZ000BK")
    diagnosis = diagnose("adb-tcp:127.0.0.1:5555", wanted=wanted, open_at=stand_in)
    assert diagnosis.device == "adb-tcp:127.0.0.1:5555"
    assert named(diagnosis, "serial").reading == "9B161FFAZ000BK"
    assert named(diagnosis, "thermal").state == "not_ok"
    assert named(diagnosis, "screen").reading == "Asleep"
    assert not diagnosis.ready
    assert phone.read() == before


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (DeviceMissing("nothing answers at board"), "plug it in"),
        (Unauthorized("accept the key"), "do what the reading says"),
        (DeviceHeld("an adb server holds it: use adb:X"), "use the address"),
    ],
)
def test_a_device_that_cannot_be_reached(error: Exception, remedy: str) -> None:
    def refuse(address: Address) -> Transport:
        raise error

    diagnosis = diagnose("local", open_at=refuse)
    assert diagnosis.checks[-1].reading == str(error)
    assert remedy in diagnosis.checks[-1].remedy
    assert not diagnosis.ready


def test_a_device_that_goes_away_in_the_middle() -> None:
    def gone(address: Address) -> Transport:
        transport = LocalTransport(str(address))
        transport.close()
        return transport

    diagnosis = diagnose("local", open_at=gone)
    assert [(check.name, check.state) for check in diagnosis.checks] == [("connection", "not_ok")]


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(AddressError):
        diagnose("usb:1")
