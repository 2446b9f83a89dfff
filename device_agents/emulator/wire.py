"""Message: the unit of the adb protocol, as it goes over the wire.

    command  arg0  arg1  length  sum of bytes  command ^ 0xffffffff   6 x uint32, little endian
    payload                                                           `length` bytes

Source: Android's ``packages/modules/adb/protocol.txt``. Peers of version 0x01000001 and later do
not look at the sum.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CONNECT, AUTH, OPEN, OKAY, CLOSE, WRITE = (
    int.from_bytes(name, "little")
    for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
VERSION_WITH_SUMS = 0x01000000
VERSION = 0x01000001
MAX_PAYLOAD = 1 << 20
AUTH_TOKEN, AUTH_SIGNATURE, AUTH_PUBLIC_KEY = 1, 2, 3

_HEADER = struct.Struct("<6I")
HEADER_SIZE = _HEADER.size


class NotAdb(Exception):
    """What came is no message of the adb protocol; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Header:
    """What precedes a payload; ``total`` is the sum of its bytes, 0 where peers leave it out."""

    command: int
    arg0: int
    arg1: int
    length: int
    total: int


def pack(command: int, arg0: int, arg1: int, payload: bytes = b"", *, with_sum: bool) -> bytes:
    """Return one message."""
    total = sum(payload) & 0xFFFFFFFF if with_sum else 0
    return _HEADER.pack(command, arg0, arg1, len(payload), total, command ^ 0xFFFFFFFF) + payload


def unpack_header(data: bytes) -> Header:
    """Return the header in these 24 bytes.

    Raises:
        NotAdb: it is none, or announces more than a daemon takes.
    """
    command, arg0, arg1, length, total, magic = _HEADER.unpack(data)
    if magic != command ^ 0xFFFFFFFF or length > MAX_PAYLOAD:
        raise NotAdb(f"expected a message of the adb protocol, found {data!r}")
    return Header(command, arg0, arg1, length, total)
