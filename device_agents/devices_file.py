"""devices.toml: names for devices, with what each needs to be measured on.

    [pixel-4]
    address = "adb:9B161FFAZ000BK"
    serial = "9B161FFAZ000BK"                 # any other device that answers is refused
    benchmark_binary = "~/bin/android_aarch64_benchmark_model"
    benchmark_sha256 = "3f1c..."              # of that file
    cores = "auto"                            # or a mask in hex: "80"
    power_mode = "fixed"                      # or "as-is"
    pool = "pixels"                           # measured together with others of this pool

    [rack-pi]
    address = "ssh:pi@10.0.0.7"
    python = "/home/pi/env/bin/python3"

Looked for in ``--devices``, the current folder, and ``$XDG_CONFIG_HOME/hilnas/``: the first counts.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast

from device_agents.address import Address, parse_address
from device_agents.errors import AddressError, DevicesFileError

FILE_NAME = "devices.toml"
PowerMode = Literal["fixed", "as-is"]

_RULES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "address": (re.compile(r".+"), "an address such as adb:SERIAL"),
    "serial": (re.compile(r"[\x21-\x7e]+"), "a serial number"),
    "benchmark_binary": (re.compile(r".+"), "the path of a file"),
    "benchmark_sha256": (re.compile(r"[0-9a-f]{64}"), "64 hexadecimal digits"),
    "python": (re.compile(r".+"), "the path of an interpreter on the device"),
    "cores": (re.compile(r"auto|[0-9a-f]+"), '"auto" or a mask in hex, such as "80"'),
    "power_mode": (re.compile(r"fixed|as-is"), '"fixed" or "as-is"'),
    "pool": (re.compile(r"[A-Za-z0-9._-]+"), "a name"),
}


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """One device of the file; what it does not say is None."""

    name: str
    address: Address
    serial: str | None = None
    benchmark_binary: Path | None = None
    benchmark_sha256: str | None = None
    python: str | None = None
    cores: str = "auto"
    power_mode: PowerMode | None = None
    pool: str | None = None


def read_devices(file: Path) -> Mapping[str, DeviceEntry]:
    """Return the devices of a file by name.

    Raises:
        DevicesFileError: it cannot be read, or an entry is not as it should be; names file, line
            and key.
    """
    try:
        text = file.read_text()
        content = tomllib.loads(text)
    except OSError as error:
        raise DevicesFileError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DevicesFileError(f"{file}: expected TOML, found: {error}") from error
    return {name: _parse(file, text, name, entry) for name, entry in content.items()}


def find_file(candidates: Iterable[Path]) -> Path | None:
    """Return the first of these files that there is."""
    return next((file for file in candidates if file.is_file()), None)


def choose_devices(text: str, devices: Mapping[str, DeviceEntry]) -> tuple[DeviceEntry, ...]:
    """Return what a device argument means: an address, the name of a device, or of a pool.

    Raises:
        AddressError: it is none of them; lists the names that there are.
    """
    if text in devices:
        return (devices[text],)
    if pool := tuple(entry for entry in devices.values() if entry.pool == text):
        return pool
    try:
        return (DeviceEntry(text, parse_address(text)),)
    except AddressError as error:
        pools = {entry.pool for entry in devices.values() if entry.pool}
        known = ", ".join(sorted({*devices, *pools}))
        raise AddressError(f"{error}; {FILE_NAME} names {known or 'none'}") from error


def _parse(file: Path, text: str, name: str, entry: object) -> DeviceEntry:
    if not isinstance(entry, dict):
        raise DevicesFileError(
            f"{file}, line {_line(text, None, name)}: expected a table [{name}] of a device,"
            f" found {name} = {entry!r}"
        )
    for key, value in entry.items():
        where = f"{file}, line {_line(text, name, key)}, key {key!r}"
        if key not in _RULES:
            raise DevicesFileError(f"{where}: unknown; there are {', '.join(_RULES)}")
        pattern, expected = _RULES[key]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise DevicesFileError(f"{where}: expected {expected}, found {value!r}")
    if "address" not in entry:
        raise DevicesFileError(
            f"{file}, line {_line(text, None, name)}: [{name}] has no key 'address'"
        )
    try:
        address = parse_address(entry["address"])
    except AddressError as error:
        where = f"{file}, line {_line(text, name, 'address')}, key 'address'"
        raise DevicesFileError(f"{where}: {error}") from error
    values = {f.name: entry[f.name] for f in fields(DeviceEntry) if f.name in entry}
    if "benchmark_binary" in values:
        values["benchmark_binary"] = Path(values["benchmark_binary"]).expanduser()
    return DeviceEntry(name, **cast(dict[str, str], values | {"address": address}))  # type: ignore[arg-type]


def _line(text: str, table: str | None, key: str) -> int:
    """Return the line of a key in a table, or of a table itself; the first where unsure."""
    inside = table is None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.fullmatch(r'\s*\[\s*"?([^"\]]+?)"?\s*\]\s*(#.*)?', line)
        if header and table is None and header[1] == key:
            return number
        if header:
            inside = header[1] == table
        elif inside and re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
            return number
    return 1
