"""Settings: what the harness changes on a phone, recorded there first, and put back afterwards.

    read the old values -> record them on the phone -> set ...... put back -> remove the record

The record is a file on the device itself: whoever comes next, from whichever host, puts back what
a killed session left. It is there before the first change and until after the last undo, so a
session may be killed between any two commands.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from device_agents.conditions import android
from device_agents.conditions.probe import probe
from device_agents.conditions.reading import Unknown
from device_agents.errors import DeviceUnusable, PullFailed
from device_agents.transports.transport import PHONE_SCRATCH, Completed, Transport

PHONE_HOME = f"{PHONE_SCRATCH}/hilnas"
SETTINGS_TIMEOUT_S = 60.0  # each is a process of the phone's Java runtime
_RECORD = "settings"
_FIXED = "cmd power set-fixed-performance-mode-enabled"
_END = "end"
# Set in this order and put back in the reverse one: a brightness holds only in manual mode
_WANTED = (
    ("global", "stay_on_while_plugged_in", "3"),  # on AC and on USB
    ("system", "screen_brightness_mode", "0"),  # manual
    ("system", "screen_brightness", "10"),
)
_LINE = re.compile(r"setting (global|system) (\w+) (.*)")


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be put back: old values by namespace and key, ``null`` where there was none.

    Fixed performance cannot be read, only set: it is put back to off. ``slept`` says that the
    screen was off.
    """

    settings: tuple[tuple[str, str, str], ...]
    fixed_performance: bool
    slept: bool


def format_record(record: Record) -> str:
    """Return the text of a record's file."""
    lines = [f"setting {' '.join(setting)}" for setting in record.settings]
    lines += ["fixed_performance"] * record.fixed_performance + ["slept"] * record.slept
    return "\n".join([*lines, _END, ""])


def parse_record(text: str) -> Record | None:
    """Return the record in a file; None of one without its end, under which nothing was changed.

    Raises:
        DeviceUnusable: it is not ours.
    """
    lines = text.splitlines()
    if not lines or lines.pop() != _END:
        return None
    settings = [_LINE.fullmatch(line) for line in lines]
    flags = [line for line, found in zip(lines, settings, strict=True) if not found]
    if not set(flags) <= {"fixed_performance", "slept"}:
        raise DeviceUnusable(f"expected a record of settings, found {flags[0]!r}: remove the file")
    return Record(
        tuple((found[1], found[2], found[3]) for found in settings if found),
        fixed_performance="fixed_performance" in flags,
        slept="slept" in flags,
    )


def apply_settings(
    transport: Transport, *, fixed_performance: bool, home: str = PHONE_HOME
) -> Record:
    """Keep the phone awake at a low fixed brightness, and its clocks steady if that is asked for.

    What an earlier session left is put back first, so that the record always holds the values
    from before any of them. Takes four round trips or five.

    Raises:
        DeviceUnusable: an old value cannot be read (nothing was changed then), or the phone does
            not take a setting (what was changed has been put back).
        TransportError: the phone went away; the next call puts back what this one changed.
    """
    undo_settings(transport, home=home)
    record = _read(transport, fixed_performance)
    _shell(transport, 'mkdir -p "$1"', home)
    transport.push(format_record(record).encode(), f"{home}/{_RECORD}")
    done = _shell(transport, _setting_script(fixed_performance))
    if done.exit_code:
        undo_settings(transport, home=home)
        raise DeviceUnusable(
            f"{transport.address}: the phone does not take a setting ({_last_line(done)}):"
            " allow 'USB debugging (Security settings)' where there is such an option, or measure"
            " with power mode as-is"
        )
    return record


def undo_settings(transport: Transport, *, home: str = PHONE_HOME) -> Record | None:
    """Put back what the record on the phone says, and remove it; return it, None without one.

    May be done again and at any time.

    Raises:
        DeviceUnusable: a setting could not be put back; the record is kept for the next try.
    """
    path = f"{home}/{_RECORD}"
    try:
        text = transport.pull(path).decode(errors="replace")
    except PullFailed:
        return None
    record = parse_record(text)
    done = _shell(transport, _undo_script(record), path)
    if done.exit_code:
        raise DeviceUnusable(
            f"{transport.address}: not all settings could be put back ({_last_line(done)}):"
            f" try again, or put them back by hand; they are in {path}"
        )
    return record


def _read(transport: Transport, fixed_performance: bool) -> Record:
    names = [f"{space} {key}" for space, key, _ in _WANTED]
    commands = {f"s{i}": f"settings get {name}" for i, name in enumerate(names)}
    outputs = probe(transport, commands | {"power": "dumpsys power | grep mWakefulness="})
    settings = []
    for i, (space, key, _) in enumerate(_WANTED):
        text = outputs.reading(f"s{i}")
        value = text if isinstance(text, Unknown) else android.parse_setting(text)
        if isinstance(value, Unknown):
            raise DeviceUnusable(
                f"{transport.address}: expected the setting {names[i]}; {value}:"
                " nothing was changed"
            )
        settings.append((space, key, value))
    slept = android.parse_wakefulness(outputs["power"].text) in ("Asleep", "Dozing")
    return Record(tuple(settings), fixed_performance, slept)


def _setting_script(fixed_performance: bool) -> str:
    """Return what sets; the record is on the disk, and not only on its way there, before it."""
    lines = ["exec </dev/null", "sync"]
    for space, key, value in _WANTED:
        lines.append(f"settings put {space} {key} {value} || exit 1")
        lines.append(
            f'[ "$(settings get {space} {key})" = {value} ] || {{ echo "{key} stays"; exit 1; }}'
        )
    lines.append("input keyevent KEYCODE_WAKEUP || exit 1")
    if fixed_performance:
        lines.append(f"{_FIXED} true || exit 1")
    return "\n".join(lines)


def _undo_script(record: Record | None) -> str:
    """Return what puts back as much as it can, and removes the record if that is all."""
    lines = ["exec </dev/null", "failed=0"]
    if record is not None:
        if record.fixed_performance:
            # Where the phone has no such mode, there is nothing to put back
            lines.append(f"{_FIXED} false >/dev/null 2>&1")
        for space, key, value in reversed(record.settings):
            if value == "null":
                lines.append(f"settings delete {space} {key} >/dev/null || failed=1")
            else:
                lines.append(f"settings put {space} {key} {shlex.quote(value)} || failed=1")
        if record.slept:
            lines.append("input keyevent KEYCODE_SLEEP || failed=1")
    lines.append('[ $failed = 0 ] && rm -f "$1"')
    return "\n".join(lines)


def _shell(transport: Transport, script: str, *arguments: str) -> Completed:
    argv = ["sh", "-c", script, "sh", *arguments]
    return transport.run(argv, timeout_s=SETTINGS_TIMEOUT_S)


def _last_line(done: Completed) -> str:
    lines = (done.text + done.stderr.decode(errors="replace")).strip().splitlines()
    return lines[-1].strip()[:120] if lines else f"exit code {done.exit_code}"
