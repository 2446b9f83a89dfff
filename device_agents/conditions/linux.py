"""Linux readings: processor clusters, room, load and uptime, from what the kernel's files say.

Pure parsers: text in; a value, or `Unknown` with what was found instead, out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from device_agents.conditions.reading import Reading, Unknown, not_understood

_RANGE = r"\d+(?:-\d+)?"
_DF_ROW = re.compile(r"(\d+)\s+(\d+)\s+(\d+)\s+(?:\d+%|-)\s+(/.*)")
_GREP_LINE = re.compile(r"(?:\S*/)?(policy\d+|cpu\d+/cpufreq)/(\w+):(.*)")
_ZONE_LINE = re.compile(r"(?:\S*/)?([^/\s]+)/(\w+):(.*)")


@dataclass(frozen=True, slots=True)
class Policy:
    """One cluster of cores, which share a clock; frequencies in kHz."""

    cores: tuple[int, ...]
    lowest_khz: Reading[int]
    highest_khz: Reading[int]
    cap_khz: Reading[int]
    now_khz: Reading[int]
    governor: Reading[str]
    driver: Reading[str]

    @property
    def cap_share(self) -> Reading[float]:
        """The highest frequency now permitted, as a share of what the cores can do."""
        if isinstance(self.cap_khz, Unknown):
            return self.cap_khz
        if isinstance(self.highest_khz, Unknown):
            return self.highest_khz
        return self.cap_khz / self.highest_khz

    @property
    def label(self) -> str:
        """The cores, as the kernel writes them."""
        return format_cores(self.cores)


@dataclass(frozen=True, slots=True)
class Room:
    """Room on the file system of a folder, in bytes, and where that is mounted."""

    free_bytes: int
    mounted_on: str


@dataclass(frozen=True, slots=True)
class Process:
    """A running process: its id, its folder and its command line, empty where not readable."""

    pid: int
    folder: str
    command: str


@dataclass(frozen=True, slots=True)
class Ticks:
    """Processor time since boot, all cores together: everything, and what a hypervisor stole."""

    total: int
    stolen: int

    def steal_until(self, later: Ticks) -> Reading[float]:
        """Return the share that was stolen between two readings."""
        passed = later.total - self.total
        if passed <= 0:
            return Unknown("no time between two readings")
        return (later.stolen - self.stolen) / passed


def parse_cores(text: str) -> Reading[tuple[int, ...]]:
    """Return the cores of a list such as ``0-3,6``, also one with blanks (related_cpus)."""
    items = text.replace(",", " ").split()
    if not items or not all(re.fullmatch(_RANGE, item) for item in items):
        return not_understood(text, "a list of cores")
    cores: set[int] = set()
    for item in items:
        first, _, last = item.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(cores))


def format_cores(cores: tuple[int, ...]) -> str:
    """Return the list as the kernel writes it; the inverse of `parse_cores`."""
    spans: list[list[int]] = []
    for core in sorted(cores):
        if spans and core == spans[-1][-1] + 1:
            spans[-1][1:] = [core]
        else:
            spans.append([core])
    return ",".join("-".join(map(str, span)) for span in spans)


def parse_allowed(text: str) -> Reading[tuple[int, ...]]:
    """Return the cores in the ``Cpus_allowed_list`` of a /proc/PID/status."""
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)\s*$", text, re.MULTILINE)
    return parse_cores(found[1]) if found else not_understood(text, "Cpus_allowed_list")


def parse_policies(text: str) -> Reading[tuple[Policy, ...]]:
    """Return the clusters in ``grep -H '' policy*/...`` or, of older kernels, ``cpu*/cpufreq/...``.

    A file that was denied makes its own value unknown; cores that are offline have no folder.
    """
    if not text.strip():
        return Unknown("the kernel tells no frequencies")
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    for line in text.splitlines():
        if found := _GREP_LINE.fullmatch(line.strip()):
            folders[found[1]][found[2]] = found[3].strip()
    policies: dict[tuple[int, ...], Policy] = {}
    for files in folders.values():
        cores = parse_cores(files.get("related_cpus", ""))
        if not isinstance(cores, Unknown):
            policies.setdefault(cores, _policy(cores, files))
    if not policies:
        return not_understood(text, "related_cpus of cpufreq policies")
    return tuple(policies[cores] for cores in sorted(policies))


def _policy(cores: tuple[int, ...], files: dict[str, str]) -> Policy:
    def khz(name: str) -> Reading[int]:
        text = files.get(name)
        if text is None:
            return Unknown(f"{name} cannot be read")
        return int(text) if re.fullmatch(r"[1-9]\d*", text) else not_understood(text, "kHz")

    def word(name: str) -> Reading[str]:
        return files.get(name) or Unknown(f"{name} cannot be read")

    return Policy(
        cores=cores,
        lowest_khz=khz("cpuinfo_min_freq"),
        highest_khz=khz("cpuinfo_max_freq"),
        cap_khz=khz("scaling_max_freq"),
        now_khz=khz("scaling_cur_freq"),
        governor=word("scaling_governor"),
        driver=word("scaling_driver"),
    )


def parse_room(text: str) -> Reading[Room]:
    """Return the last row of ``df -k FOLDER``, whose name may stand on a line of its own."""
    head, _, rows = text.strip().partition("\n")
    if not re.search(r"\b(1K|1024)-blocks\b.*\bAvailable\b", head):
        return not_understood(text, "df's columns in KiB")
    found = _DF_ROW.search(" ".join(rows.split()))
    return Room(int(found[3]) * 1024, found[4]) if found else not_understood(rows, "a row of df")


def parse_mount_flags(text: str, folder: str) -> Reading[frozenset[str]]:
    """Return the flags of the mount that a folder lies on, from /proc/mounts."""
    path, best, flags = PurePosixPath(folder), -1, ""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        point = PurePosixPath(fields[1].replace(r"\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, flags = len(point.parts), fields[3]
    return frozenset(flags.split(",")) if flags else Unknown(f"no mount holds {folder}")


def parse_load(text: str) -> Reading[float]:
    """Return the load average of one minute."""
    found = re.match(r"(\d+\.\d+) \d+\.\d+ \d+\.\d+ ", text.strip() + " ")
    return float(found[1]) if found else not_understood(text, "/proc/loadavg")


def parse_uptime_s(text: str) -> Reading[float]:
    """Return the seconds since boot."""
    found = re.match(r"(\d+(?:\.\d+)?)(?: |$)", text.strip())
    return float(found[1]) if found else not_understood(text, "/proc/uptime")


def parse_boot_id(text: str) -> Reading[str]:
    """Return the identity of this boot."""
    found = re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text.strip())
    return found[0] if found else not_understood(text, "a boot id")


def parse_processes(text: str, exit_code: int) -> Reading[tuple[Process, ...]]:
    """Return the processes in lines of ``pid, folder, command line`` parted by tabs.

    Nothing at all with exit code 0 or 1 is how pidof says that there are none.
    """
    if not text.strip():
        return () if exit_code in (0, 1) else Unknown(f"exit code {exit_code}")
    processes = []
    for line in text.strip("\n").splitlines():
        pid, _, rest = line.partition("\t")
        folder, _, command = rest.partition("\t")
        if not pid.isdecimal():
            return not_understood(line, "a process id")
        processes.append(Process(int(pid), folder.strip(), command.strip()))
    return tuple(processes)


def parse_ticks(text: str) -> Reading[Ticks]:
    """Return the first line of /proc/stat."""
    found = re.match(r"cpu +((?:\d+ ){7}\d+)", text)
    if not found:
        return not_understood(text, "the first line of /proc/stat")
    counts = [int(count) for count in found[1].split()]  # user ... softirq, steal; guest is in user
    return Ticks(sum(counts), counts[7])


def parse_zones_c(text: str) -> Reading[dict[str, float]]:
    """Return thermal zones in degrees by their type, from ``grep -H '' zone*/type zone*/temp``.

    The kernel says thousandths of a degree; what is not possible then (some vendors' other units,
    sensors that are not there) is left out. Zones of one type are told apart by their folder.
    """
    if not text.strip():
        return Unknown("the kernel tells no temperatures")
    zones: dict[str, dict[str, str]] = defaultdict(dict)
    for line in text.splitlines():
        if found := _ZONE_LINE.fullmatch(line.strip()):
            zones[found[1]][found[2]] = found[3].strip()
    kinds = [zone.get("type") for zone in zones.values()]
    temperatures = {}
    for folder, zone in zones.items():
        kind, text = zone.get("type", folder), zone.get("temp", "")
        name = kind if kinds.count(kind) <= 1 else f"{kind} ({folder})"
        if re.fullmatch(r"-?\d{4,6}", text) and -40_000 <= int(text) <= 150_000:
            temperatures[name] = int(text) / 1000
    return temperatures or not_understood(text, "thermal zones")


def parse_devfreq_hz(text: str) -> Reading[dict[str, int]]:
    """Return the clocks in Hz by device, from ``grep -H '' /sys/class/devfreq/*/cur_freq``."""
    clocks = {
        found[1]: int(found[3])
        for line in text.splitlines()
        if (found := _ZONE_LINE.fullmatch(line.strip())) and found[3].strip().isdecimal()
    }
    return clocks or not_understood(text, "devfreq clocks")
