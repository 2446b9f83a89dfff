"""Commands: what Android's own programs answer, from a phone's state.

Each takes the state and its arguments and returns an `Answer`; nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from device_agents.emulator.state import State, zone_celsius


class Answer(NamedTuple):
    """What a program printed, and its exit code; with a code the text is on standard error."""

    text: str
    code: int = 0


def properties(state: State) -> dict[str, str]:
    """Return what getprop knows."""
    profile = state.profile
    return {
        "ro.build.fingerprint": state.fingerprint,
        "ro.build.version.release": profile.android,
        "ro.build.version.sdk": str(profile.sdk),
        "ro.build.type": "user",
        "ro.hardware": profile.device,
        "ro.product.cpu.abi": profile.abis[0],
        "ro.product.cpu.abilist": ",".join(profile.abis),
        "ro.product.device": profile.device,
        "ro.product.manufacturer": profile.manufacturer,
        "ro.product.model": profile.model,
        "ro.product.name": profile.product,
        "ro.board.platform": profile.soc.lower(),
        "ro.serialno": state.serial,
        "sys.boot_completed": "1",
        # Named since Android 12
        **({"ro.soc.model": profile.soc} if profile.sdk >= 31 else {}),
    }


def getprop(state: State, arguments: Sequence[str]) -> Answer:
    """``getprop [NAME [DEFAULT]]``."""
    known = properties(state)
    if not arguments:
        return Answer("".join(f"[{name}]: [{value}]\n" for name, value in sorted(known.items())))
    default = arguments[1] if len(arguments) > 1 else ""
    return Answer(known.get(arguments[0], default) + "\n")


def settings(state: State, arguments: Sequence[str]) -> Answer:
    """``settings get|put|delete|list NAMESPACE [KEY [VALUE]]``."""
    match arguments:
        case ["get", space, key]:
            return Answer(state.settings.get((space, key), "null") + "\n")
        case ["put", space, key, value]:
            state.settings[space, key] = value
            return Answer("")
        case ["delete", space, key]:
            gone = state.settings.pop((space, key), None)
            return Answer(f"Deleted {0 if gone is None else 1} rows\n")
        case ["list", space]:
            rows = sorted((k, v) for (s, k), v in state.settings.items() if s == space)
            return Answer("".join(f"{key}={value}\n" for key, value in rows))
    return Answer("Bad arguments\nInvalid command\n", 255)


def dumpsys(state: State, arguments: Sequence[str]) -> Answer:
    """``dumpsys SERVICE [...]``."""
    service = arguments[0] if arguments else ""
    known = {
        "battery": _battery,
        "power": _power,
        "activity": _activity,
        **({"thermalservice": _thermal} if state.profile.has_thermal_service else {}),
    }
    if service == "battery" and arguments[1:] == ["reset"]:
        return Answer("")
    if service not in known:
        return Answer(f"Can't find service: {service}\n", 0)
    return Answer(known[service](state))


def _battery(state: State) -> str:
    charging = state.battery_charging
    return (
        "Current Battery Service state:\n"
        "  AC powered: false\n"
        f"  USB powered: {str(charging).lower()}\n"
        "  Wireless powered: false\n"
        "  Max charging current: 500000\n"
        "  Max charging voltage: 5000000\n"
        "  Charge counter: 2318000\n"
        f"  status: {2 if charging else 3}\n"
        "  health: 2\n"
        "  present: true\n"
        f"  level: {state.battery_level}\n"
        "  scale: 100\n"
        "  voltage: 4161\n"
        f"  temperature: {round(10 * state.battery_celsius)}\n"
        "  technology: Li-ion\n"
    )


def _power(state: State) -> str:
    awake = state.wakefulness == "Awake"
    return (
        "POWER MANAGER (dumpsys power)\n\n"
        "Power Manager State:\n"
        f"  mWakefulness={state.wakefulness}\n"
        "  mWakefulnessChanging=false\n"
        f"  mIsPowered={str(state.battery_charging).lower()}\n"
        "  mPlugType=2\n"
        f"  mBatteryLevel={state.battery_level}\n"
        f"  mStayOn={str(state.stay_awake != 'false').lower()}\n"
        f"  mHoldingDisplaySuspendBlocker={str(awake).lower()}\n"
        "\nSettings and Configuration:\n"
        f"  mStayOnWhilePluggedInSetting="
        f"{state.settings.get(('global', 'stay_on_while_plugged_in'), '0')}\n"
        f"  mLowPowerModeEnabled={str(state.power_saver).lower()}\n"
    )


def _thermal(state: State) -> str:
    status = state.thermal_status
    rows = "".join(
        f"\tTemperature{{mValue={zone_celsius(state, number):.1f}, mType={zone.kind}, "
        f"mName={zone.name}, mStatus={status if zone.kind == 3 else 0}}}\n"
        for number, zone in enumerate(state.profile.zones)
    )
    return (
        f"IsStatusOverride: {str(state.thermal_overridden).lower()}\n"
        "ThermalEventListeners:\n\tcallbacks: 1\n"
        f"Thermal Status: {status}\n"
        f"Cached temperatures:\n{rows}"
        "HAL Ready: true\nHAL connection:\n\tThermalHAL 2.0 connected: yes\n"
        f"Current temperatures from HAL:\n{rows}"
        "Current cooling devices from HAL:\n"
    )


def _activity(state: State) -> str:
    rows = "".join(
        f"  *APP* UID 10{200 + n} ProcessRecord{{{n:07x} {3000 + n}:{name}/u0a{200 + n}}}\n"
        for n, name in enumerate(state.foreign_processes)
    )
    return f"ACTIVITY MANAGER RUNNING PROCESSES (dumpsys activity processes)\n{rows}"


def cmd(state: State, arguments: Sequence[str]) -> Answer:
    """``cmd SERVICE ...`` for what can be set without root."""
    match arguments:
        case ["power", "set-fixed-performance-mode-enabled", "true" | "false" as on]:
            if state.profile.sdk < 30:
                return Answer("cmd: Can't find service: power\n", 20)
            state.fixed_performance = on == "true"
            return Answer("")
        case ["power", "set-mode", "0" | "1" as mode]:
            state.power_saver = mode == "1"
            return Answer("")
        case ["thermalservice", "reset"] if state.profile.has_thermal_service:
            state.thermal_overridden = False
            return Answer("")
        case ["thermalservice", "override-status", status] if state.profile.has_thermal_service:
            state.thermal_overridden, state.thermal_status = True, int(status)
            return Answer("")
        case ["connectivity", "airplane-mode", "enable" | "disable" as on]:
            state.settings["global", "airplane_mode_on"] = "1" if on == "enable" else "0"
            return Answer("")
        case ["connectivity", "airplane-mode"]:
            flying = state.settings["global", "airplane_mode_on"] == "1"
            return Answer("enabled\n" if flying else "disabled\n")
    service = arguments[0] if arguments else ""
    return Answer(f"cmd: Can't find service: {service}\n", 20)


def svc(state: State, arguments: Sequence[str]) -> Answer:
    """``svc power stayon true|false|usb|ac|wireless``."""
    plugged = {"true": "15", "false": "0", "usb": "2", "ac": "1", "wireless": "4"}
    match arguments:
        case ["power", "stayon", how] if how in plugged:
            state.stay_awake = how
            state.settings["global", "stay_on_while_plugged_in"] = plugged[how]
            return Answer("")
    return Answer("Available commands:\n    power\n", 1)


def input_(state: State, arguments: Sequence[str]) -> Answer:
    """``input keyevent KEYCODE_WAKEUP|KEYCODE_SLEEP|...``."""
    match arguments:
        case ["keyevent", "KEYCODE_WAKEUP" | "224"]:
            state.wakefulness = "Awake"
        case ["keyevent", "KEYCODE_SLEEP" | "223"]:
            state.wakefulness = "Asleep"
    return Answer("")


def am(state: State, arguments: Sequence[str]) -> Answer:
    """``am kill-all`` ends what runs in the background."""
    if list(arguments) == ["kill-all"]:
        state.foreign_processes = ()
    return Answer("")


def uptime(state: State, arguments: Sequence[str]) -> Answer:
    """``uptime``."""
    minutes = int(state.uptime_s) // 60
    return Answer(
        f" 12:00:00 up {minutes // 60}:{minutes % 60:02},  0 users,  "
        f"load average: {state.load:.2f}, {state.load:.2f}, {state.load:.2f}\n"
    )


def nproc(state: State, arguments: Sequence[str]) -> Answer:
    """``nproc``."""
    return Answer(f"{len(state.profile.cpus)}\n")


Command = Callable[[State, Sequence[str]], Answer]
COMMANDS: dict[str, Command] = {
    "am": am,
    "cmd": cmd,
    "dumpsys": dumpsys,
    "getprop": getprop,
    "input": input_,
    "nproc": nproc,
    "settings": settings,
    "svc": svc,
    "uptime": uptime,
}
