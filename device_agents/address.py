"""An address: the text that says which device, and on which of its cores.

local                     this machine, a core chosen for it
local:cpu=N               this machine, core N
adb:SERIAL                a phone through a running adb server: USB, Wi-Fi, ``HOST:PORT`` serials
adb-tcp:HOST:PORT         a phone that listens on TCP, directly, without an adb server
adb-usb:SERIAL            a phone on USB, directly, without an adb server
ssh:USER@HOST[:PORT]      a board
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from device_agents.errors import AddressError

ADB_PORT = 5555
SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """This machine; ``cpu`` is the core to measure on, ``None`` for one that the agent picks."""

    cpu: int | None = None

    def __str__(self) -> str:
        return "local" if self.cpu is None else f"local:cpu={self.cpu}"


@dataclass(frozen=True, slots=True)
class AdbAddress:
    """A phone through a running adb server, by its serial as ``adb devices`` lists it."""

    serial: str

    def __str__(self) -> str:
        return f"adb:{self.serial}"


@dataclass(frozen=True, slots=True)
class AdbTcpAddress:
    """A phone's adb daemon on TCP."""

    host: str
    port: int = ADB_PORT

    def __str__(self) -> str:
        return f"adb-tcp:{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class AdbUsbAddress:
    """A phone on USB, by its serial."""

    serial: str

    def __str__(self) -> str:
        return f"adb-usb:{self.serial}"


@dataclass(frozen=True, slots=True)
class SshAddress:
    """A board's sshd."""

    user: str
    host: str
    port: int = SSH_PORT

    def __str__(self) -> str:
        port = "" if self.port == SSH_PORT else f":{self.port}"
        return f"ssh:{self.user}@{self.host}{port}"


Address: TypeAlias = LocalAddress | AdbAddress | AdbTcpAddress | AdbUsbAddress | SshAddress

EXAMPLES = "local, local:cpu=1, adb:SERIAL, adb-tcp:HOST:5555, adb-usb:SERIAL or ssh:USER@HOST"
_HOST = r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_PORT = r"(?P<port>[1-9][0-9]{0,4})"
# Serials are what vendors burn in: anything that prints and has no space; quoted, never interpreted
_SERIAL = r"(?P<serial>[\x21-\x7e]+)"
_PATTERNS = {
    "local": re.compile(r"local(?::cpu=(?P<cpu>0|[1-9][0-9]{0,4}))?"),
    "adb": re.compile(f"adb:{_SERIAL}"),
    "adb-tcp": re.compile(f"adb-tcp:{_HOST}(?::{_PORT})?"),
    "adb-usb": re.compile(f"adb-usb:{_SERIAL}"),
    "ssh": re.compile(rf"ssh:(?P<user>[A-Za-z0-9._-]+)@{_HOST}(?::{_PORT})?"),
}


def parse_address(text: str) -> Address:
    """Return the address in this text; the inverse of ``str``.

    Raises:
        AddressError: it is not one.
    """
    kind = text.partition(":")[0]
    found = _PATTERNS[kind].fullmatch(text) if kind in _PATTERNS else None
    if found is None or int(found.groupdict().get("port") or 1) > 65_535:
        raise AddressError(f"expected an address such as {EXAMPLES}, found {text!r}")
    group = found.groupdict()
    port = group.get("port")
    match kind:
        case "local":
            return LocalAddress(None if group["cpu"] is None else int(group["cpu"]))
        case "adb":
            return AdbAddress(group["serial"])
        case "adb-usb":
            return AdbUsbAddress(group["serial"])
        case "adb-tcp":
            return AdbTcpAddress(group["host"], int(port) if port else ADB_PORT)
    return SshAddress(group["user"], group["host"], int(port) if port else SSH_PORT)
