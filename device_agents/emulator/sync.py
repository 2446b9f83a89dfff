"""Sync: the service that moves files, in its first version and, where announced, its second.

Source: Android's ``packages/modules/adb/SYNC.TXT`` and ``file_sync_protocol.h``.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

from device_agents.emulator.daemon import Stream
from device_agents.emulator.sandbox import Sandbox

CHUNK = 64 * 1024
_U32 = struct.Struct("<I")
_STAT2 = struct.Struct("<IQQIIIIQqqq")


class SyncService:
    """Serves one sync stream.

    ``free_bytes`` says what room is left, ``happen`` is told of each "push" and "pull".
    """

    def __init__(
        self,
        stream: Stream,
        sandbox: Sandbox,
        free_bytes: Callable[[], int],
        happen: Callable[[str], None],
    ) -> None:
        self._stream, self._sandbox = stream, sandbox
        self._free_bytes, self._happen = free_bytes, happen

    def run(self) -> None:
        """Answer requests until the host quits.

        Raises:
            StreamClosed: it went away instead.
        """
        requests = {
            b"STAT": self._stat,
            b"STA2": self._stat2,
            b"LST2": self._stat2,
            b"LIST": self._list,
            b"LIS2": self._list,
            b"SEND": self._take_file,
            b"RECV": self._give_file,
        }
        while True:
            request, size = self._header()
            if request == b"QUIT":
                return
            path = self._stream.read(size).decode(errors="surrogateescape")
            if request not in requests:
                self._fail(f"unknown command {request!r}")
                return
            requests[request](request, path)

    def _header(self) -> tuple[bytes, int]:
        head = self._stream.read(8)
        return head[:4], _U32.unpack(head[4:])[0]

    def _fail(self, reason: str) -> None:
        text = reason.encode(errors="surrogateescape")
        self._stream.write(b"FAIL" + _U32.pack(len(text)) + text)

    def _status(self, path: Path) -> tuple[int, int, int]:
        status = path.lstat()
        return status.st_mode, self._sandbox.size(path), int(status.st_mtime)

    def _stat(self, request: bytes, path: str) -> None:
        try:
            fields = self._status(self._sandbox.host_path(path))
        except OSError:
            fields = (0, 0, 0)
        self._stream.write(b"STAT" + struct.pack("<3I", *(f & 0xFFFFFFFF for f in fields)))

    def _stat2(self, request: bytes, path: str) -> None:
        self._stream.write(request + self._stat2_fields(self._sandbox.host_path(path)))

    def _stat2_fields(self, path: Path) -> bytes:
        try:
            s = path.lstat()
            size = self._sandbox.size(path)
        except OSError as error:
            return _STAT2.pack(error.errno or errno.EIO, *[0] * 10)
        times = (int(s.st_atime), int(s.st_mtime), int(s.st_ctime))
        # User and group of the shell, as Android numbers them
        return _STAT2.pack(0, s.st_dev, s.st_ino, s.st_mode, s.st_nlink, 2000, 2000, size, *times)

    def _list(self, request: bytes, path: str) -> None:
        second = request == b"LIS2"
        folder = self._sandbox.host_path(path)
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        for entry in entries:
            name = os.fsencode(entry.name)
            if second:
                fields = b"DNT2" + self._stat2_fields(entry)
            else:
                fields = b"DENT" + struct.pack(
                    "<3I", *(f & 0xFFFFFFFF for f in self._status(entry))
                )
            self._stream.write(fields + _U32.pack(len(name)) + name)
        self._stream.write(b"DONE" + bytes(_STAT2.size + 4 if second else 16))

    def _take_file(self, request: bytes, argument: str) -> None:
        self._happen("push")
        name, _, mode = argument.rpartition(",")
        path = self._sandbox.host_path(name)
        try:
            if not self._sandbox.may_write(name):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            path.unlink(missing_ok=True)
            with path.open("wb") as file:
                mtime = self._take_data(file.write, room=self._free_bytes())
        except OSError as error:
            if path.is_file():
                path.unlink()
            self._drain()
            self._fail(f"couldn't create file: {os.strerror(error.errno or errno.EIO)}")
            return
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._sandbox.admit(path)
        path.chmod(int(mode or "420") & 0o777)
        os.utime(path, (mtime, mtime))
        self._stream.write(b"OKAY" + _U32.pack(0))

    def _take_data(self, write: Callable[[bytes], object], *, room: int) -> int:
        while True:
            kind, size = self._header()
            if kind == b"DONE":
                return size
            if size > CHUNK or kind != b"DATA":
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            data = self._stream.read(size)
            room -= size
            if room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(data)

    def _drain(self) -> None:
        while True:
            kind, size = self._header()
            if kind == b"DONE":
                return
            self._stream.read(size)

    def _give_file(self, request: bytes, name: str) -> None:
        self._happen("pull")
        path = self._sandbox.host_path(name)
        try:
            for piece in self._sandbox.contents(path):
                for start in range(0, len(piece), CHUNK):
                    data = piece[start : start + CHUNK]
                    self._stream.write(b"DATA" + _U32.pack(len(data)) + data)
        except OSError as error:
            self._fail(f"open failed: {os.strerror(error.errno or errno.EIO)}")
            return
        self._stream.write(b"DONE" + _U32.pack(0))
