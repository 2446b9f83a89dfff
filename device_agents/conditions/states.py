"""State: all that was read of a device at one moment, in one round trip.

    PhoneState  --+
                  +-- LinuxState: cores, clusters, room, load, uptime
    BoardState  --+

Every part may be denied or missing; then it is `Unknown`, and the others are not the worse for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from device_agents.conditions import android, boards, linux
from device_agents.conditions.probe import Outputs, probe, render_script, split_outputs
from device_agents.conditions.reading import Reading, Unknown
from device_agents.transports.transport import PHONE_SCRATCH, Transport

T = TypeVar("T")

_TOOLS = "benchmark_model benchmark_litert_model"
_CPU = "/sys/devices/system/cpu"
_ZONE = "/sys/class/thermal/thermal_zone*"
_CPUFREQ_FILES = (
    "related_cpus cpuinfo_min_freq cpuinfo_max_freq"
    " scaling_max_freq scaling_cur_freq scaling_governor scaling_driver"
)
_LINUX_COMMANDS = {
    "possible": f"cat {_CPU}/possible",
    "present": f"cat {_CPU}/present",
    "online": f"cat {_CPU}/online",
    "allowed": "grep Cpus_allowed_list /proc/self/status",
    # Kernels before 4.3 have no policy folders; in later ones both are the same
    "policies": f"cd {_CPU}; set --; for f in {_CPUFREQ_FILES}; do"
    ' set -- "$@" cpufreq/policy*/$f cpu[0-9]*/cpufreq/$f; done; grep -sH "" "$@"',
    "mounts": "cat /proc/mounts",
    "load": "cat /proc/loadavg",
    "uptime": "cat /proc/uptime",
    "boot_id": "cat /proc/sys/kernel/random/boot_id",
    "ticks": "head -n 1 /proc/stat",
    "zones": f'grep -sH "" {_ZONE}/type {_ZONE}/temp',
    "processes": f"all=$(pidof {_TOOLS}); r=$?; for p in $all; do"
    ' printf "%s\\t%s\\t%s\\n" $p "$(readlink /proc/$p/cwd)" "$(tr "\\0" " " </proc/$p/cmdline)";'
    " done 2>/dev/null; exit $r",  # one may end meanwhile
}
_PHONE_COMMANDS = {
    "properties": "; ".join(f'echo "{n}=$(getprop {p})"' for n, p in android.PROPERTIES.items()),
    "thermal": "dumpsys thermalservice",
    "battery": "dumpsys battery",
    "power": "dumpsys power | grep mWakefulness=",
    "low_power": "settings get global low_power",
    "room": f"df -k {PHONE_SCRATCH}",
}
_BOARD_COMMANDS = {
    "home": "cd; pwd",
    "room": 'df -k "$HOME"',
    "model": "f=/proc/device-tree/model;"
    ' if [ -r $f ]; then tr -d "\\0" <$f; else grep -m 1 "model name" /proc/cpuinfo; fi',
    "serial": 'f=/proc/device-tree/serial-number; [ -r $f ] || f=/etc/machine-id; tr -d "\\0" <$f',
    "release": '. /etc/os-release; echo "$PRETTY_NAME, $(uname -sr)"',
    "machine": "uname -m",
    "throttling": "vcgencmd get_throttled",
    "temperature": "vcgencmd measure_temp",
    "clock": "vcgencmd measure_clock arm",
    "mode": "nvpmodel -q",
    "devfreq": 'grep -sH "" /sys/class/devfreq/*/cur_freq',
}


@dataclass(frozen=True, slots=True)
class LinuxState:
    """What the kernel says: of the cores, of the folder that files go to, of load and of time.

    ``allowed`` are the cores on which processes of this transport may run; ``tools`` the timing
    tools which run, whoever started them; ``zones_c`` temperatures by name.
    """

    possible: Reading[tuple[int, ...]]
    present: Reading[tuple[int, ...]]
    online: Reading[tuple[int, ...]]
    allowed: Reading[tuple[int, ...]]
    policies: Reading[tuple[linux.Policy, ...]]
    room: Reading[linux.Room]
    mount_flags: Reading[frozenset[str]]
    load: Reading[float]
    uptime_s: Reading[float]
    boot_id: Reading[str]
    ticks: Reading[linux.Ticks]
    tools: Reading[tuple[linux.Process, ...]]
    zones_c: Reading[dict[str, float]]

    def foreign_tools(self, ours: str) -> tuple[linux.Process, ...]:
        """Return the timing tools that run neither in a folder of ours nor with one's files."""
        if isinstance(self.tools, Unknown):
            return ()
        return tuple(
            tool
            for tool in self.tools
            if not ours or (ours not in tool.folder and ours not in tool.command)
        )


@dataclass(frozen=True, slots=True)
class PhoneState:
    """What a phone says of itself, read without root."""

    serial: Reading[str]
    model: Reading[str]
    soc: Reading[str]
    fingerprint: Reading[str]
    abi: Reading[str]
    abis: Reading[str]
    release: Reading[str]
    sdk: Reading[str]
    thermal: Reading[android.Thermal]
    battery: Reading[android.Battery]
    wakefulness: Reading[str]
    low_power: Reading[bool]
    linux: LinuxState


@dataclass(frozen=True, slots=True)
class BoardState:
    """What a board (or this machine) says of itself, read without root.

    ``fingerprint`` is the system's name and the kernel's version; ``home`` the user's folder.
    The firmware's readings are unknown on all but a Raspberry Pi, ``mode`` on all but a Jetson.
    """

    serial: Reading[str]
    model: Reading[str]
    fingerprint: Reading[str]
    machine: Reading[str]
    home: Reading[str]
    throttling: Reading[boards.Throttling]
    temperature_c: Reading[float]
    clock_hz: Reading[int]
    mode: Reading[boards.PowerMode]
    devfreq_hz: Reading[dict[str, int]]
    linux: LinuxState


def read_phone(transport: Transport) -> PhoneState:
    """Read a phone's state in one round trip.

    Raises:
        TransportError: the phone could not be asked at all.
    """
    return parse_phone(probe(transport, _PHONE_COMMANDS | _LINUX_COMMANDS))


def phone_script() -> str:
    """Return the shell script that reads a phone's state, for jobs that look by themselves."""
    return render_script(_PHONE_COMMANDS | _LINUX_COMMANDS)


def parse_phone_script(text: str) -> PhoneState:
    """Return the state in what `phone_script` printed."""
    return parse_phone(split_outputs(text))


def read_board(transport: Transport) -> BoardState:
    """Read a board's state, or this machine's, in one round trip.

    Raises:
        TransportError: the board could not be asked at all.
    """
    return parse_board(probe(transport, _BOARD_COMMANDS | _LINUX_COMMANDS))


def parse_phone(outputs: Outputs) -> PhoneState:
    """Return the state in the outputs of a phone's commands."""
    properties = android.parse_properties(outputs["properties"].text)
    soc = properties["soc"]
    return PhoneState(
        serial=properties["serial"],
        model=properties["model"],
        soc=properties["board"] if isinstance(soc, Unknown) else soc,
        fingerprint=properties["fingerprint"],
        abi=properties["abi"],
        abis=properties["abis"],
        release=properties["release"],
        sdk=properties["sdk"],
        thermal=_parsed(outputs, "thermal", android.parse_thermal),
        battery=_parsed(outputs, "battery", android.parse_battery),
        wakefulness=_parsed(outputs, "power", android.parse_wakefulness),
        low_power=_parsed(outputs, "low_power", android.parse_low_power),
        linux=_parse_linux(outputs, PHONE_SCRATCH),
    )


def parse_board(outputs: Outputs) -> BoardState:
    """Return the state in the outputs of a board's commands."""
    home = _parsed(outputs, "home", _one_line)
    return BoardState(
        serial=_parsed(outputs, "serial", _one_line),
        model=_parsed(outputs, "model", _model),
        fingerprint=_parsed(outputs, "release", _one_line),
        machine=_parsed(outputs, "machine", _one_line),
        home=home,
        throttling=_parsed(outputs, "throttling", boards.parse_throttling),
        temperature_c=_parsed(outputs, "temperature", boards.parse_temperature_c),
        clock_hz=_parsed(outputs, "clock", boards.parse_clock_hz),
        mode=_parsed(outputs, "mode", boards.parse_power_mode),
        devfreq_hz=linux.parse_devfreq_hz(outputs["devfreq"].text),
        linux=_parse_linux(outputs, home),
    )


def _parse_linux(outputs: Outputs, folder: Reading[str]) -> LinuxState:
    tools = outputs["processes"]
    return LinuxState(
        possible=_parsed(outputs, "possible", linux.parse_cores),
        present=_parsed(outputs, "present", linux.parse_cores),
        online=_parsed(outputs, "online", linux.parse_cores),
        allowed=_parsed(outputs, "allowed", linux.parse_allowed),
        policies=linux.parse_policies(outputs["policies"].text),  # some files may be denied
        room=_parsed(outputs, "room", linux.parse_room),
        mount_flags=(
            folder
            if isinstance(folder, Unknown)
            else _parsed(outputs, "mounts", lambda text: linux.parse_mount_flags(text, folder))
        ),
        load=_parsed(outputs, "load", linux.parse_load),
        uptime_s=_parsed(outputs, "uptime", linux.parse_uptime_s),
        boot_id=_parsed(outputs, "boot_id", linux.parse_boot_id),
        ticks=_parsed(outputs, "ticks", linux.parse_ticks),
        tools=linux.parse_processes(tools.text, tools.exit_code),
        zones_c=linux.parse_zones_c(outputs["zones"].text),
    )


def _parsed(outputs: Outputs, name: str, parse: Callable[[str], Reading[T]]) -> Reading[T]:
    text = outputs.reading(name)
    return text if isinstance(text, Unknown) else parse(text)


def _one_line(text: str) -> Reading[str]:
    return text.strip() or Unknown("empty")


def _model(text: str) -> Reading[str]:
    """Return the board's name, or what /proc/cpuinfo says where it has none."""
    return _one_line(re.sub(r"^model name\s*:", "", text.strip()))
