"""Android readings: what dumpsys, settings and getprop say, in the forms of Android 7 to 16.

Pure parsers: text in; a value, or `Unknown` with what was found instead, out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from device_agents.conditions.reading import Reading, Unknown, not_understood

THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
# android.hardware.thermal TemperatureType
SENSOR_TYPES = {0: "cpu", 1: "gpu", 2: "battery", 3: "skin"}
PROPERTIES = {
    "serial": "ro.serialno",
    "model": "ro.product.model",
    "soc": "ro.soc.model",  # Android 12
    "board": "ro.board.platform",
    "fingerprint": "ro.build.fingerprint",
    "abi": "ro.product.cpu.abi",
    "abis": "ro.product.cpu.abilist",
    "release": "ro.build.version.release",
    "sdk": "ro.build.version.sdk",
}
_NUMBER = r"-?(?:\d+(?:\.\d*)?(?:E-?\d+)?|Infinity)|NaN"
_SENSOR = re.compile(
    rf"Temperature\{{mValue=({_NUMBER}), mType=(-?\d+), mName=(.*?), mStatus=(-?\d+)\}}"
)
_SETTING = re.compile(r"[-+\w.,:/ ]*")


@dataclass(frozen=True, slots=True)
class Sensor:
    """One temperature of the thermal service: its type's number is in `SENSOR_TYPES`."""

    name: str
    type: int
    celsius: float
    status: int


@dataclass(frozen=True, slots=True)
class Thermal:
    """What the thermal service says; status 0 is the only one in which nothing is held back."""

    status: int
    overridden: bool
    sensors: tuple[Sensor, ...]

    def hottest_c(self, kind: int) -> Reading[float]:
        """Return the highest temperature of the sensors of one type."""
        values = [sensor.celsius for sensor in self.sensors if sensor.type == kind]
        return max(values) if values else Unknown(f"no {SENSOR_TYPES.get(kind, kind)} sensor")


@dataclass(frozen=True, slots=True)
class Battery:
    """Level in percent of full, temperature, and what charges it; ``overridden`` by a test."""

    level_pct: float
    temperature_c: Reading[float]
    charging: Reading[bool]
    powered_by: tuple[str, ...]
    overridden: bool


def parse_thermal(text: str) -> Reading[Thermal]:
    """Return the thermal service's dump; sensors as of now where the HAL says, else as cached."""
    status = re.search(r"^\s*Thermal Status: (\d)\s*$", text, re.MULTILINE)
    override = re.search(r"^\s*IsStatusOverride: (true|false)\s*$", text, re.MULTILINE)
    if not status or not override or int(status[1]) >= len(THERMAL_STATUS):
        return not_understood(text, "IsStatusOverride and Thermal Status")
    _, found, now = text.partition("Current temperatures from HAL:")
    cached = text.partition("Cached temperatures:")[2]
    # Each block ends with the next title, which starts a line without a brace
    block = re.match(r"(?:\s*Temperature\{.*\}\s*\n?)*", now if found else cached)
    sensors = _parse_sensors(block[0] if block else "")
    if found and not sensors:
        sensors = _parse_sensors(cached)
    return Thermal(int(status[1]), override[1] == "true", sensors)


def _parse_sensors(text: str) -> tuple[Sensor, ...]:
    """Return the sensors that read something: exactly 0 and NaN are those that are not fitted."""
    sensors = []
    for value, kind, name, status in _SENSOR.findall(text):
        celsius = float(value)
        if math.isfinite(celsius) and celsius != 0:
            sensors.append(Sensor(name, int(kind), celsius, int(status)))
    return tuple(sensors)


def parse_battery(text: str) -> Reading[Battery]:
    """Return the battery service's dump; its temperature is in tenths of a degree."""
    fields: dict[str, str] = {}
    for name, value in re.findall(r"^\s*([\w ]+): (-?\w+)\s*$", text, re.MULTILINE):
        fields.setdefault(name, value)  # vendors append sections of their own, with names again
    level, scale = fields.get("level", ""), fields.get("scale", "100")
    if not level.isdecimal() or not scale.isdecimal() or not 0 < int(scale) >= int(level):
        return not_understood(text, "the level of a battery")
    if fields.get("present") == "false":
        return Unknown("no battery is present")
    temperature, status = fields.get("temperature", ""), fields.get("status", "")
    return Battery(
        level_pct=100 * int(level) / int(scale),
        temperature_c=(
            int(temperature) / 10
            if re.fullmatch(r"-?\d+", temperature)
            else not_understood(temperature, "tenths of a degree")
        ),
        # BatteryManager: 2 charging, 3 discharging, 4 not charging, 5 full
        charging=(
            status == "2" if status in ("2", "3", "4", "5") else not_understood(status, "a status")
        ),
        powered_by=tuple(
            name.removesuffix(" powered")
            for name, value in fields.items()
            if name.endswith(" powered") and value == "true"
        ),
        overridden="UPDATES STOPPED" in text,
    )


def parse_wakefulness(text: str) -> Reading[str]:
    """Return Awake, Asleep, Dozing or Dreaming, from ``dumpsys power``."""
    found = re.search(r"\bmWakefulness=(Awake|Asleep|Dozing|Dreaming)\b", text)
    return found[1] if found else not_understood(text, "mWakefulness")


def parse_low_power(text: str) -> Reading[bool]:
    """Return whether the power saver is on; ``null`` is a setting nobody ever touched: off."""
    values = {"0": False, "1": True, "null": False}
    return values.get(text.strip(), not_understood(text, "0, 1 or null"))


def parse_setting(text: str) -> Reading[str]:
    """Return the value of a setting, ``null`` where it has none."""
    value = text.strip("\r\n")
    return value if value and _SETTING.fullmatch(value) else not_understood(text, "one value")


def parse_properties(text: str) -> dict[str, Reading[str]]:
    """Return `PROPERTIES` by their short names, from lines of ``name=value``; empty is unknown."""
    found = dict(re.findall(r"^(\w+)=(.*?)\s*$", text, re.MULTILINE))
    return {
        name: found.get(name) or Unknown(f"{property} is empty")
        for name, property in PROPERTIES.items()
    }
