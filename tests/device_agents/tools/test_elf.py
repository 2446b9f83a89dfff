from __future__ import annotations

import platform
import struct
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.errors import BinaryRefused
from device_agents.tools.elf import Elf, System, canonical_abi, read_elf, require_abi

ANDROID, LINUX = b"/system/bin/linker64\0", b"/lib/ld-linux-aarch64.so.1\0"
PHONE = "arm64-v8a,armeabi-v7a,armeabi"


def write_elf(machine: int, *, bits: int = 64, interpreter: bytes = ANDROID) -> bytes:
    """Return the header of a binary, one program header, and the path that it names."""
    wide = bits == 64
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    size, entry = (64, 56) if wide else (52, 32)
    layout = "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH"
    rest = (3, machine, 1, 0, size, 0, 0, size, entry, 1 if interpreter else 0, 0, 0, 0)
    header = ident + struct.pack(layout, *rest)
    at, length = size + entry, len(interpreter)
    program = (
        struct.pack("<IIQQQQQQ", 3, 4, at, 0, 0, length, length, 1)
        if wide
        else struct.pack("<IIIIIIII", 3, at, 0, 0, length, length, 4, 1)
    )
    return header + (program + interpreter if interpreter else b"")


@pytest.mark.parametrize(
    ("machine", "bits", "interpreter", "expected"),
    [
        (183, 64, ANDROID, Elf("arm64-v8a", "android")),
        (183, 64, LINUX, Elf("arm64-v8a", "linux")),
        (183, 64, b"", Elf("arm64-v8a", None)),
        (40, 32, b"/system/bin/linker\0", Elf("armeabi-v7a", "android")),
        (40, 32, b"/lib/ld-linux-armhf.so.3\0", Elf("armeabi-v7a", "linux")),
        (62, 64, ANDROID, Elf("x86_64", "android")),
        (3, 32, b"/system/bin/linker\0", Elf("x86", "android")),
    ],
)
def test_the_header_tells_processor_and_system(
    machine: int, bits: int, interpreter: bytes, expected: Elf
) -> None:
    assert read_elf(write_elf(machine, bits=bits, interpreter=interpreter)) == expected


def test_this_interpreter_is_for_this_machine() -> None:
    data = Path(sys.executable).resolve().read_bytes()
    require_abi(data, platform.machine(), system="linux")
    with pytest.raises(BinaryRefused):
        require_abi(data, platform.machine(), system="android")


def test_a_phone_runs_the_binaries_of_each_abi_that_it_lists() -> None:
    require_abi(write_elf(183), PHONE, system="android")
    require_abi(write_elf(40, bits=32), PHONE, system="android")
    require_abi(write_elf(183, interpreter=b""), PHONE, system="android")
    require_abi(write_elf(183, interpreter=LINUX), ["aarch64"], system="linux")


@pytest.mark.parametrize(
    ("data", "abis", "system", "message"),
    [
        (write_elf(62), PHONE, "android", "arm64-v8a or armeabi-v7a .*found one for x86_64"),
        (write_elf(40, bits=32), "arm64-v8a", "android", "found one for armeabi-v7a android"),
        (write_elf(183, interpreter=LINUX), PHONE, "android", "found one for arm64-v8a linux"),
        (write_elf(183), ["aarch64"], "linux", "found one for arm64-v8a android"),
        (write_elf(183), "", "android", "a device that says its ABI"),
        (write_elf(8), PHONE, "android", "found 64-bit machine 8"),
        (b"#!/bin/sh\n", PHONE, "android", "expected an ELF binary"),
        (b"", PHONE, "android", "expected an ELF binary"),
    ],
)
def test_a_binary_for_something_else_is_refused(
    data: bytes, abis: str, system: System, message: str
) -> None:
    with pytest.raises(BinaryRefused, match=message):
        require_abi(data, abis, system=system)


@given(st.integers(0, 200), st.sampled_from([32, 64]), st.binary(max_size=80))
def test_a_damaged_header_is_refused_or_read(cut: int, bits: int, noise: bytes) -> None:
    data = write_elf(183 if bits == 64 else 40, bits=bits)
    for damaged in (data[:cut], data[: cut // 2] + noise + data[cut // 2 :], data[:6] + noise):
        with suppress(BinaryRefused):
            read_elf(damaged)


def test_kernels_and_android_name_the_same_abi() -> None:
    assert {canonical_abi(name) for name in ("aarch64", "arm64", "arm64-v8a")} == {"arm64-v8a"}
