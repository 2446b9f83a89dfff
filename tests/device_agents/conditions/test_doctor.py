from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from device_agents.address import Address, SshAddress, parse_address
from device_agents.conditions.check import Check
from device_agents.conditions.doctor import Diagnosis, diagnose, install_on
from device_agents.conditions.lease import acquire_lease
from device_agents.conditions.linux_checks import Wanted
from device_agents.conditions.settings import PHONE_HOME, apply_settings, undo_settings
from device_agents.conditions.states import read_phone
from device_agents.conditions.violations import violations
from device_agents.emulator.phone import EmulatedPhone
from device_agents.errors import (
    AddressError,
    DeviceHeld,
    DeviceMissing,
    DeviceUnusable,
    Unauthorized,
)
from device_agents.transports.local import LocalTransport
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport
from tests.device_agents.conditions import dumps
from tests.device_agents.conditions.programs import FakePhone
from tests.device_agents.transports.sshd import running_sshd


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
    assert runtime.remedy == "hilnas doctor ssh:pi@board --install"
    assert named(diagnosis, "known host").state == "not_ok"
    assert not diagnosis.ready


def test_a_board_behind_a_real_sshd(tmp_path: Path) -> None:
    with running_sshd(tmp_path) as sshd:
        diagnosis = diagnose(
            sshd.address, python=sys.executable, known_hosts=sshd.known_hosts,
            sleep=lambda seconds: None,
            open_at=lambda address: open_transport(
                address, known_hosts=sshd.known_hosts, ssh_key=sshd.key_file
            ),
        )  # fmt: skip
    assert named(diagnosis, "known host").state == "ok"
    assert named(diagnosis, "runtime").state == "ok"
    assert named(diagnosis, "free space").state == "ok"


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


@pytest.mark.parametrize("address", ["local", "adb:X"])
def test_only_boards_are_installed_on(address: str) -> None:
    with pytest.raises(DeviceUnusable, match="expected a board such as ssh:USER@HOST"):
        install_on(address)


@pytest.mark.parametrize("profile", ["pixel-4", "old-32-bit"])
def test_an_emulated_phone(tmp_path: Path, profile: str) -> None:
    def connect(address: Address) -> Transport:
        return open_transport(address, adb_key=tmp_path / "adbkey")

    with EmulatedPhone(profile) as phone:
        address = f"adb-tcp:{phone.address}"
        healthy = diagnose(address, open_at=connect, home=tmp_path)
        assert healthy.ready, healthy
        last = phone.profile.cpus[-1]
        assert f"cpu {last} (mask {1 << last:x})" in named(healthy, "cores").reading
        assert named(healthy, "serial").reading == phone.serial
        phone.state.battery_level = 20
        phone.state.load = 3.5
        phone.state.caps_khz[0] = 800_000
        phone.state.foreign_processes = ("benchmark_model",)
        phone.state.power_saver = True
        ill = diagnose(address, open_at=connect, home=tmp_path)
        assert {check.name for check in ill.checks if check.state == "not_ok"} == {
            "battery", "load", "frequency caps", "timing tools", "power saver",
        }  # fmt: skip


def test_an_emulated_phone_is_leased_set_and_put_back(tmp_path: Path) -> None:
    with EmulatedPhone() as phone:
        address = parse_address(f"adb-tcp:{phone.address}")
        transport = open_transport(address, adb_key=tmp_path / "adbkey")
        before = dict(phone.state.settings)
        with acquire_lease(transport, phone.serial, state_folder=tmp_path, home=PHONE_HOME) as it:
            apply_settings(transport, fixed_performance=True)
            assert phone.state.fixed_performance
            assert phone.state.settings != before
            look = read_phone(transport)
            phone.reboot()
            transport.reconnect()
            assert any("rebooted" in line for line in violations(look, read_phone(transport)))
            undo_settings(transport)
            assert phone.state.settings == before
            it.renew()  # a reboot ends a lease, and nobody else came
        transport.close()
