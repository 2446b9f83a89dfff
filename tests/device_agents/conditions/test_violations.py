from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from device_agents.conditions import android
from device_agents.conditions.boards import PowerMode, Throttling
from device_agents.conditions.linux import Process
from device_agents.conditions.states import BoardState, PhoneState
from device_agents.conditions.violations import violations
from tests.device_agents.conditions import dumps
from tests.device_agents.conditions.states import JETSON, LINUX, NOT_THERE, PHONE, PI, policy

HOT = android.parse_thermal(dumps.THERMAL_14)
OVERRIDDEN = android.parse_thermal(dumps.THERMAL_OVERRIDDEN)
LOW = android.parse_battery(dumps.BATTERY_13)
CAPPED = (*LINUX.policies[:2], policy((7,), 2_841_600, 0.9))  # type: ignore[index]
FOREIGN = (Process(812, "/data/local/tmp/other", "./benchmark_model --graph=x"),)
OURS = "/data/local/tmp/hilnas"


@pytest.mark.parametrize("state", [PHONE, PI, JETSON])
def test_nothing_is_wrong_where_nothing_happened(state: PhoneState | BoardState) -> None:
    later = replace(state, linux=replace(state.linux, uptime_s=3700.0, load=1.0))
    assert violations(state, later) == ()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"thermal": HOT}, "thermal status: expected 0, found 1"),
        ({"thermal": OVERRIDDEN}, "overridden"),
        ({"thermal": NOT_THERE}, "thermal status: known before, now unknown: not there"),
        ({"battery": LOW}, "battery: expected 25 %, found 24 %"),
        ({"battery": NOT_THERE}, "battery: known before"),
        ({"low_power": True}, "power saver"),
        ({"wakefulness": "Dozing"}, "screen: expected Awake, found Dozing"),
        ({"serial": "OTHER"}, "serial: expected 9B161FFAZ000BK, found OTHER"),
        ({"fingerprint": "google/flame/flame:14/x"}, "system build: expected google/flame"),
    ],
)
def test_what_may_happen_to_a_phone(change: dict[str, Any], found: str) -> None:
    (violation,) = violations(PHONE, replace(PHONE, **change))
    assert found in violation


@pytest.mark.parametrize("state", [PHONE, PI])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"boot_id": "2faa8981-b5a0-4088-bc12-d5e04f99ecea"}, "rebooted"),
        ({"boot_id": NOT_THERE, "uptime_s": 20.0}, "rebooted: uptime 3600 s, then 20 s"),
        ({"policies": CAPPED}, "frequency cap of cpu 7 in kHz: expected 2841600, found 2557440"),
        ({"policies": NOT_THERE}, "frequency caps: known before"),
        ({"policies": LINUX.policies[:2]}, "cluster 7: gone"),  # type: ignore[index]
        ({"online": (0, 1)}, "cores online"),
        ({"tools": FOREIGN}, "another harness's process: pid 812"),
    ],
)
def test_what_may_happen_to_any_device(
    state: PhoneState | BoardState, change: dict[str, Any], found: str
) -> None:
    after = replace(state, linux=replace(LINUX, **change))
    (violation,) = violations(state, after, ours=OURS)
    assert found in violation


def test_a_low_cap_is_wrong_unless_it_is_meant() -> None:
    capped = replace(PHONE, linux=replace(LINUX, policies=CAPPED))
    (violation,) = violations(capped, capped)
    assert violation == "frequency cap of cpu 7: expected 95% of its clock, found 90%"
    assert violations(capped, capped, fixed_performance=True) == ()
    assert violations(PHONE, capped, fixed_performance=True) != ()  # it changed meanwhile


@pytest.mark.parametrize(
    "tool",
    [
        Process(9, f"{OURS}/jobs/1", "./benchmark_model"),
        Process(9, "/", f"{OURS}/bin/benchmark_model"),
    ],
)
def test_our_own_tools_are_not_foreign(tool: Process) -> None:
    after = replace(PHONE, linux=replace(LINUX, tools=(tool,)))
    assert violations(PHONE, after, ours=OURS) == ()
    assert violations(PHONE, after) != ()


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (0x0, 0x50000, ["under-voltage since", "throttled since"]),
        (0x50000, 0x50000, []),
        (0x50000, 0x50005, ["under-voltage since", "throttled since"]),
        (0x50005, 0x50005, ["under-voltage", "throttled"]),
        (0x20000, 0xA0000, ["soft temperature limit since"]),
    ],
)
def test_what_may_happen_to_a_pi(before: int, after: int, found: list[str]) -> None:
    first, last = (replace(PI, throttling=Throttling(bits)) for bits in (before, after))
    result = violations(first, last)
    assert len(result) == len(found)
    assert all(f"throttling: {text}" in line for text, line in zip(found, result, strict=True))


def test_a_jetson_keeps_its_mode() -> None:
    after = replace(JETSON, mode=PowerMode("MAXN", 2))
    assert violations(JETSON, after) == ("power mode: expected 15W (mode 0), found MAXN (mode 2)",)


def test_what_was_never_known_is_no_violation() -> None:
    dark = replace(PHONE, thermal=NOT_THERE, battery=NOT_THERE, wakefulness=NOT_THERE,
                   linux=replace(LINUX, policies=NOT_THERE, boot_id=NOT_THERE, tools=NOT_THERE,
                                 uptime_s=NOT_THERE))  # fmt: skip
    assert violations(dark, dark) == ()
