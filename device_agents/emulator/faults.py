"""Fault: what goes wrong on an emulated phone, and when. Written by hand or read from a script.

    [[fault]]
    when = "shell 3"        # the third command; "shell 3+": each from the third on
    do = "drop"             # pull the cable
    after_bytes = 1000      # once so many bytes of the connection went by since then
    after_s = 0.5           # or after a time

Events    connect, shell, push, pull, run (of the timing tool); the first where no number is given
Link      drop | stall [SECONDS] | eof | offline | unauthorized | reboot
Phone     serial NAME | fingerprint TEXT | disk-full [BYTES LEFT] | thermal STATUS | battery PERCENT
          | power-saver | screen-off | cap PERCENT | slow FACTOR | heat CELSIUS
Tool      crash 134|139 | hang | garbage | empty | cpu-fallback | wrong-abi   (run only)

A fault that happens once is used up; a script that is not used up at the end of a test has not
tested what it says: see `Faults.pending`.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from device_agents.errors import DeviceError

EVENTS = ("connect", "shell", "push", "pull", "run")
_NUMBER = r"\d+(?:\.\d+)?"
_LINK = rf"drop|stall(?: {_NUMBER})?|eof|offline|unauthorized|reboot"
_PHONE = (
    rf"serial \S+|fingerprint \S+|disk-full(?: \d+)?|thermal [0-6]|battery \d+|power-saver"
    rf"|screen-off|cap {_NUMBER}|slow {_NUMBER}|heat {_NUMBER}"
)
_TOOL = r"crash (?:134|139)|hang|garbage|empty|cpu-fallback|wrong-abi"
_WHEN = re.compile(rf"(?P<event>{'|'.join(EVENTS)})(?: (?P<number>[1-9]\d*)(?P<onwards>\+)?)?")
_DO = re.compile(rf"(?:{_LINK}|{_PHONE}|{_TOOL})")
_KEYS: dict[str, type | tuple[type, ...]] = {
    "when": str,
    "do": str,
    "after_bytes": int,
    "after_s": (int, float),
}


class FaultScriptError(DeviceError, ValueError):
    """Not a fault, or not a script of faults; names what is wrong and what there is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``do`` at the ``number``-th ``event``, or at each from then on."""

    event: str
    number: int
    onwards: bool
    action: str
    argument: str
    after_bytes: int = 0
    after_s: float = 0.0

    @property
    def is_of_tool(self) -> bool:
        """Whether the timing tool itself misbehaves."""
        return re.fullmatch(_TOOL, f"{self.action} {self.argument}".strip()) is not None

    @property
    def value(self) -> float:
        """The argument as a number.

        Raises:
            ValueError: there is none.
        """
        return float(self.argument)


def parse_fault(when: str, do: str, *, after_bytes: int = 0, after_s: float = 0.0) -> Fault:
    """Return the fault in these words.

    Raises:
        FaultScriptError: there is no such event or action.
    """
    event = _WHEN.fullmatch(when)
    if event is None:
        raise FaultScriptError(f"expected when = 'EVENT [N][+]' of {', '.join(EVENTS)}: {when!r}")
    if _DO.fullmatch(do) is None:
        raise FaultScriptError(f"expected do = one of {_LINK}|{_PHONE}|{_TOOL}, found {do!r}")
    action, _, argument = do.partition(" ")
    fault = Fault(
        event["event"],
        int(event["number"] or 1),
        event["onwards"] is not None,
        action,
        argument,
        after_bytes,
        after_s,
    )
    if fault.is_of_tool and fault.event != "run":
        raise FaultScriptError(f"expected when = 'run ...' for do = {do!r}, found {when!r}")
    if min(after_bytes, after_s) < 0:
        raise FaultScriptError(f"expected after_bytes and after_s from 0 on: {do!r}")
    return fault


def parse_script(text: str) -> tuple[Fault, ...]:
    """Return the faults of a script in TOML.

    Raises:
        FaultScriptError: it is none; says which fault is wrong.
    """
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FaultScriptError(f"expected a fault script in TOML: {error}") from error
    faults = entries.pop("fault", [])
    if entries or not isinstance(faults, list):
        raise FaultScriptError(f"expected only [[fault]] tables, found {sorted(entries)}")
    return tuple(_of_entry(number, entry) for number, entry in enumerate(faults, 1))


def _of_entry(number: int, entry: dict[str, Any]) -> Fault:
    for key, value in entry.items():
        if key not in _KEYS or not isinstance(value, _KEYS[key]):
            raise FaultScriptError(f"fault {number}: expected {', '.join(_KEYS)}, found {key!r}")
    if not {"when", "do"} <= set(entry):
        raise FaultScriptError(f"fault {number}: expected when and do, found {sorted(entry)}")
    try:
        return parse_fault(**entry)
    except FaultScriptError as error:
        raise FaultScriptError(f"fault {number}: {error}") from error


class Faults:
    """The faults of one phone, and how often each event has been; safe between threads."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._faults = list(faults)
        self._counts: Counter[str] = Counter()
        self._happened: list[Fault] = []

    def add(self, when: str, do: str, *, after_bytes: int = 0, after_s: float = 0.0) -> None:
        """Add a fault; its number counts events from the phone's start, past ones included.

        Raises:
            FaultScriptError: there is no such event or action.
        """
        fault = parse_fault(when, do, after_bytes=after_bytes, after_s=after_s)
        with self._lock:
            self._faults.append(fault)

    def add_next(self, event: str, do: str, *, after_bytes: int = 0, after_s: float = 0.0) -> None:
        """Add a fault for the next event of this kind, however many there have been."""
        self.add(f"{event} {self.count(event) + 1}", do, after_bytes=after_bytes, after_s=after_s)

    def clear(self) -> None:
        """Forget all faults; what has happened stays."""
        with self._lock:
            self._faults.clear()

    def count(self, event: str) -> int:
        """Return how often this event has been."""
        return self._counts[event]

    def happen(self, event: str) -> list[Fault]:
        """Count an event and return the faults that come with it."""
        with self._lock:
            self._counts[event] += 1
            count = self._counts[event]
            due = [
                fault
                for fault in self._faults
                if fault.event == event
                and (fault.number <= count if fault.onwards else fault.number == count)
            ]
            self._happened += due
            return due

    @property
    def happened(self) -> tuple[Fault, ...]:
        """What has gone wrong, in order."""
        return tuple(self._happened)

    @property
    def pending(self) -> tuple[Fault, ...]:
        """The faults that have not happened."""
        return tuple(fault for fault in self._faults if fault not in self._happened)
