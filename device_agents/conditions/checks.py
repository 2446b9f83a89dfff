"""Checks: a device's state against what a trustworthy measurement needs.

    state & limits & wanted  -->  Check, Check, ...  -->  ready or not

What could not be read is unknown. A device is ready when nothing is not ok and the readings that
nothing can replace (`ESSENTIAL`) are known.
"""

from __future__ import annotations

from collections.abc import Iterable

from device_agents.conditions import android
from device_agents.conditions.boards import Throttling
from device_agents.conditions.check import Check
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.linux_checks import (
    Wanted,
    celsius,
    check_clocks,
    check_cores,
    check_read,
    check_rest,
    check_same,
    gigahertz,
    judge,
)
from device_agents.conditions.reading import Reading, Unknown, known, show
from device_agents.conditions.states import BoardState, PhoneState

ESSENTIAL = frozenset(
    {"serial", "system", "abi", "signs of heat", "battery", "free space", "runtime"}
)


def is_ready(checks: Iterable[Check]) -> bool:
    """Return whether a device with these checks can be measured on."""
    return all(
        check.state == "ok" or (check.state == "unknown" and check.name not in ESSENTIAL)
        for check in checks
    )


def check_phone(
    state: PhoneState, limits: Limits = LIMITS, wanted: Wanted | None = None
) -> tuple[Check, ...]:
    """Return every precondition of a phone with its reading."""
    wanted = wanted or Wanted()
    return (
        check_same("serial", state.serial, wanted.serial,
                   "connect that phone, or update devices.toml"),
        check_same("system", state.fingerprint, wanted.fingerprint,
              "another system build has other latencies: profile again into a new table"),
        check_read("model", state.model, "getprop is denied: use another transport"),
        check_read("soc", state.soc, "getprop is denied: use another transport"),
        check_read("abi", state.abi, "getprop is denied: use another transport"),
        check_read("android", state.release, "getprop is denied: use another transport"),
        _thermal(state, limits),
        *_no_sign_of_heat(state),
        _temperature(state, limits),
        *check_clocks(state.linux, limits, fixed_performance=wanted.fixed_performance),
        check_cores(state.linux, wanted),
        _battery(state, limits),
        judge("power saver", state.low_power, lambda on: not on,
               "switch it off: adb shell settings put global low_power 0",
               lambda on: "on" if on else "off"),
        # A phone that sleeps is woken before it is measured, and looked at again after
        judge("screen", state.wakefulness, lambda _: True, "wake the phone and unlock it"),
        *check_rest(state.linux, limits, wanted),
    )  # fmt: skip


def check_board(
    state: BoardState, limits: Limits = LIMITS, wanted: Wanted | None = None
) -> tuple[Check, ...]:
    """Return every precondition of a board, or of this machine, with its reading."""
    wanted = wanted or Wanted(ours="/.cache/hilnas/")
    return (
        check_same("serial", state.serial, wanted.serial,
                   "connect that board, or update devices.toml"),
        check_same("system", state.fingerprint, wanted.fingerprint,
              "another system build has other latencies: profile again into a new table"),
        check_read("model", state.model, "this machine has no device tree: nothing to do"),
        check_read("abi", state.machine, "uname is missing: use a complete system image"),
        *_firmware(state),
        # A Jetson's mode holds its clocks down by choice
        *check_clocks(
            state.linux, limits,
            fixed_performance=wanted.fixed_performance or known(state.mode) is not None,
        ),
        check_cores(state.linux, wanted),
        *check_rest(state.linux, limits, wanted),
    )  # fmt: skip


def _thermal(state: PhoneState, limits: Limits) -> Check:
    def form(thermal: android.Thermal) -> str:
        status = f"{thermal.status} ({android.THERMAL_STATUS[thermal.status]})"
        return status + (", overridden by a command" if thermal.overridden else "")

    thermal = state.thermal
    if isinstance(thermal, Unknown):
        remedy = "Android has it since 10; before, watch the frequency caps and the anchors"
    elif thermal.overridden:
        remedy = "a test left it: adb shell cmd thermalservice reset"
    else:
        remedy = f"let the phone cool down; profile waits up to {limits.thermal_wait_s:g} s for it"
    return judge(
        "thermal", state.thermal,
        lambda value: value.status <= limits.thermal_status and not value.overridden,
        remedy, form,
    )  # fmt: skip


def _no_sign_of_heat(state: PhoneState) -> list[Check]:
    """Return what is wrong where neither the thermal service nor the frequency caps can be read."""
    caps = state.linux.policies
    if not isinstance(caps, Unknown):
        caps = next((p.cap_share for p in caps if isinstance(p.cap_share, Unknown)), caps)
    if not isinstance(state.thermal, Unknown) or not isinstance(caps, Unknown):
        return []
    remedy = "nothing would tell that the phone throttles: use another phone"
    return [Check("signs of heat", str(caps), "unknown", remedy)]


def _temperature(state: PhoneState, limits: Limits) -> Check:
    """Judge by the skin's own status, or by the battery where there is no skin sensor."""
    remedy = "let the phone cool down: out of its case, in moving air at 20 to 25 degrees"
    battery_c = state.battery if isinstance(state.battery, Unknown) else state.battery.temperature_c
    skin_c: Reading[float] = Unknown("no thermal service")
    fine = not isinstance(battery_c, Unknown) and battery_c <= limits.battery_c
    if not isinstance(state.thermal, Unknown):
        skin_c = state.thermal.hottest_c(3)
        if not isinstance(skin_c, Unknown):
            fine = all(sensor.status == 0 for sensor in state.thermal.sensors if sensor.type == 3)
    if isinstance(skin_c, Unknown) and isinstance(battery_c, Unknown):
        return Check("temperature", str(skin_c), "unknown", remedy)
    reading = f"skin {show(skin_c, celsius)}, battery {show(battery_c, celsius)}"
    return Check("temperature", reading, "ok") if fine else Check(
        "temperature", reading, "not_ok", remedy)  # fmt: skip


def _battery(state: PhoneState, limits: Limits) -> Check:
    def form(battery: android.Battery) -> str:
        power = f", powered by {' and '.join(battery.powered_by)}" if battery.powered_by else ""
        override = ", overridden by a command" if battery.overridden else ""
        return f"{battery.level_pct:.0f} %, {show(battery.temperature_c, celsius)}{power}{override}"

    battery = known(state.battery)
    remedy = (
        "a test left it: adb shell dumpsys battery reset"
        if battery is not None and battery.overridden
        else f"charge it above {limits.battery_pct:g} %: low phones switch their big cores off"
    )
    return judge(
        "battery", state.battery,
        lambda value: value.level_pct >= limits.battery_pct and not value.overridden,
        remedy, form,
    )  # fmt: skip


def _firmware(state: BoardState) -> list[Check]:
    """Return the readings that this kind of board has: a Pi's throttling, a Jetson's mode, heat."""
    found, model = [], known(state.model) or ""
    if "Raspberry Pi" in model or not isinstance(state.throttling, Unknown):
        found.append(
            judge("throttling", state.throttling, lambda value: not value.now,
                   "use the maker's power supply and a fan; where vcgencmd is denied,"
                   " add the user to group video", _show_throttling)
        )  # fmt: skip
        found.append(
            judge("arm clock", state.clock_hz, lambda _: True,
                   "install vcgencmd, add the user to group video",
                   lambda hz: gigahertz(hz // 1000))
        )  # fmt: skip
    if "NVIDIA" in model or "Jetson" in model or not isinstance(state.mode, Unknown):
        remedy = "let the user run nvpmodel -q: the power mode is part of the condition"
        found.append(judge("power mode", state.mode, lambda _: True, remedy))
        remedy = "watch the anchors: they show drift"
        found.append(
            judge("device clocks", state.devfreq_hz, lambda _: True, remedy,
                   lambda hz: ", ".join(f"{n} {gigahertz(v // 1000)}" for n, v in hz.items()))
        )  # fmt: skip
    temperature = state.temperature_c
    if isinstance(temperature, Unknown):
        zones = state.linux.zones_c
        temperature = zones if isinstance(zones, Unknown) else max(zones.values())
    remedy = "watch the anchors: nothing tells how warm it is"
    found.append(judge("temperature", temperature, lambda _: True, remedy, celsius))
    return found


def _show_throttling(throttling: Throttling) -> str:
    now, before = ", ".join(throttling.now), ", ".join(throttling.since_boot)
    return f"now {now or 'none'}" + (f"; since boot {before}" if before else "")
