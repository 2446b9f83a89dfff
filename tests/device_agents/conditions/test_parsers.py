from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.conditions import android, boards, linux
from device_agents.conditions.android import Sensor
from device_agents.conditions.linux import Process, Room, Ticks
from device_agents.conditions.reading import Reading, Unknown
from tests.device_agents.conditions import dumps

PARSERS: list[Callable[[str], Reading[Any]]] = [
    android.parse_thermal,
    android.parse_battery,
    android.parse_wakefulness,
    android.parse_low_power,
    linux.parse_cores,
    linux.parse_allowed,
    linux.parse_policies,
    linux.parse_room,
    linux.parse_load,
    linux.parse_uptime_s,
    linux.parse_boot_id,
    linux.parse_ticks,
    linux.parse_zones_c,
    linux.parse_devfreq_hz,
    lambda text: linux.parse_mount_flags(text, "/data"),
    lambda text: linux.parse_processes(text, 127),
    boards.parse_throttling,
    boards.parse_temperature_c,
    boards.parse_clock_hz,
    boards.parse_power_mode,
]


def sure(reading: Reading[Any]) -> Any:
    """Return the value of a reading that has to be known."""
    assert not isinstance(reading, Unknown), reading
    return reading


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "sh: vcgencmd: inaccessible or not found", dumps.THERMAL_MISSING,
        "cat: /sys/devices/system/cpu/online: Permission denied", "null\nnull", "-1", "nan",
        "Error: Could not access the Package Manager.  Is the system running?",
    ],
)  # fmt: skip
def test_what_is_no_reading_is_unknown(parse: Callable[[str], Reading[Any]], text: str) -> None:
    assert isinstance(parse(text), Unknown)


@given(st.sampled_from(PARSERS), st.text())
def test_no_text_makes_a_parser_fail(parse: Callable[[str], Reading[Any]], text: str) -> None:
    parse(text)


def test_a_thermal_dump_gives_the_sensors_as_of_now() -> None:
    thermal = sure(android.parse_thermal(dumps.THERMAL_10))
    assert (thermal.status, thermal.overridden) == (0, False)
    assert Sensor("skin-therm-adc", 3, 28.4, 0) in thermal.sensors
    assert len(thermal.sensors) == 5
    assert thermal.hottest_c(0) == pytest.approx(38.4)
    assert isinstance(thermal.hottest_c(7), Unknown)


def test_sensors_that_are_not_fitted_read_nothing() -> None:
    thermal = sure(android.parse_thermal(dumps.THERMAL_14))
    assert thermal.status == 1
    assert [s.name for s in thermal.sensors] == ["VIRTUAL-SKIN", "soc, with a comma"]


def test_cached_sensors_are_those_of_a_hal_without_current_ones() -> None:
    text = dumps.THERMAL_10.partition("HAL Ready")[0]
    for dump in (
        text,
        text + "Current temperatures from HAL:\nCurrent cooling devices from HAL:\n",
    ):
        assert sure(android.parse_thermal(dump)).hottest_c(0) == 54.6


def test_an_overridden_status_is_told() -> None:
    assert sure(android.parse_thermal(dumps.THERMAL_OVERRIDDEN)).overridden
    for bad in ("Thermal Status: 0\n", "IsStatusOverride: false\nThermal Status: 9\n"):
        assert isinstance(android.parse_thermal(bad), Unknown)


def test_a_battery_dump() -> None:
    battery = sure(android.parse_battery(dumps.BATTERY_9))
    assert (battery.level_pct, battery.temperature_c, battery.charging) == (87, 25.3, True)
    assert battery.powered_by == ("USB",)
    assert not battery.overridden
    frozen = sure(android.parse_battery(dumps.BATTERY_13))
    assert (frozen.level_pct, frozen.temperature_c, frozen.charging) == (24, -1.5, False)
    assert frozen.powered_by == ("AC", "Wireless")
    assert frozen.overridden


@pytest.mark.parametrize(
    ("old", "new"), [("level: 87", "level: 187"), ("scale: 100", "scale: 0"), ("level: 87", ""),
                     ("present: true", "present: false")]
)  # fmt: skip
def test_an_impossible_battery_is_unknown(old: str, new: str) -> None:
    assert isinstance(android.parse_battery(dumps.BATTERY_9.replace(old, new)), Unknown)


def test_a_battery_without_temperature_still_has_a_level() -> None:
    text = dumps.BATTERY_9.replace("  temperature: 253\n", "").replace("status: 2", "status: 77")
    battery = sure(android.parse_battery(text))
    assert battery.level_pct == 87
    assert isinstance(battery.temperature_c, Unknown)
    assert isinstance(battery.charging, Unknown)


def test_small_android_readings() -> None:
    assert android.parse_wakefulness(dumps.POWER) == "Awake"
    assert android.parse_wakefulness(dumps.POWER_DOZING) == "Dozing"
    assert isinstance(android.parse_wakefulness("mWakefulness=1"), Unknown)
    assert [android.parse_low_power(t) for t in ("1\n", "0\n", "null\n")] == [True, False, False]
    assert android.parse_setting("102\n") == "102"
    assert isinstance(android.parse_setting("1'; rm -rf x"), Unknown)
    properties = android.parse_properties("serial=9B16 1FF\nmodel=Pixel 4\nsoc=\n")
    assert properties["serial"] == "9B16 1FF"
    assert properties["soc"] == Unknown("ro.soc.model is empty")
    assert set(properties) == set(android.PROPERTIES)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_parsing_cores_is_the_inverse_of_writing_them(cores: set[int]) -> None:
    ordered = tuple(sorted(cores))
    assert linux.parse_cores(linux.format_cores(ordered)) == ordered
    assert linux.parse_cores(" ".join(map(str, ordered)) + "\n") == ordered


def test_the_allowed_list_is_read_and_not_the_mask() -> None:
    status = "Name:\tsh\nCpus_allowed:\tf0\nCpus_allowed_list:\t4-7\nMems_allowed_list:\t0\n"
    assert linux.parse_allowed(status) == (4, 5, 6, 7)


def test_policies_with_a_denied_file() -> None:
    silver, gold, prime = sure(linux.parse_policies(dumps.POLICIES))
    assert (silver.cores, gold.cores, prime.cores) == ((0, 1, 2, 3), (4, 5, 6), (7,))
    assert (silver.cap_share, gold.cap_share) == (1.0, 0.5)
    assert isinstance(prime.cap_share, Unknown)
    assert prime.highest_khz == 2_841_600
    assert (gold.label, silver.governor, silver.now_khz) == ("4-6", "schedutil", 300_000)
    assert isinstance(gold.now_khz, Unknown)


def test_policies_of_an_old_kernel() -> None:
    little, big = sure(linux.parse_policies(dumps.POLICIES_OLD))
    assert (little.cores, little.highest_khz) == ((0, 1, 2, 3), 1_401_600)
    assert big.cores == (4, 5)
    assert isinstance(big.highest_khz, Unknown)


def test_room_is_read_in_kib_only() -> None:
    assert linux.parse_room(dumps.DF_TOYBOX) == Room(83_914_640 * 1024, "/data")
    assert linux.parse_room(dumps.DF_WRAPPED) == Room(45_000_000 * 1024, "/data/user/my files")
    assert isinstance(linux.parse_room(dumps.DF_TOOLBOX), Unknown)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/data/local/tmp", True), ("/data/local/tmp/hilnas", True), ("/data/local", False),
        ("/data/local/tmpfs", False), ("/etc", False), ("/media/my stick/x", True),
    ],
)  # fmt: skip
def test_the_flags_are_those_of_the_innermost_mount(folder: str, expected: bool) -> None:
    assert ("noexec" in sure(linux.parse_mount_flags(dumps.MOUNTS, folder))) == expected


def test_small_linux_readings() -> None:
    assert linux.parse_load("0.52 0.58 0.59 1/467 12345\n") == 0.52
    assert linux.parse_uptime_s("350735.47 234388.90\n") == 350735.47
    assert linux.parse_boot_id("1faa8981-b5a0-4088-bc12-d5e04f99ecea\n") == (
        "1faa8981-b5a0-4088-bc12-d5e04f99ecea"
    )
    before = sure(linux.parse_ticks("cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 2 3"))
    assert before == Ticks(1000, 35)
    assert before.steal_until(Ticks(1200, 85)) == 0.25
    assert isinstance(before.steal_until(before), Unknown)


def test_processes() -> None:
    text = "812\t/data/local/tmp/other\t./benchmark_model --graph=a.tflite \n9\t\t\n"
    assert linux.parse_processes(text, 0) == (
        Process(812, "/data/local/tmp/other", "./benchmark_model --graph=a.tflite"),
        Process(9, "", ""),
    )
    assert linux.parse_processes("", 1) == ()
    assert isinstance(linux.parse_processes("", 127), Unknown)
    assert isinstance(linux.parse_processes("sh: pidof: not found", 1), Unknown)


def test_zones_and_clocks() -> None:
    zones = (
        "/sys/class/thermal/thermal_zone0/type:cpu-thermal\n"
        "/sys/class/thermal/thermal_zone1/type:gpu\n"
        "/sys/class/thermal/thermal_zone2/type:gpu\n"
        "/sys/class/thermal/thermal_zone3/type:not-fitted\n"
        "/sys/class/thermal/thermal_zone0/temp:48312\n"
        "/sys/class/thermal/thermal_zone1/temp:51000\n"
        "/sys/class/thermal/thermal_zone2/temp:52000\n"
        "/sys/class/thermal/thermal_zone3/temp:-273000\n"
    )
    assert linux.parse_zones_c(zones) == {
        "cpu-thermal": 48.312, "gpu (thermal_zone1)": 51.0, "gpu (thermal_zone2)": 52.0,
    }  # fmt: skip
    clocks = "/sys/class/devfreq/17000000.gpu/cur_freq:306000000\n"
    assert linux.parse_devfreq_hz(clocks) == {"17000000.gpu": 306_000_000}


@given(st.integers(0, 0xFFFFF))
def test_throttling_bits(bits: int) -> None:
    throttling = sure(boards.parse_throttling(f"throttled={bits:#x}\n"))
    assert throttling.bits == bits
    assert throttling.new_in(throttling) == ()
    assert set(boards.Throttling(0).new_in(throttling)) == {
        *throttling.now, *throttling.since_boot,
    }  # fmt: skip


def test_what_the_throttling_bits_say() -> None:
    throttling = sure(boards.parse_throttling("throttled=0x50005"))
    assert throttling.now == throttling.since_boot == ("under-voltage", "throttled")
    earlier = boards.Throttling(0x50000)  # it happened before; it happens again
    assert earlier.new_in(throttling) == ("under-voltage", "throttled")
    assert boards.Throttling(0x50005).new_in(boards.Throttling(0x50000)) == ()


def test_small_board_readings() -> None:
    assert boards.parse_temperature_c("temp=48.3'C\n") == 48.3
    assert boards.parse_clock_hz("frequency(48)=1800457088\n") == 1_800_457_088
    assert boards.parse_power_mode(dumps.NVPMODEL) == boards.PowerMode("MAXN", 0)
    assert boards.parse_power_mode(dumps.NVPMODEL_FAN) == boards.PowerMode("MODE_15W 6CORE", 2)
