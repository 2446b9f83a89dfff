"""Elf: for which processor and system a binary is built, from the header of its file.

class and machine             -->  ABI, under Android's name and the kernel's (``uname -m``)
the program's interpreter     -->  Android or Linux; none: a static binary, which runs on both
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from device_agents.errors import BinaryRefused

System = Literal["android", "linux"]

_MAGIC = b"\x7fELF"
_PT_INTERP = 3
# (bits, e_machine) -> ABI
_ABIS = {
    (32, 3): "x86",
    (32, 40): "armeabi-v7a",
    (64, 62): "x86_64",
    (64, 183): "arm64-v8a",
    (64, 243): "riscv64",
}
# Names of the same ABI, as kernels and packages say it
_ALIASES = {
    "aarch64": "arm64-v8a",
    "arm64": "arm64-v8a",
    "armv8l": "armeabi-v7a",
    "armv7l": "armeabi-v7a",
    "armhf": "armeabi-v7a",
    "arm": "armeabi-v7a",
    "i386": "x86",
    "i686": "x86",
    "amd64": "x86_64",
    "x86-64": "x86_64",
}


@dataclass(frozen=True, slots=True)
class Elf:
    """What a binary needs: its ABI under Android's name, and its system, None for any."""

    abi: str
    system: System | None

    def __str__(self) -> str:
        return self.abi if self.system is None else f"{self.abi} {self.system}"


def canonical_abi(name: str) -> str:
    """Return Android's name of an ABI, given that or the kernel's: ``aarch64`` is arm64-v8a."""
    return _ALIASES.get(name.strip(), name.strip())


def read_elf(data: bytes) -> Elf:
    """Return what the binary is built for; ``data`` is the file, or at least its beginning.

    Raises:
        BinaryRefused: it is no ELF binary, is cut, or for an unknown processor.
    """
    try:
        if data[:4] != _MAGIC or data[4] not in (1, 2) or data[5] not in (1, 2):
            raise BinaryRefused(f"expected an ELF binary, found a file that begins {data[:8]!r}")
        bits, order = 32 * data[4], "<" if data[5] == 1 else ">"
        (machine,) = struct.unpack_from(f"{order}H", data, 18)
        interpreter = _interpreter(data, bits, order)
    except (struct.error, IndexError, OverflowError) as error:  # offsets that lead nowhere
        raise BinaryRefused(f"expected an ELF binary, found {len(data)} bytes of one") from error
    abi = _ABIS.get((bits, machine)) if order == "<" else None
    if abi is None:
        raise BinaryRefused(f"expected a known processor, found {bits}-bit machine {machine}")
    if interpreter is None:
        return Elf(abi, None)
    android = interpreter.startswith((b"/system/", b"/apex/"))
    return Elf(abi, "android" if android else "linux")


def require_abi(data: bytes, abis: str | Sequence[str], *, system: System | None = None) -> None:
    """Return if a device that runs these ABIs can run this binary.

    Args:
        data: the binary's bytes.
        abis: all that the device lists, ``ro.product.cpu.abilist`` or ``uname -m``, as a list or
            as text with commas; a 64-bit phone that lists a 32-bit ABI runs its binaries too.
        system: the device's, where it is known: a Linux binary does not start on Android.

    Raises:
        BinaryRefused: it cannot; names both.
    """
    names = abis.split(",") if isinstance(abis, str) else abis
    runs = [canonical_abi(name) for name in names if name.strip()]
    found = read_elf(data)
    if found.abi not in runs or (None not in (system, found.system) and found.system != system):
        wanted = " or ".join(runs) or "a device that says its ABI"
        raise BinaryRefused(
            f"expected a binary for {wanted}{f' {system}' if system else ''}, found one for {found}"
        )


def _interpreter(data: bytes, bits: int, order: str) -> bytes | None:
    """Return the path of the dynamic loader that the binary asks for, if it asks for one."""
    if bits == 64:
        (table,) = struct.unpack_from(f"{order}Q", data, 32)
        entry_size, entries = struct.unpack_from(f"{order}HH", data, 54)
    else:
        (table,) = struct.unpack_from(f"{order}I", data, 28)
        entry_size, entries = struct.unpack_from(f"{order}HH", data, 42)
    for at in range(table, table + entry_size * entries, entry_size or 1):
        if struct.unpack_from(f"{order}I", data, at)[0] == _PT_INTERP:
            layout, shift = (f"{order}Q", 8) if bits == 64 else (f"{order}I", 4)
            (offset,) = struct.unpack_from(layout, data, at + shift)
            (size,) = struct.unpack_from(layout, data, at + (32 if bits == 64 else 16))
            return data[offset : offset + size].rstrip(b"\0")
    return None
