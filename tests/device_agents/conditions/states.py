"""States of a phone, a Raspberry Pi and a Jetson that are fit to be measured on."""

from __future__ import annotations

from device_agents.conditions import android, boards
from device_agents.conditions.linux import Policy, Room, Ticks
from device_agents.conditions.reading import Unknown
from device_agents.conditions.states import BoardState, LinuxState, PhoneState
from tests.device_agents.conditions import dumps

NOT_THERE = Unknown("not there")


def policy(cores: tuple[int, ...], highest_khz: int, cap: float = 1.0) -> Policy:
    return Policy(
        cores, 300_000, highest_khz, int(highest_khz * cap), 300_000, "schedutil", "cpufreq-dt"
    )


CORES = tuple(range(8))
LINUX = LinuxState(
    possible=CORES, present=CORES, online=CORES, allowed=CORES,
    policies=(
        policy((0, 1, 2, 3), 1_785_600), policy((4, 5, 6), 2_419_200), policy((7,), 2_841_600)
    ),
    room=Room(20 << 30, "/data"), mount_flags=frozenset({"rw", "nosuid"}),
    load=0.3, uptime_s=3600.0, boot_id="1faa8981-b5a0-4088-bc12-d5e04f99ecea",
    ticks=Ticks(100_000, 0), tools=(), zones_c={"cpu": 41.0},
)  # fmt: skip


def _phone() -> PhoneState:
    thermal = android.parse_thermal(dumps.THERMAL_10)
    battery = android.parse_battery(dumps.BATTERY_9)
    return PhoneState(
        serial="9B161FFAZ000BK", model="Pixel 4", soc="SM8150",
        fingerprint="google/flame/flame:13/TP1A/9382335:user/release-keys",
        abi="arm64-v8a", abis="arm64-v8a,armeabi-v7a", release="13", sdk="33",
        thermal=thermal, battery=battery, wakefulness="Awake", low_power=False, linux=LINUX,
    )  # fmt: skip


PHONE = _phone()
PI = BoardState(
    serial="10000000abcdef01", model="Raspberry Pi 4 Model B Rev 1.4",
    fingerprint="Debian GNU/Linux 12 (bookworm), Linux 6.6.31", machine="aarch64",
    home="/home/pi", throttling=boards.Throttling(0), temperature_c=48.3,
    clock_hz=1_800_457_088, mode=NOT_THERE, devfreq_hz=NOT_THERE, linux=LINUX,
)  # fmt: skip
JETSON = BoardState(
    serial="1421921055981", model="NVIDIA Jetson Orin Nano Developer Kit",
    fingerprint="Ubuntu 22.04.4 LTS, Linux 5.15.136-tegra", machine="aarch64",
    home="/home/lab", throttling=NOT_THERE, temperature_c=NOT_THERE, clock_hz=NOT_THERE,
    mode=boards.PowerMode("15W", 0), devfreq_hz={"17000000.gpu": 306_000_000}, linux=LINUX,
)  # fmt: skip
