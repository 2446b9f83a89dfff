"""Sync: adb's protocol for files, over any stream to a phone's adb daemon.

push    SEND path,mode  DATA bytes ...  DONE mtime  -->        <-- OKAY, or FAIL reason
pull    RECV path                                   -->        <-- DATA bytes ...  DONE, or FAIL

Each word is followed by a number of 32 bits, little endian: a length, or the time of DONE.
"""

from __future__ import annotations

import stat
import struct
import time
from collections.abc import Iterator
from typing import Protocol

from device_agents.errors import ConnectionLost, PullFailed, PushFailed

SERVICE = "sync:"
CHUNK_BYTES = 64 * 1024  # the most that an adb daemon takes
CHUNKS_A_WRITE = 8
_HEAD = struct.Struct("<4sI")


class Stream(Protocol):
    """Bytes to and from one service of an adb daemon, under the deadline it was opened with."""

    def send(self, data: bytes) -> bool:
        """Send all of this; False when the other side takes no more, and may have said why.

        Raises:
            ConnectionLost, CommandTimeout: it did not get through.
        """
        ...

    def receive_some(self) -> bytes:
        """Return what came next; nothing at the end.

        Raises:
            ConnectionLost, CommandTimeout: it did not come.
        """
        ...

    def close(self) -> None:
        """Let the service go; again is harmless."""
        ...


def send_file(stream: Stream, data: bytes, path: str, mode: int) -> None:
    """Write a file, in place, on a stream to `SERVICE`.

    Raises:
        PushFailed: the phone says why not.
        ConnectionLost, CommandTimeout: it is not known whether it was written.
    """
    for piece in _messages(data, path, mode):
        if not stream.send(piece):
            break
    reader = _Reader(stream)
    word, number = _HEAD.unpack(reader.exactly(_HEAD.size))
    if word == b"FAIL":
        raise PushFailed(f"{path} did not arrive: {_text(reader.exactly(number))}")
    if word != b"OKAY":
        raise ConnectionLost(f"expected OKAY after a push, found {word!r}: reconnect")


def receive_file(stream: Stream, path: str) -> bytes:
    """Return a file's bytes, on a stream to `SERVICE`.

    Raises:
        PullFailed: the phone says why not.
        ConnectionLost, CommandTimeout: it did not come whole.
    """
    name = path.encode()
    stream.send(_HEAD.pack(b"RECV", len(name)) + name)
    reader = _Reader(stream)
    pieces = []
    while True:
        word, number = _HEAD.unpack(reader.exactly(_HEAD.size))
        match word:
            case b"DATA":
                pieces.append(reader.exactly(number))
            case b"DONE":
                return b"".join(pieces)
            case b"FAIL":
                raise PullFailed(f"{path} cannot be read: {_text(reader.exactly(number))}")
            case _:
                raise ConnectionLost(f"expected DATA in a pull, found {word!r}: reconnect")


def _messages(data: bytes, path: str, mode: int) -> Iterator[bytes]:
    target = f"{path},{stat.S_IFREG | mode}".encode()
    yield _HEAD.pack(b"SEND", len(target)) + target
    step = CHUNK_BYTES * CHUNKS_A_WRITE
    view = memoryview(data)
    for start in range(0, len(data), step):
        yield b"".join(_chunks(view[start : start + step]))
    yield _HEAD.pack(b"DONE", int(time.time()))


def _chunks(data: memoryview) -> Iterator[bytes | memoryview]:
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES]
        yield _HEAD.pack(b"DATA", len(chunk))
        yield chunk


def _text(reason: bytes) -> str:
    return reason.decode(errors="replace").strip()


class _Reader:
    """Takes a stream apart by sizes."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._unread = stream, bytearray()

    def exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            piece = self._stream.receive_some()
            if not piece:
                raise ConnectionLost("the phone ended a file transfer in the middle: reconnect")
            self._unread += piece
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken
