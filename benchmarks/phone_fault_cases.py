"""Case: one thing that goes wrong with a phone, a timing tool or a harness, and what mends it.

A phone that suffers is slow as well, 20 times: a latency that was taken then, and let through,
shows by its size. Source of the list: the failure modes of phone harnesses in use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from device_agents.emulator.faults import Fault, parse_fault
from device_agents.emulator.phone import DEFAULT_SERIAL, EmulatedPhone
from device_agents.emulator.state import State

Killed = Literal["before the job", "before a row is kept", "in a run", "by Ctrl-C"]
Do = Callable[[EmulatedPhone], None]
SLOW = "slow 20"


@dataclass(frozen=True, slots=True)
class Case:
    """``before`` happens to the phone ahead of the session, ``faults`` during it.

    ``cause`` is a word of the error that has to come, empty where the session has to recover by
    itself; then ``passes`` says that the phone gets well after the first invalid visit. ``killed``
    is when the harness is.
    """

    name: str
    faults: tuple[Fault, ...] = ()
    before: Do | None = None
    cause: str = ""
    passes: bool = False
    killed: Killed | None = None


def mend(phone: EmulatedPhone) -> None:
    """Do what a person does: cool, charge, plug in and trust the phone, and make room on it."""
    state, fresh = phone.state, State(phone.profile, DEFAULT_SERIAL)
    state.thermal_status, state.battery_level = fresh.thermal_status, fresh.battery_level
    state.battery_charging, state.wakefulness = True, fresh.wakefulness
    state.free_bytes, state.slowdown = fresh.free_bytes, fresh.slowdown
    state.power_saver, state.foreign_processes = False, ()
    state.fingerprint, state.serial = fresh.fingerprint, fresh.serial
    state.caps_khz.clear()
    phone.accept_key()


def _at(when: str, *actions: str, after_bytes: int = 0) -> tuple[Fault, ...]:
    return tuple(parse_fault(when, action, after_bytes=after_bytes) for action in actions)


def _full(phone: EmulatedPhone) -> None:
    phone.state.free_bytes = phone.sandbox.used_bytes() + 1000


def _harness(phone: EmulatedPhone) -> None:
    phone.state.foreign_processes = ("benchmark_model",)


def _low(phone: EmulatedPhone) -> None:
    phone.state.battery_level, phone.state.battery_charging = 12, False


def _saving(phone: EmulatedPhone) -> None:
    phone.state.power_saver = True


DEVICE = (
    Case("unauthorized", _at("connect 1", "unauthorized"), cause="USB debugging"),
    Case(
        "unauthorized after a drop",
        (*_at("run 3", "drop"), *_at("connect 2", "unauthorized")),
        cause="USB debugging",
    ),
    Case("offline", _at("connect 1", "offline"), cause="did not take"),
    Case("offline after a drop", (*_at("run 3", "drop"), *_at("connect 2", "offline"))),
    Case("cable dropped in a push", _at("push 3", "drop", after_bytes=900)),
    Case("cable dropped in a run", _at("run 3", "drop")),
    Case("cable dropped at each run", _at("run 1+", "drop")),
    Case("cable stalls for 2 s", _at("shell 24", "stall 2")),
    Case("end of a stream in a command", _at("shell 24", "eof", after_bytes=20)),
    Case("reboot in a push", _at("push 3", "reboot")),
    Case("reboot in a run", _at("run 4", "reboot")),
    Case(
        "system update in a run",
        _at("run 4", "fingerprint other/build:14/B2", SLOW, "reboot"),
        cause="other/build",
    ),
    Case(
        "another phone at the address",
        _at("run 4", "serial OTHER", "drop"),
        cause="OTHER",
    ),
    Case("/data full before", before=_full, cause="free"),
    Case("/data full in a push", _at("push 3", "disk-full"), cause="space"),
    Case("battery low before", before=_low, cause="battery"),
    Case("battery low in a run", _at("run 4", "battery 12", SLOW), passes=True),
    Case("battery stays low", _at("run 4", "battery 12", SLOW), cause="battery"),
    Case("thermal status rises", _at("run 4", "thermal 3", SLOW), passes=True),
    Case("thermal status stays", _at("run 4", "thermal 3", SLOW), cause="thermal"),
    Case("frequency cap", _at("run 4", "cap 30", SLOW), passes=True),
    Case("clocks step down unseen", _at("run 4", SLOW), passes=True),
    Case("clocks stay down unseen", _at("run 4", SLOW), cause="anchors"),
    Case("power saver before", before=_saving, cause="power saver"),
    Case("power saver comes on", _at("run 4", "power-saver", SLOW), passes=True),
    Case("screen off in a run", _at("run 4", "screen-off", SLOW), passes=True),
    Case("another harness's tool runs", before=_harness, cause="timing tools"),
)
TOOL = (
    Case("crash 134, once", _at("run 4", "crash 134")),
    Case("crash 139, always", _at("run 1+", "crash 139"), cause="139"),
    Case("hangs", _at("run 4", "hang")),
    Case("garbage", _at("run 4", "garbage")),
    Case("exit 0 without result", _at("run 4", "empty")),
    Case("delegate silently unused", _at("run 4", "cpu-fallback")),
    Case("wrong processor, 126", _at("run 1+", "wrong-abi"), cause="126"),
)
HARNESS = (
    Case("killed between push and run", killed="before the job"),
    Case("killed between run and store", killed="before a row is kept"),
    Case("killed in a run", killed="in a run"),
    Case("killed while the phone is hot", _at("run 4", "thermal 3", SLOW), killed="in a run"),
    Case("Ctrl-C in a run", killed="by Ctrl-C"),
    Case("Ctrl-C while the phone is hot", _at("run 4", "thermal 3", SLOW), killed="by Ctrl-C"),
)
CASES = (*DEVICE, *TOOL, *HARNESS)
