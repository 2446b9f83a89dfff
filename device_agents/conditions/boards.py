"""Board readings: what a Raspberry Pi's firmware and a Jetson's power model say.

Pure parsers: text in; a value, or `Unknown` with what was found instead, out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_agents.conditions.reading import Reading, not_understood

# Raspberry Pi documentation, `vcgencmd get_throttled`: bits 16 to 19 are the same since boot
_NOW = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_BOOT = 16


@dataclass(frozen=True, slots=True)
class Throttling:
    """The firmware's throttling bits; those since boot are cleared by a reboot only."""

    bits: int

    @property
    def now(self) -> tuple[str, ...]:
        """What holds at this moment."""
        return tuple(name for bit, name in _NOW.items() if self.bits >> bit & 1)

    @property
    def since_boot(self) -> tuple[str, ...]:
        """What has happened since boot."""
        return tuple(name for bit, name in _NOW.items() if self.bits >> bit + _SINCE_BOOT & 1)

    def new_in(self, later: Throttling) -> tuple[str, ...]:
        """Return what holds in a later reading, or happened until it, and not in this one."""
        now = [name for name in later.now if name not in self.now]
        since = [name for name in later.since_boot if name not in self.since_boot]
        return tuple(dict.fromkeys(now + since))


@dataclass(frozen=True, slots=True)
class PowerMode:
    """A Jetson's mode of ``nvpmodel``; part of what the device is: 10 W and MAXN are two."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} (mode {self.number})"


def parse_throttling(text: str) -> Reading[Throttling]:
    """Return the bits of ``throttled=0x50005``."""
    found = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", text.strip())
    return Throttling(int(found[1], 16)) if found else not_understood(text, "throttled=0x...")


def parse_temperature_c(text: str) -> Reading[float]:
    """Return the degrees of ``temp=48.3'C``."""
    found = re.fullmatch(r"temp=(-?\d+(?:\.\d+)?)'C", text.strip())
    return float(found[1]) if found else not_understood(text, "temp=...'C")


def parse_clock_hz(text: str) -> Reading[int]:
    """Return the clock of ``frequency(48)=1800457088``."""
    found = re.fullmatch(r"frequency\(\d+\)=([1-9]\d*)", text.strip())
    return int(found[1]) if found else not_understood(text, "frequency(N)=Hz")


def parse_power_mode(text: str) -> Reading[PowerMode]:
    """Return the mode of ``nvpmodel -q``: its name on one line, its number on the next."""
    found = re.search(r"NV Power Mode: *(\S.*?)\s*\n\s*(\d+)\s*$", text, re.MULTILINE)
    return PowerMode(found[1], int(found[2])) if found else not_understood(text, "NV Power Mode")
