"""This machine as Linux describes it: cores, memory, names. What cannot be read is "unknown"."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from device_agents.errors import DeviceUnusable

UNKNOWN = "unknown"
_CPU = Path("/sys/devices/system/cpu")


def choose_core(wanted: int | None) -> int:
    """Return the core to measure on: the wanted one, or the last of the fastest allowed ones.

    Raises:
        DeviceUnusable: the wanted core is not ours to use, or this is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise DeviceUnusable(f"expected Linux for local timing, found {sys.platform}: use a device")
    allowed = sorted(os.sched_getaffinity(0))
    if wanted is None:
        return max(allowed, key=lambda core: (_maximum_khz(core), core))
    if wanted not in allowed:
        raise DeviceUnusable(f"expected one of the cores {allowed}, found cpu={wanted}")
    return wanted


def _maximum_khz(core: int) -> int:
    text = _read(_CPU / f"cpu{core}/cpufreq/cpuinfo_max_freq")
    return int(text) if text.isdecimal() else 0


def power_mode(core: int) -> str:
    """Return the frequency governor of a core."""
    return _read(_CPU / f"cpu{core}/cpufreq/scaling_governor")


def device_model() -> str:
    """Return the board's name if it has one, else the processor's, else the machine type."""
    board = _read(Path("/proc/device-tree/model"))
    return next(
        (name for name in (board, _cpuinfo("model name"), platform.machine()) if name != UNKNOWN),
        UNKNOWN,
    )


def soc() -> str:
    """Return what tells processors of one name apart: the SoC on boards, the stepping on PCs."""
    compatible = _read(Path("/proc/device-tree/compatible"))
    if compatible != UNKNOWN:
        return compatible.split("\0")[-1]
    names = ("vendor_id", "cpu family", "model", "stepping")
    values = {name: _cpuinfo(name) for name in names}
    if UNKNOWN in values.values():
        return UNKNOWN
    return "{vendor_id} family {cpu family} model {model} stepping {stepping}".format(**values)


def available_bytes() -> int:
    """Return the memory that can be taken without swapping.

    Raises:
        DeviceUnusable: the kernel does not say.
    """
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise DeviceUnusable("expected MemAvailable in /proc/meminfo, found none: give capacity_bytes")


def _cpuinfo(name: str) -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return UNKNOWN


def _read(path: Path) -> str:
    try:
        return path.read_text().strip().strip("\0") or UNKNOWN
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
