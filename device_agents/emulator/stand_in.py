"""Stand-in: a file that passes for a phone's ``benchmark_model``, and runs ours.

It begins with a valid ELF header for the phone's processor, so that whoever checks a binary
before a push finds what he expects, and goes on with a marker. On the emulated phone's disk its
first bytes are a ``#!`` line of the same length instead; what leaves the phone has them back.

    0          256             320            336
    ELF header | ELF header    | MARKER       | end
    #! line... | (kept here)   |
"""

from __future__ import annotations

import struct

MARKER = b"hilnas stand-in\0"
_KEPT_AT = 256
_HEADER_SIZE = 64
_MARKER_AT = _KEPT_AT + _HEADER_SIZE
SIZE = _MARKER_AT + len(MARKER)

# Android's name -> (64 bits?, ELF's e_machine)
_MACHINES = {
    "arm64-v8a": (True, 183),
    "armeabi-v7a": (False, 40),
    "x86_64": (True, 62),
    "x86": (False, 3),
    "riscv64": (True, 243),
}


def stand_in_binary(abi: str) -> bytes:
    """Return a stand-in for the official timing tool, built for ``abi``.

    Raises:
        ValueError: Android has no such ABI.
    """
    if abi not in _MACHINES:
        raise ValueError(f"expected one of the ABIs {sorted(_MACHINES)}, found {abi!r}")
    wide, machine = _MACHINES[abi]
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    size, layout = (64, "<HHIQQQIHHHHHH") if wide else (52, "<HHIIIIIHHHHHH")
    header = ident + struct.pack(layout, 3, machine, 1, 0, 0, 0, 0, size, 0, 0, 0, 0, 0)
    header = header.ljust(_HEADER_SIZE, b"\0")
    return header.ljust(_KEPT_AT, b"\0") + header + MARKER


def is_stand_in(data: bytes) -> bool:
    """Return whether a file that begins like this is one, in either form."""
    return data[_MARKER_AT:SIZE] == MARKER


def stand_in_abi(data: bytes) -> str:
    """Return the ABI that a stand-in was built for."""
    (machine,) = struct.unpack_from("<H", data, _KEPT_AT + 18)
    return next(abi for abi, (_, number) in _MACHINES.items() if number == machine)


def with_interpreter(data: bytes, interpreter: str) -> bytes:
    """Return the beginning of a stand-in as it lies on the emulated disk.

    Raises:
        ValueError: the interpreter's path is too long to fit.
    """
    line = f"#!{interpreter} {stand_in_abi(data)}\n".encode()
    if len(line) > _KEPT_AT:
        raise ValueError(f"expected a path of at most {_KEPT_AT - 20} characters: {interpreter}")
    return line.ljust(_KEPT_AT, b"\0") + data[_KEPT_AT:]


def with_header(data: bytes) -> bytes:
    """Return the beginning of a stand-in as it was pushed; the inverse of `with_interpreter`."""
    header = data[_KEPT_AT:_MARKER_AT]
    return header.ljust(_KEPT_AT, b"\0") + data[_KEPT_AT:]
