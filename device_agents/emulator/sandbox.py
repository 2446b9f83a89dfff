"""Sandbox: the emulated phone's file system, a folder of this machine.

    phone  /data/local/tmp/x  /sys/...  /proc/loadavg  /system/bin
             |  inward: prefixes in commands, small text files and input get ROOT before them
             v  outward: ROOT is taken off what is printed and pulled
    host   ROOT/data/local/tmp/x  ...

No name space, mount or chroot is needed, so it works in any container and for any user. It keeps
well-behaved commands inside; it is no prison: run what you would run in your own shell. Known
limits: a path that a command puts together from pieces (``/da*/local``) is not found, and
``/proc/PID`` is this machine's.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from device_agents.emulator import programs, stand_in
from device_agents.errors import DeviceUnusable
from device_agents.transports.transport import PHONE_SCRATCH

WRITABLE = (PHONE_SCRATCH, "/sdcard", "/storage")
TEXT_LIMIT = 1 << 20
_CHUNK = 1 << 18
_OWN_PREFIXES = (
    "data",
    "sdcard",
    "storage",
    "sys",
    "system",
    "vendor",
    "proc/uptime",
    "proc/loadavg",
    "proc/meminfo",
    "proc/version",
    "proc/cpuinfo",
    "proc/mounts",
    "proc/self/status",
    "proc/sys/kernel/random/boot_id",
)
_OWN = re.compile(rb"(?<![\w./})-])/(?=(?:%s)(?![\w.-]))" % "|".join(_OWN_PREFIXES).encode())


class Sandbox:
    """One phone's files and processes below ``root``."""

    def __init__(self, root: Path) -> None:
        """Make the folders and programs of an empty phone, or take up those that are there.

        Raises:
            DeviceUnusable: the path has characters that a shell would interpret.
        """
        self.root = root.resolve()
        if not re.fullmatch(r"[\w./-]+", str(self.root)):
            raise DeviceUnusable(
                f"expected a folder without spaces or quotes for the phone's files, found {root}"
            )
        self._prefix = str(self.root).encode()
        self._kernel_files = threading.Lock()
        self._written: dict[str, str] = {}
        for folder in (PHONE_SCRATCH, "/sdcard", "/system/bin", "/proc/self/masks"):
            self.host_path(folder).mkdir(parents=True, exist_ok=True)
        status = self.root / "proc/self/status"
        if not status.is_symlink():
            status.symlink_to(f"/proc/self/fd/{programs.STATUS_FD}")

    def install(self, port: int, abis: tuple[str, ...], prompt: str) -> None:
        """Fill /system/bin: this machine's tools, and Android's, which ask the server at a port."""
        folder = self.root / "system/bin"
        shutil.rmtree(folder)
        folder.mkdir()
        for tool in programs.HOST_TOOLS:
            found = shutil.which(tool)
            if found:
                (folder / tool).symlink_to(found)
        for name, text in programs.scripts(self.root, port, abis, prompt).items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        for name in programs.SERVED:
            (folder / name).symlink_to(programs.CLIENT)

    def host_path(self, path: str) -> Path:
        """Return where a path of the phone lies on this machine; it cannot leave the root."""
        return Path(str(self.root) + _normal(self._outward(path)))

    def _outward(self, path: str) -> str:
        return self.outward(path.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def is_inside(self, path: Path) -> bool:
        """Whether a path of this machine lies below the root."""
        return path.resolve().is_relative_to(self.root)

    def may_write(self, path: str) -> bool:
        """Whether the shell user may write there."""
        clean = _normal(path)
        return any(clean.startswith(place + "/") for place in WRITABLE)

    def inward(self, data: bytes) -> bytes:
        """Return text with the phone's paths as this machine's."""
        return _OWN.sub(self._prefix + b"/", data)

    def outward(self, data: bytes) -> bytes:
        """Return text with this machine's paths as the phone's; undoes `inward`."""
        return data.replace(self._prefix + b"/", b"/").replace(self._prefix, b"/")

    def admit(self, path: Path) -> None:
        """Turn a file that has just arrived into what it is at rest."""
        with path.open("r+b") as file:
            head = file.read(stand_in.SIZE)
            if stand_in.is_stand_in(head):
                file.seek(0)
                file.write(stand_in.with_interpreter(head, f"{self.root}/system/bin/linker64"))
                return
            if path.stat().st_size <= TEXT_LIMIT and b"\0" not in head:
                whole = head + file.read()
                inside = whole if b"\0" in whole else self.inward(self.outward(whole))
                if inside != whole:
                    file.seek(0)
                    file.write(inside)

    def contents(self, path: Path) -> Iterator[bytes]:
        """Yield a file in pieces, as it was when it arrived."""
        with path.open("rb") as file:
            head = file.read(max(stand_in.SIZE, TEXT_LIMIT))
            if stand_in.is_stand_in(head):
                head = stand_in.with_header(head)
            elif path.stat().st_size <= len(head) and b"\0" not in head:
                head = self.outward(head)
            yield head
            while chunk := file.read(_CHUNK):
                yield chunk

    def size(self, path: Path) -> int:
        """Return how long a file was when it arrived."""
        size = path.stat().st_size
        if path.is_file() and size <= TEXT_LIMIT:
            return sum(map(len, self.contents(path)))
        return size

    def sha256(self, path: Path) -> str:
        """Return the sha256 of a file as it was when it arrived."""
        digest = hashlib.sha256()
        for chunk in self.contents(path):
            digest.update(chunk)
        return digest.hexdigest()

    def used_bytes(self) -> int:
        """Return what lies below /data and /sdcard."""
        places = (self.root / "data", self.root / "sdcard")
        return sum(f.stat().st_size for place in places for f in place.rglob("*") if f.is_file())

    def write_kernel_files(self, files: Mapping[str, str]) -> None:
        """Show these as /proc and /sys; who reads meanwhile reads the whole of old or new ones."""
        with self._kernel_files:
            for name, text in files.items():
                if self._written.get(name) == text:
                    continue
                path = self.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_name(f".{path.name}.part")
                part.write_text(text)
                part.replace(path)
                self._written[name] = text

    def environment(self) -> dict[str, str]:
        """Return the environment of a command."""
        return {
            "ANDROID_DATA": "/data",
            "ANDROID_ROOT": "/system",
            "HOME": "/",
            "LOGNAME": "shell",
            "PATH": f"{self.root}/system/bin",
            "SHELL": f"{self.root}/system/bin/sh",
            "TMPDIR": f"{self.root}{PHONE_SCRATCH}",
            "USER": "shell",
            programs.PHONE_VARIABLE: str(self.root),
        }

    def processes(self) -> dict[int, str]:
        """Return the names of this phone's running processes by pid."""
        mark = f"{programs.PHONE_VARIABLE}={self.root}\0".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                if mark in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "comm").read_text().strip()
            except OSError:
                continue  # ended meanwhile, or another user's
        return found

    def kill_processes(self) -> None:
        """End everything that runs on this phone, as power loss does."""
        for _ in range(10):
            running = self.processes()
            for pid in running:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if not running:
                return


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


class OutwardStream:
    """Takes this machine's paths off a stream of output, across the borders of its pieces."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._prefix = str(sandbox.root).encode() + b"/"
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what can be passed on; what may be the beginning of a path is held back."""
        *whole, rest = (self._held + data).split(self._prefix)
        sizes = range(min(len(rest), len(self._prefix) - 1), 0, -1)
        hold = next((size for size in sizes if rest.endswith(self._prefix[:size])), 0)
        self._held = rest[len(rest) - hold :]
        pieces = (*whole, rest[: len(rest) - hold])
        return b"/".join(self._sandbox.outward(piece) for piece in pieces)

    def flush(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return self._sandbox.outward(held)
