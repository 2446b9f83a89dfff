"""Android's programs, as a shell on the phone sees them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.profiles import OLD_32_BIT, PROFILES, Profile
from tests.device_agents.emulator.commands import run_on


@pytest.fixture
def phone() -> Iterator[EmulatedPhone]:
    with EmulatedPhone(boot_s=0) as opened:
        yield opened


def said(phone: EmulatedPhone, command: str) -> str:
    """Return what a command prints that succeeds."""
    phone.refresh()
    done = run_on(phone, command)
    assert (done.code, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_profile_shows_what_it_is(profile: Profile) -> None:
    with EmulatedPhone(profile) as phone:
        abis = said(phone, "getprop ro.product.cpu.abi; getprop ro.product.cpu.abilist").split()
        assert abis == [profile.abis[0], ",".join(profile.abis)]
        assert said(phone, "cat /sys/devices/system/cpu/possible") == f"0-{max(profile.cpus)}\n"
        for cluster in profile.clusters:
            folder = f"/sys/devices/system/cpu/cpufreq/policy{cluster.cpus[0]}"
            read = said(phone, f"cd {folder}; cat related_cpus cpuinfo_max_freq scaling_max_freq")
            cpus, most, cap = read.splitlines()
            assert tuple(map(int, cpus.split())) == cluster.cpus
            assert int(most) == int(cap) == cluster.max_khz
        types = said(phone, "cat /sys/class/thermal/thermal_zone*/type").split()
        assert types == [zone.name for zone in profile.zones]
        assert f"[ro.build.fingerprint]: [{profile.fingerprint}]" in said(phone, "getprop")


def test_properties(phone: EmulatedPhone) -> None:
    assert said(phone, "getprop ro.serialno") == f"{phone.serial}\n"
    assert said(phone, "getprop no.such") == "\n"
    assert said(phone, "getprop no.such default") == "default\n"
    phone.state.fingerprint = "google/flame/flame:14/OTA"
    assert said(phone, "getprop ro.build.fingerprint") == "google/flame/flame:14/OTA\n"


def test_settings_are_kept(phone: EmulatedPhone) -> None:
    assert said(phone, "settings get system nothing") == "null\n"
    assert said(phone, "settings put system x '1 2'; settings get system x") == "1 2\n"
    assert "x=1 2\n" in said(phone, "settings list system")
    assert said(phone, "settings delete system x; settings get system x").endswith("null\n")
    said(phone, "settings put global low_power 1")
    assert phone.state.power_saver


def test_services_tell_of_the_present(phone: EmulatedPhone) -> None:
    state = phone.state
    state.thermal_status, state.heating_celsius, state.battery_level = 3, 12.5, 17
    state.wakefulness, state.foreign_processes = "Dozing", ("com.game",)
    thermal = said(phone, "dumpsys thermalservice")
    assert "Thermal Status: 3\n" in thermal
    assert "mValue=40.9, mType=3, mName=skin-therm-adc, mStatus=3" in thermal
    assert "IsStatusOverride: false" in thermal
    assert "  level: 17\n" in said(phone, "dumpsys battery")
    assert "mWakefulness=Dozing" in said(phone, "dumpsys power")
    assert "com.game" in said(phone, "dumpsys activity processes")
    assert "com.game" in said(phone, "top -b -n1 -m 10")
    said(phone, "input keyevent KEYCODE_WAKEUP; am kill-all; svc power stayon usb")
    assert state.wakefulness == "Awake"
    assert len(state.foreign_processes) == 0
    assert said(phone, "settings get global stay_on_while_plugged_in") == "2\n"


def test_what_can_be_set_without_root(phone: EmulatedPhone) -> None:
    said(phone, "cmd power set-fixed-performance-mode-enabled true")
    assert phone.state.fixed_performance
    said(phone, "cmd thermalservice override-status 2")
    assert "IsStatusOverride: true" in said(phone, "dumpsys thermalservice")
    said(phone, "cmd thermalservice reset")
    assert "IsStatusOverride: false" in said(phone, "dumpsys thermalservice")
    done = run_on(phone, "cmd nonsense")
    assert (done.code, done.stdout) == (20, "")


def test_old_android_lacks_the_newer_services() -> None:
    with EmulatedPhone(OLD_32_BIT) as phone:
        assert said(phone, "dumpsys thermalservice") == "Can't find service: thermalservice\n"
        assert run_on(phone, "cmd power set-fixed-performance-mode-enabled true").code == 20


def test_caps_room_and_load(phone: EmulatedPhone) -> None:
    phone.state.cap(50)
    read = "cat /sys/devices/system/cpu/cpufreq/policy7/scaling_max_freq"
    assert said(phone, read) == "1420800\n"
    phone.state.free_bytes, phone.state.load = 4096 * 1024, 2.5
    assert said(phone, "df /data/local/tmp").splitlines()[1].split()[3] == "4096"
    assert said(phone, "cat /proc/loadavg").startswith("2.50 ")
    assert "load average: 2.50" in said(phone, "uptime")


def test_a_reboot_is_seen(phone: EmulatedPhone) -> None:
    read = "cat /proc/sys/kernel/random/boot_id /proc/uptime"
    boot_id, uptime = said(phone, read).splitlines()
    said(phone, "echo kept > /data/local/tmp/kept; settings put global low_power 1")
    phone.state.fixed_performance = True
    phone.reboot()
    after_id, after = said(phone, read).splitlines()
    assert after_id != boot_id
    assert float(after.split()[0]) < float(uptime.split()[0])
    assert said(phone, "cat /data/local/tmp/kept; settings get global low_power") == "kept\n1\n"
    assert not phone.state.fixed_performance


def test_processes_are_the_phones_own(phone: EmulatedPhone) -> None:
    started = said(phone, "sleep 60 > /dev/null 2>&1 & echo $!").strip()
    assert said(phone, "pidof sleep") == f"{started}\n"
    with EmulatedPhone() as other:
        assert run_on(other, "pidof sleep").code == 1
    assert f" {started} " in said(phone, "ps")
    phone.reboot()
    assert run_on(phone, "pidof sleep").code == 1
