from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from device_agents.conditions.lease import acquire_lease
from device_agents.errors import ConnectionLost, DeviceBusy, DeviceUnusable
from device_agents.transports.local import LocalTransport

SERIAL = "../9B16 1FF;AZ"  # quoted, never interpreted


@pytest.fixture
def device() -> LocalTransport:
    return LocalTransport()


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path / "device" / "hilnas")


def take(device: LocalTransport, folder: Path, home: str, **options: Any) -> Any:
    return acquire_lease(device, SERIAL, state_folder=folder, home=home, **options)


def holder_pid(home: str) -> int:
    return int((Path(home) / "lease").read_text().split()[1])


def test_a_device_is_leased_renewed_and_given_back(
    device: LocalTransport, tmp_path: Path, home: str
) -> None:
    with take(device, tmp_path / "state", home) as lease:
        assert holder_pid(home) == os.getpid()
        lease.renew()
        assert [p.name for p in (tmp_path / "state").iterdir()] == ["..%2F9B16%201FF%3BAZ.lock"]
    assert not (Path(home) / "lease").exists()
    lease.release()
    take(device, tmp_path / "state", home).release()


def test_a_second_process_of_this_host_is_refused_by_pid(
    device: LocalTransport, tmp_path: Path, home: str
) -> None:
    with (
        take(device, tmp_path, home),
        pytest.raises(DeviceBusy, match=f"process {os.getpid()} on this computer"),
    ):
        take(device, tmp_path, home)


def test_another_host_is_refused_by_name(device: LocalTransport, tmp_path: Path, home: str) -> None:
    with (
        take(device, tmp_path / "a", home, host="rack 7"),
        pytest.raises(DeviceBusy, match=f"process {os.getpid()} on rack-7 measures there now"),
    ):
        take(device, tmp_path / "b", home, host="rack-8")
    take(device, tmp_path / "b", home, host="rack-8").release()


def write_lease(home: str, *, until: str, boot: str | None = None, since: str = "0") -> None:
    boot = boot or Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    Path(home).mkdir(parents=True)
    (Path(home) / "lease").write_text(f"elsewhere 1 n0 {since} {until} {boot}\n")


@pytest.mark.parametrize(
    "lease",
    [
        {"until": "1"},  # expired by the device's uptime
        {"until": "99999999999", "boot": "before-the-reboot"},
        {"until": "99999999999", "since": "99999999998"},  # uptime went down: rebooted
        {"until": "soon"},
    ],
)
def test_a_lease_ends_by_uptime_by_reboot_and_when_it_is_damaged(
    device: LocalTransport, tmp_path: Path, home: str, lease: dict[str, str]
) -> None:
    write_lease(home, **lease)
    with take(device, tmp_path, home):
        assert holder_pid(home) == os.getpid()


def test_a_lease_that_lives_is_kept_to(device: LocalTransport, tmp_path: Path, home: str) -> None:
    write_lease(home, until="99999999999")
    with pytest.raises(DeviceBusy, match="process 1 on elsewhere"):
        take(device, tmp_path, home)


def test_the_dead_of_this_host_are_not_waited_for(
    device: LocalTransport, tmp_path: Path, home: str
) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from device_agents.conditions.lease import acquire_lease;"
        "from device_agents.transports.local import LocalTransport;"
        "acquire_lease(LocalTransport(), sys.argv[1], state_folder=Path(sys.argv[2]),"
        " home=sys.argv[3]); os._exit(9)"
    )
    command = [sys.executable, "-c", code, SERIAL, str(tmp_path), home]
    dead = subprocess.run(command, check=False)
    assert dead.returncode == 9
    assert holder_pid(home) != os.getpid()
    with take(device, tmp_path, home):
        assert holder_pid(home) == os.getpid()


def test_a_lease_that_was_lost_is_not_renewed(
    device: LocalTransport, tmp_path: Path, home: str
) -> None:
    lease = take(device, tmp_path / "a", home, ttl_s=0, host="a")
    other = take(device, tmp_path / "b", home, host="b")
    with pytest.raises(DeviceBusy, match="on b"):
        lease.renew()
    lease.release()
    other.renew()  # and the loser did not take the winner's lease away
    other.release()


def test_an_expired_lease_that_nobody_took_is_renewed(
    device: LocalTransport, tmp_path: Path, home: str
) -> None:
    with take(device, tmp_path, home, ttl_s=0) as lease:
        lease.renew()


def test_a_device_that_went_away_is_given_back_by_expiry(
    device: LocalTransport, tmp_path: Path, home: str
) -> None:
    lease = take(device, tmp_path, home)
    device.close()
    with pytest.raises(ConnectionLost):
        lease.renew()
    lease.release()
    device.reconnect()
    take(device, tmp_path, home).release()  # the host's lock is free


def test_a_folder_that_cannot_be_used_is_said(
    device: LocalTransport, tmp_path: Path, home: str
) -> None:
    Path(home).parent.mkdir()
    Path(home).write_text("a file")
    with pytest.raises(DeviceUnusable, match="cannot hold a lease"):
        take(device, tmp_path, home)


def _race(folder: str, home: str, number: int, start: Any, taken: Any) -> None:
    start.wait()
    try:
        acquire_lease(
            LocalTransport(), SERIAL, state_folder=Path(folder) / str(number), home=home,
            host=f"host-{number}",
        )  # fmt: skip
        taken.put(number)
    except DeviceBusy:
        taken.put(None)


def test_of_many_hosts_exactly_one_gets_an_expired_lease(tmp_path: Path, home: str) -> None:
    write_lease(home, until="1")
    context = get_context("fork")
    start, taken = context.Barrier(6), context.Queue()
    racers = [
        context.Process(target=_race, args=(str(tmp_path), home, n, start, taken)) for n in range(6)
    ]
    for racer in racers:
        racer.start()
    answers = [taken.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert len([answer for answer in answers if answer is not None]) == 1
