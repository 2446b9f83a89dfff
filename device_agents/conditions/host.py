"""Host checks: what this computer must have to reach a device, before the device is asked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import os
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from device_agents.address import (
    SSH_PORT,
    AdbAddress,
    AdbTcpAddress,
    AdbUsbAddress,
    Address,
    SshAddress,
)
from device_agents.conditions.check import Check
from device_agents.errors import DeviceError
from device_agents.transports.deadline import Deadline

SERVER_TIMEOUT_S = 3.0
_USB = Path("/sys/bus/usb/devices")
_DEV = Path("/dev/bus/usb")
_LIBRARIES = {"adb": ("adbutils",), "adb-direct": ("adb_shell",), "ssh": ("asyncssh",)}
_SERVER_STATES = {
    "unauthorized": "unlock the phone and accept this computer's key on its screen",
    "offline": "unplug the phone and plug it in again",
    "authorizing": "wait a moment, then accept this computer's key on the phone's screen",
    "no permissions": "install udev rules for it (apt install android-sdk-platform-tools-common)",
    "recovery": "boot the phone into Android",
    "sideload": "boot the phone into Android",
}


def check_host(
    address: Address,
    *,
    home: Path | None = None,
    known_hosts: Path | None = None,
    usb: Path = _USB,
    dev: Path = _DEV,
) -> tuple[Check, ...]:
    """Return what this computer needs for that address, each with its reading.

    Nothing is started: an adb server that does not run is reported.

    Args:
        home: the user's folder; known_hosts: by default the user's.
        usb, dev: where the kernel lists USB devices.
    """
    home = home or Path.home()
    match address:
        case AdbAddress(serial):
            library = _check_extra("adb")
            server = _check_server(serial) if library.state == "ok" else ()
            return (library, *server, *_check_usb(serial, usb, dev, required=False))
        case AdbTcpAddress():
            return (_check_extra("adb-direct"), _check_keys(home))
        case AdbUsbAddress(serial):
            usable = _check_usb(serial, usb, dev, required=True)
            return (_check_extra("adb-direct"), _check_keys(home), *usable)
        case SshAddress():
            hosts = known_hosts or home / ".ssh/known_hosts"
            return (_check_extra("ssh"), _check_known_host(address, hosts))
    return ()


def _check_extra(name: str) -> Check:
    missing = [lib for lib in _LIBRARIES[name] if importlib.util.find_spec(lib) is None]
    if not missing:
        return Check("library", ", ".join(_LIBRARIES[name]), "ok")
    extra = name.partition("-")[0]
    return Check("library", f"no {missing[0]}", "not_ok", f"pip install 'hilnas[{extra}]'")


def _check_server(serial: str) -> tuple[Check, ...]:
    """Return whether an adb server runs and lists this serial as ready; starts none."""
    from device_agents.transports.adb_server import AdbServer

    try:
        server = AdbServer.of_environment()
        deadline = Deadline(SERVER_TIMEOUT_S)
        version = server.ask("host:version", deadline)
        phones = {phone.serial: phone.state for phone in server.phones(deadline)}
    except DeviceError as error:
        return (Check("adb server", str(error), "not_ok", "start it: adb start-server"),)
    running = Check("adb server", f"version {version} at {server.host}:{server.port}", "ok")
    state = phones.get(serial)
    if state == "device" or (state is None and ":" in serial):  # that is connected when needed
        return (running, Check("adb device", state or "not connected yet", "ok"))
    if state is None:
        found = ", ".join(sorted(phones)) or "none"
        remedy = "switch USB debugging on and plug the phone in, or adb connect HOST:PORT"
        return (running, Check("adb device", f"not listed; there are: {found}", "not_ok", remedy))
    known = (remedy for name, remedy in _SERVER_STATES.items() if state.startswith(name))
    remedy = next(known, "adb reconnect, or plug the phone in again")
    return (running, Check("adb device", state, "not_ok", remedy))


def _check_keys(home: Path) -> Check:
    key = home / ".android/adbkey"
    if os.access(key, os.R_OK):
        return Check("adb key", str(key), "ok")
    if key.exists():
        return Check("adb key", f"{key} cannot be read", "not_ok", f"chmod u+r {key}")
    # One is made at the first connection, which the phone then has to accept
    return Check("adb key", f"none at {key} yet", "ok")


def _check_usb(serial: str, usb: Path, dev: Path, *, required: bool) -> tuple[Check, ...]:
    """Return whether the device file of the phone with this serial may be opened."""
    for device in sorted(usb.glob("*/serial")):
        with suppress(OSError, ValueError):
            if device.read_text().strip() != serial:
                continue
            bus, number = (int((device.parent / f).read_text()) for f in ("busnum", "devnum"))
            node = dev / f"{bus:03}/{number:03}"
            if os.access(node, os.R_OK | os.W_OK):
                return (Check("usb permission", str(node), "ok"),)
            remedy = _SERVER_STATES["no permissions"] + ", join group plugdev, plug it in again"
            return (Check("usb permission", f"{node} is not ours", "not_ok", remedy),)
    if not required:  # it may be a phone on Wi-Fi
        return ()
    remedy = "switch USB debugging on and plug the phone in"
    return (Check("usb permission", f"no USB device has serial {serial}", "not_ok", remedy),)


def _check_known_host(address: SshAddress, path: Path) -> Check:
    host = address.host.strip("[]")
    name = host if address.port == SSH_PORT else f"[{host}]:{address.port}"
    remedy = f"compare its fingerprint once: ssh -p {address.port} {address.user}@{host}"
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return Check("known host", f"no {path}", "not_ok", remedy)
    except OSError as error:
        return Check("known host", f"{path}: {error.strerror}", "unknown", f"make {path} readable")
    if any(_names(line, name) for line in lines):
        return Check("known host", f"{name} in {path}", "ok")
    return Check("known host", f"{name} is not in {path}", "not_ok", remedy)


def _names(line: str, name: str) -> bool:
    """Whether a line of known_hosts is about this host; see sshd(8) for the format."""
    fields = line.removeprefix("@cert-authority ").split()
    if len(fields) < 3 or fields[0].startswith(("#", "@")):
        return False
    patterns = fields[0].split(",")
    return any(_matches(p, name) for p in patterns if not p.startswith("!")) and not any(
        _matches(p[1:], name) for p in patterns if p.startswith("!")
    )


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("|1|"):
        # Brackets are part of the name, not of a pattern
        return fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))
    _, _, salt, digest = pattern.split("|")
    hashed = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
    return hmac.compare_digest(hashed, base64.b64decode(digest))
