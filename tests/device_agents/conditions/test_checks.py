from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from device_agents.conditions import android
from device_agents.conditions.boards import Throttling
from device_agents.conditions.check import Check
from device_agents.conditions.checks import ESSENTIAL, check_board, check_phone, is_ready
from device_agents.conditions.linux import Process, Room, Ticks
from device_agents.conditions.linux_checks import Wanted, check_steal
from device_agents.conditions.probe import Outputs
from device_agents.conditions.states import BoardState, parse_board, parse_phone
from tests.device_agents.conditions import dumps
from tests.device_agents.conditions.states import JETSON, LINUX, NOT_THERE, PHONE, PI, policy

HOT = android.parse_thermal(dumps.THERMAL_14)
LOW = android.parse_battery(dumps.BATTERY_13)
WARM = android.parse_battery(dumps.BATTERY_9.replace("temperature: 253", "temperature: 360"))
NO_SKIN = android.Thermal(0, False, ())


def only(checks: tuple[Check, ...], state: str) -> dict[str, Check]:
    return {check.name: check for check in checks if check.state == state}


def named(checks: tuple[Check, ...], name: str) -> Check:
    (check,) = (check for check in checks if check.name == name)
    return check


@pytest.mark.parametrize("checks", [check_phone(PHONE), check_board(PI), check_board(JETSON)])
def test_a_device_that_is_fit_is_ready(checks: tuple[Check, ...]) -> None:
    assert [check for check in checks if check.state != "ok"] == []
    assert is_ready(checks)
    assert len({check.name for check in checks}) == len(checks)


def test_where_nothing_can_be_read_nothing_is_fine() -> None:
    phone, board = parse_phone(Outputs({})), parse_board(Outputs({}))
    for checks in (check_phone(phone), check_board(board)):
        assert {check.state for check in checks} == {"unknown"}
        assert all(check.remedy and "\n" not in check.remedy for check in checks)
        assert not is_ready(checks)


def test_a_phone_may_deny_what_can_be_done_without() -> None:
    dark = replace(PHONE, wakefulness=NOT_THERE,
                   linux=replace(LINUX, load=NOT_THERE, policies=NOT_THERE))  # fmt: skip
    unknown = only(check_phone(dark), "unknown")
    assert set(unknown) == {"screen", "load", "frequency caps", "governor", "cores"}
    assert is_ready(check_phone(dark))
    assert not ESSENTIAL & set(unknown)
    assert is_ready(check_phone(replace(PHONE, thermal=NOT_THERE)))  # the caps tell, too
    assert not is_ready(check_phone(replace(dark, thermal=NOT_THERE)))


@pytest.mark.parametrize(
    ("change", "name", "reading", "remedy"),
    [
        ({"thermal": HOT}, "thermal", "1 (light)", "up to 600 s"),
        ({"thermal": android.Thermal(0, True, ())}, "thermal", "overridden", "service reset"),
        ({"battery": LOW}, "battery", "24 %, -1.5 °C, powered by AC and Wireless", "reset"),
        ({"thermal": NO_SKIN, "battery": WARM}, "temperature", "battery 36.0 °C", "cool down"),
        ({"low_power": True}, "power saver", "on", "low_power 0"),
    ],
)
def test_what_is_not_fit_in_a_phone_has_its_remedy(
    change: dict[str, Any], name: str, reading: str, remedy: str
) -> None:
    checks = check_phone(replace(PHONE, **change))
    check = only(checks, "not_ok")[name]
    assert reading in check.reading
    assert remedy in check.remedy
    assert not is_ready(checks)


@pytest.mark.parametrize(
    ("change", "name", "reading"),
    [
        ({"policies": (policy((0, 1), 2_000_000, 0.94),)}, "frequency caps", "94% of 2.00 GHz"),
        ({"load": 1.5}, "load", "1.50"),
        ({"tools": (Process(8, "/x", "benchmark_model"),)}, "timing tools", "pid 8"),
        ({"room": Room(199, "/data")}, "free space", "0 MB on /data"),
        ({"mount_flags": frozenset({"noexec"})}, "executable", "noexec"),
        ({"online": (9,)}, "cores", "allowed 0-7 and online 9"),
        (
            {"policies": (replace(policy((0,), 1), governor="powersave"),)},
            "governor",
            "cpu 0 powersave",
        ),
    ],
)
def test_what_is_not_fit_in_any_device(change: dict[str, Any], name: str, reading: str) -> None:
    linux, wanted = replace(LINUX, **change), Wanted(payload_bytes=100)
    for checks in (
        check_phone(replace(PHONE, linux=linux), wanted=wanted),
        check_board(replace(PI, linux=linux), wanted=wanted),
    ):
        assert reading in only(checks, "not_ok")[name].reading


def test_another_phone_than_the_wanted_is_not_ok() -> None:
    wanted = Wanted(serial="OTHER", fingerprint="google/flame/flame:14/x")
    wrong = only(check_phone(PHONE, wanted=wanted), "not_ok")
    assert set(wrong) == {"serial", "system"}
    assert wrong["serial"].reading == "expected OTHER, found 9B161FFAZ000BK"


def test_caps_are_fine_where_they_are_meant() -> None:
    linux = replace(LINUX, policies=(policy((0, 1), 2_000_000, 0.7),))
    fixed = check_phone(replace(PHONE, linux=linux), wanted=Wanted(fixed_performance=True))
    assert is_ready(fixed)
    assert is_ready(check_board(replace(JETSON, linux=linux)))  # by its power mode
    assert not is_ready(check_board(replace(PI, linux=linux)))


def test_a_denied_cap_is_unknown_and_a_low_one_beside_it_is_not_ok() -> None:
    denied = replace(policy((7,), 2_841_600), cap_khz=NOT_THERE)
    for other, state in ((policy((0,), 1000), "unknown"), (policy((0,), 1000, 0.5), "not_ok")):
        linux = replace(LINUX, policies=(denied, other))
        assert named(check_phone(replace(PHONE, linux=linux)), "frequency caps").state == state


def test_intel_s_own_governor_of_that_name_follows_the_load() -> None:
    own = replace(policy((0, 1), 1), governor="powersave", driver="intel_pstate")
    board = replace(PI, linux=replace(LINUX, policies=(own,)))
    assert named(check_board(board), "governor").state == "ok"


@pytest.mark.parametrize(
    ("bits", "state", "reading"),
    [
        (0, "ok", "now none"),
        (0x50000, "ok", "now none; since boot under-voltage, throttled"),
        (0x50005, "not_ok", "now under-voltage, throttled"),
    ],
)
def test_the_throttling_of_a_pi(bits: int, state: str, reading: str) -> None:
    check = named(check_board(replace(PI, throttling=Throttling(bits))), "throttling")
    assert check.state == state
    assert reading in check.reading


def test_only_a_pi_has_to_tell_of_throttling_and_only_a_jetson_of_its_mode() -> None:
    def names(state: BoardState) -> set[str]:
        return {check.name for check in check_board(state)}

    assert "throttling" in names(replace(PI, throttling=NOT_THERE))
    assert "throttling" not in names(JETSON)
    assert "power mode" in names(replace(JETSON, mode=NOT_THERE))
    assert "power mode" not in names(PI)


def test_steal() -> None:
    assert check_steal(Ticks(0, 0), Ticks(100, 1)).state == "ok"
    assert check_steal(Ticks(0, 0), Ticks(100, 3)).reading == "3.0%"
    assert check_steal(Ticks(0, 0), Ticks(0, 0)).state == "unknown"
    assert check_steal(NOT_THERE, Ticks(0, 0)).state == "unknown"
