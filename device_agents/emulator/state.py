"""State: what changes on a phone while it runs, and the files that its kernel shows of it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from device_agents.emulator.profiles import Profile

BOOTED_BEFORE_S = 3_600.0


@dataclass(slots=True)
class State:
    """One phone's present; assign to its fields at any time.

    ``free_bytes`` is what /data has left for what is pushed; ``slowdown`` makes every run of the
    timing tool take that many times longer, really; ``caps_khz`` holds the cap of a cluster by the
    number of its first core. ``settings`` is keyed by namespace and key.
    """

    profile: Profile
    serial: str
    fingerprint: str = ""
    thermal_status: int = 0
    thermal_overridden: bool = False
    battery_level: int = 83
    battery_celsius: float = 26.5
    battery_charging: bool = True
    heating_celsius: float = 0.0
    wakefulness: str = "Awake"
    stay_awake: str = "false"
    fixed_performance: bool = False
    airplane_mode: bool = False
    load: float = 0.15
    free_bytes: int = -1
    slowdown: float = 1.0
    foreign_processes: tuple[str, ...] = ()
    caps_khz: dict[int, int] = field(default_factory=dict)
    settings: dict[tuple[str, str], str] = field(default_factory=dict)
    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    booted_monotonic_s: float = field(default_factory=lambda: time.monotonic() - BOOTED_BEFORE_S)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        if self.free_bytes < 0:
            self.free_bytes = self.profile.storage_bytes // 3
        self.fingerprint = self.fingerprint or self.profile.fingerprint
        defaults = {
            ("global", "low_power"): "0",
            ("global", "airplane_mode_on"): "0",
            ("global", "stay_on_while_plugged_in"): "0",
            ("system", "screen_brightness"): "102",
            ("system", "screen_brightness_mode"): "1",
        }
        self.settings = defaults | self.settings

    @property
    def uptime_s(self) -> float:
        """Seconds since the last boot."""
        return time.monotonic() - self.booted_monotonic_s

    @property
    def power_saver(self) -> bool:
        """Whether battery saver is on."""
        return self.settings.get(("global", "low_power")) == "1"

    @power_saver.setter
    def power_saver(self, on: bool) -> None:
        self.settings["global", "low_power"] = "1" if on else "0"

    def boot(self) -> None:
        """What a reboot changes: uptime, boot id, caps, and the modes that do not outlive it."""
        self.booted_monotonic_s = time.monotonic()
        self.boot_id = str(uuid.uuid4())
        self.caps_khz.clear()
        self.fixed_performance = False
        self.thermal_overridden = False
        self.stay_awake = "false"

    def suffer(self, action: str, argument: str, used_bytes: int) -> None:
        """Let one of the phone's faults happen (see `faults`)."""
        match action:
            case "serial":
                self.serial = argument
            case "fingerprint":
                self.fingerprint = argument
            case "disk-full":
                self.free_bytes = used_bytes + int(argument or 0)
            case "thermal":
                self.thermal_status = int(argument)
            case "heat":
                self.heating_celsius = float(argument)
            case "battery":
                self.battery_level, self.battery_charging = int(argument), False
            case "power-saver":
                self.power_saver = True
            case "screen-off":
                self.wakefulness = "Asleep"
            case "cap":
                self.cap(float(argument))
            case "slow":
                self.slowdown = float(argument)

    def cap(self, percent: float) -> None:
        """Cap every cluster at this share of its highest clock; 100 takes the caps away."""
        self.caps_khz = {
            cluster.cpus[0]: round(cluster.max_khz * percent / 100)
            for cluster in self.profile.clusters
        }

    def pace(self, cpus: tuple[int, ...]) -> float:
        """Return how many times longer a run takes on these cores than on the fastest, uncapped."""
        fastest = max(cluster.max_khz for cluster in self.profile.clusters)
        reachable = max(
            min(cluster.max_khz, self.caps_khz.get(cluster.cpus[0], cluster.max_khz))
            for cluster in self.profile.clusters
            if set(cpus) & set(cluster.cpus)
        )
        return self.slowdown * fastest / reachable


def kernel_files(state: State) -> Mapping[str, str]:
    """Return the text of each file below /proc and /sys, by its path without the leading slash."""
    cpus = state.profile.cpus
    span = f"{cpus[0]}-{cpus[-1]}\n"
    uptime_s = state.uptime_s
    kib = state.profile.memory_bytes // 1024
    files = {
        "proc/uptime": f"{uptime_s:.2f} {uptime_s * len(cpus) * 0.93:.2f}\n",
        "proc/loadavg": f"{state.load:.2f} {state.load:.2f} {state.load:.2f} 1/2103 14721\n",
        "proc/meminfo": f"MemTotal: {kib:>14} kB\nMemFree: {kib // 8:>15} kB\n"
        f"MemAvailable: {kib // 2:>10} kB\n",
        "proc/version": "Linux version 4.14.276-g8ae7b4ca8564-ab8715030 (Android clang)\n",
        "proc/cpuinfo": "".join(f"processor\t: {cpu}\nBogoMIPS\t: 38.40\n\n" for cpu in cpus)
        + f"Hardware\t: {state.profile.soc}\n",
        "proc/mounts": "/dev/block/dm-8 /data f2fs rw,seclabel,nosuid,nodev,noatime 0 0\n",
        "proc/sys/kernel/random/boot_id": f"{state.boot_id}\n",
    }
    for name in ("possible", "present", "online"):
        files[f"sys/devices/system/cpu/{name}"] = span
    for cluster in state.profile.clusters:
        cap = state.caps_khz.get(cluster.cpus[0], cluster.max_khz)
        policy = {
            "related_cpus": " ".join(map(str, cluster.cpus)),
            "affected_cpus": " ".join(map(str, cluster.cpus)),
            "cpuinfo_max_freq": cluster.max_khz,
            "cpuinfo_min_freq": cluster.min_khz,
            "scaling_max_freq": cap,
            "scaling_min_freq": cluster.min_khz,
            "scaling_cur_freq": cluster.min_khz,
            "scaling_governor": cluster.governor,
            "scaling_available_frequencies": " ".join(map(str, cluster.steps_khz)),
        }
        for name, value in policy.items():
            path = f"sys/devices/system/cpu/cpufreq/policy{cluster.cpus[0]}/{name}"
            files[path] = f"{value}\n"
            for cpu in cluster.cpus:
                files[f"sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}"] = f"{value}\n"
    for number, zone in enumerate(state.profile.zones):
        folder = f"sys/class/thermal/thermal_zone{number}"
        files[f"{folder}/type"] = f"{zone.name}\n"
        files[f"{folder}/temp"] = f"{round(1000 * zone_celsius(state, number))}\n"
    return files


def zone_celsius(state: State, number: int) -> float:
    """Return what a sensor reads now."""
    zone = state.profile.zones[number]
    return state.battery_celsius if zone.kind == 2 else zone.idle_celsius + state.heating_celsius
