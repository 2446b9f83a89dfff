"""The emulated phone under the real adb command, with a server of its own."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.profiles import OLD_32_BIT, PIXEL_4, PIXEL_8, Profile
from device_agents.emulator.stand_in import stand_in_binary
from tests.device_agents.transports.adb_server import RunningServer, running_adb_server

MIB = 1 << 20
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Adb:
    """The adb command, for one phone."""

    server: RunningServer
    serial: str

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["adb", "-P", str(self.server.port), "-s", self.serial, *arguments],
            env={**os.environ, "HOME": str(self.server.home)},
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def said(self, *arguments: str) -> str:
        """Return what a command prints that succeeds."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def state(self) -> str:
        """Return what adb calls the phone's state."""
        lines = self.server.adb("devices").splitlines()[1:]
        return next((line.split()[1] for line in lines if line.startswith(self.serial)), "missing")

    def reconnect(self) -> None:
        """Connect until the phone is there."""
        wait_for(lambda: "connected" in self.server.adb("connect", self.serial))
        wait_for(lambda: self.state() == "device")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_adb_server(tmp_path_factory.mktemp("adb")) as running:
        yield running


@contextmanager
def connected(
    server: RunningServer, profile: Profile = PIXEL_4
) -> Iterator[tuple[EmulatedPhone, Adb]]:
    """Yield a phone and adb for it."""
    with EmulatedPhone(profile, boot_s=0.2) as phone:
        adb = Adb(server, phone.address)
        adb.reconnect()
        yield phone, adb
        server.adb("disconnect", phone.address)


@pytest.fixture(scope="module")
def pair(server: RunningServer) -> Iterator[tuple[EmulatedPhone, Adb]]:
    with connected(server) as both:
        yield both


@pytest.fixture
def phone(pair: tuple[EmulatedPhone, Adb]) -> EmulatedPhone:
    return pair[0]


@pytest.fixture
def adb(pair: tuple[EmulatedPhone, Adb]) -> Adb:
    if pair[1].state() != "device":
        pair[1].reconnect()
    return pair[1]


def test_it_is_listed_as_what_it_is(adb: Adb) -> None:
    listed = adb.server.adb("devices", "-l")
    assert re.search(rf"{adb.serial} +device product:flame model:Pixel_4 device:flame", listed)
    assert "shell_v2" in adb.said("features").split()


def test_exit_codes_and_both_streams(adb: Adb) -> None:
    done = adb("shell", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert adb("shell", "kill -9 $$").returncode == 128 + 9
    assert adb("shell", "/data/local/tmp/nothing").returncode == 127
    assert adb.said("shell", "pwd; cd /data/local/tmp; pwd") == "/\n/data/local/tmp\n"


def test_input_goes_in_and_ends(adb: Adb) -> None:
    text = b"".join(b"line %d\n" % n for n in range(50_000))
    done = adb("shell", "sha256sum; echo done", stdin=text)
    assert done.stdout.decode() == f"{hashlib.sha256(text).hexdigest()}  -\ndone\n"
    assert adb("shell", "head -c 5", stdin=text).stdout == b"line "
    assert adb("exec-out", "printf 'a\\r\\n\\0b'").stdout == b"a\r\n\0b"


def test_much_output_comes_whole(adb: Adb) -> None:
    done = adb("shell", "seq 1 200000; seq 1 100000 >&2")
    assert done.stdout.splitlines()[-1] == b"200000"
    assert len(done.stdout.splitlines()) == 200_000
    assert len(done.stderr.splitlines()) == 100_000


def test_several_commands_at_once(adb: Adb) -> None:
    outputs: dict[int, bytes] = {}

    def run(number: int) -> None:
        command = f"for n in 1 2 3; do echo {number} $n; sleep 0.1; done"
        outputs[number] = adb("shell", command).stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {n: b"%d 1\n%d 2\n%d 3\n" % (n, n, n) for n in range(6)}


def test_64_mib_there_and_back(adb: Adb, tmp_path: Path) -> None:
    data = os.urandom(64 * MIB)
    (tmp_path / "there").write_bytes(data)
    adb.said("push", str(tmp_path / "there"), "/data/local/tmp/large")
    sha256 = hashlib.sha256(data).hexdigest()
    assert adb.said("shell", "sha256sum /data/local/tmp/large").split()[0] == sha256
    adb.said("pull", "/data/local/tmp/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data
    adb.said("shell", "rm /data/local/tmp/large")


def test_folders_modes_and_refusals(adb: Adb, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a", "b c", "ü"):
        (folder / name).write_bytes(name.encode())
    (folder / "a").chmod(0o750)
    adb.said("push", str(folder), "/data/local/tmp")
    assert adb.said("shell", "stat -c %a /data/local/tmp/folder/a") == "750\n"
    assert "b c" in adb.said("ls", "/data/local/tmp/folder")
    adb.said("pull", "/data/local/tmp/folder", str(tmp_path / "back"))
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["a", "b c", "ü"]
    refused = adb("push", str(folder / "a"), "/system/a")
    assert refused.returncode == 1
    assert b"Permission denied" in refused.stdout + refused.stderr
    missing = adb("pull", "/data/local/tmp/none", str(tmp_path / "none"))
    assert b"No such file or directory" in missing.stdout + missing.stderr


def test_a_pushed_stand_in_runs(adb: Adb, tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(stand_in_binary("arm64-v8a"))
    adb.said("push", str(tmp_path / "tool"), "/data/local/tmp/tool")
    adb.said("pull", "/data/local/tmp/tool", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "tool").read_bytes()
    done = adb("shell", "chmod 755 /data/local/tmp/tool; /data/local/tmp/tool --graph=/data/none")
    assert done.returncode == 1
    assert done.stderr.startswith(b"ERROR: Could not open '/data/none'.\n")


def test_a_job_outlives_its_cable_but_not_without_a_session_of_its_own(
    phone: EmulatedPhone, adb: Adb
) -> None:
    adb.said("shell", "cd /data/local/tmp; (sleep 61 >/dev/null 2>&1 &); sleep 0.1")
    job = "(setsid sh -c 'echo $$ > pid; sleep 62' </dev/null >/dev/null 2>&1 &)"
    adb.said("shell", f"cd /data/local/tmp; {job}; while [ ! -s pid ]; do sleep 0.02; done")
    phone.drop_connections()
    wait_for(lambda: adb.state() != "device")
    adb.reconnect()
    ps = adb.said("shell", "for p in $(pidof sleep); do tr '\\0' ' ' < /proc/$p/cmdline; done")
    assert ps == "sleep 62 "
    adb.said("shell", "kill -9 -$(cat /data/local/tmp/pid)")
    assert adb("shell", "pidof sleep").returncode == 1


def test_a_command_whose_client_is_killed_is_hung_up_on(phone: EmulatedPhone, adb: Adb) -> None:
    command = ["adb", "-P", str(adb.server.port), "-s", adb.serial, "shell", "sleep 63"]
    client = subprocess.Popen(command, env={**os.environ, "HOME": str(adb.server.home)})
    wait_for(lambda: "sleep" in phone.sandbox.processes().values())
    client.kill()
    client.wait()
    wait_for(lambda: "sleep" not in phone.sandbox.processes().values())


def test_the_cable_is_pulled_in_the_middle_of_a_shell(phone: EmulatedPhone, adb: Adb) -> None:
    phone.faults.add_next("shell", "drop", after_bytes=100_000)
    # The real client exits with 0 then, and what came of the output is all there is
    done = adb("shell", "seq 1 1000000")
    assert 0 < len(done.stdout) <= 100_000
    assert phone.faults.pending == ()


def test_the_stream_ends_in_the_middle_of_a_shell(phone: EmulatedPhone, adb: Adb) -> None:
    phone.faults.add_next("shell", "eof", after_s=0.3)
    done = adb("shell", "echo before; sleep 64; echo after")
    assert done.stdout == b"before\n"
    assert adb.state() == "device"


def test_the_cable_is_pulled_in_the_middle_of_a_push(
    phone: EmulatedPhone, adb: Adb, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(4 * MIB))
    phone.faults.add_next("push", "drop", after_bytes=MIB)
    assert adb("push", str(tmp_path / "large"), "/data/local/tmp/cut").returncode != 0
    adb.reconnect()
    wait_for(lambda: adb("shell", "ls /data/local/tmp/cut").returncode != 0)


def test_a_stall_ends(phone: EmulatedPhone, adb: Adb) -> None:
    phone.faults.add_next("shell", "stall 0.5")
    started_s = time.monotonic()
    assert adb.said("shell", "echo late") == "late\n"
    assert time.monotonic() - started_s > 0.4


def test_no_room(phone: EmulatedPhone, adb: Adb, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(4 * MIB))
    room = phone.state.free_bytes
    phone.faults.add_next("push", f"disk-full {MIB}")
    done = adb("push", str(tmp_path / "large"), "/data/local/tmp/large")
    assert done.returncode == 1
    assert b"No space left on device" in done.stdout + done.stderr
    assert adb("shell", "ls /data/local/tmp/large").returncode != 0
    phone.state.free_bytes = room


def test_a_reboot_in_the_middle_of_a_command(phone: EmulatedPhone, adb: Adb) -> None:
    boot = adb.said("shell", "cat /proc/sys/kernel/random/boot_id")
    phone.faults.add_next("shell", "reboot", after_s=0.2)
    assert adb("shell", "sleep 65; echo after").stdout == b""
    adb.reconnect()
    assert adb.said("shell", "cat /proc/sys/kernel/random/boot_id") != boot
    assert phone.sandbox.processes() == {}
    adb("reboot")
    wait_for(lambda: adb.state() != "device")
    adb.reconnect()


def test_another_phone_at_the_same_address(phone: EmulatedPhone, adb: Adb) -> None:
    own = phone.serial
    phone.faults.add_next("connect", "serial ANOTHER-ONE")
    phone.drop_connections()
    wait_for(lambda: adb.state() != "device")
    adb.reconnect()
    assert adb.said("shell", "getprop ro.serialno") == "ANOTHER-ONE\n"
    phone.state.serial = own


def test_a_phone_that_does_not_answer_is_offline(server: RunningServer) -> None:
    with EmulatedPhone() as phone:
        phone.faults.add("connect 1+", "offline")
        adb = Adb(server, phone.address)
        command = ["adb", "-P", str(server.port), "connect", phone.address]
        client = subprocess.Popen(command, env={**os.environ, "HOME": str(server.home)})
        wait_for(lambda: adb.state() in ("offline", "connecting"))
        assert adb("shell", "true").returncode != 0
        server.adb("disconnect", phone.address)
        client.kill()
        client.wait()


def test_a_key_has_to_be_accepted(server: RunningServer) -> None:
    with EmulatedPhone(auth=True) as phone:
        adb = Adb(server, phone.address)
        server.adb("connect", phone.address)
        wait_for(lambda: adb.state() == "unauthorized")
        assert adb("shell", "true").returncode != 0
        wait_for(lambda: phone.pending_key is not None)
        phone.accept_key()
        wait_for(lambda: adb.state() == "device")
        assert adb.said("shell", "echo in") == "in\n"
        phone.faults.add_next("connect", "unauthorized")
        phone.drop_connections()
        wait_for(lambda: adb.state() != "device")
        server.adb("connect", phone.address)
        wait_for(lambda: adb.state() == "unauthorized")
        server.adb("disconnect", phone.address)


def test_a_key_that_is_known_already(server: RunningServer) -> None:
    public = (server.home / ".android" / "adbkey.pub").read_bytes()
    with EmulatedPhone(auth=True, authorized_keys=[public]) as phone:
        adb = Adb(server, phone.address)
        adb.reconnect()
        assert adb.said("shell", "echo in") == "in\n"
        server.adb("disconnect", phone.address)


def test_an_old_phone_has_one_stream_cr_lf_and_no_exit_code(
    server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "there").write_bytes(bytes(range(256)) * 4000)
    with connected(server, OLD_32_BIT) as (_, adb):
        done = adb("shell", "echo out; echo err >&2; exit 7")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"out\r\nerr\r\n", b"")
        assert adb("exec-out", "printf 'a\\n'").stdout == b"a\n"
        adb.said("push", str(tmp_path / "there"), "/data/local/tmp/file")
        adb.said("pull", "/data/local/tmp/file", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()


def test_two_phones_at_once(server: RunningServer) -> None:
    with connected(server) as (_, first), connected(server, PIXEL_8) as (_, second):
        assert first.said("shell", "getprop ro.product.model; nproc") == "Pixel 4\n8\n"
        assert second.said("shell", "getprop ro.product.model; nproc") == "Pixel 8\n9\n"


def test_a_person_at_a_terminal(adb: Adb) -> None:
    ours, theirs = pty.openpty()
    command = ["adb", "-P", str(adb.server.port), "-s", adb.serial, "shell"]
    client = subprocess.Popen(
        command,
        env={**os.environ, "HOME": str(adb.server.home), "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""

    def answered(text: bytes) -> None:
        nonlocal said
        while text not in said:
            assert select.select([ours], [], [], TIMEOUT_S)[0], said
            said += os.read(ours, 4096)

    answered(b"flame:/ $ ")
    os.write(ours, b'cd /data/local/tmp && x=$(getprop ro.product.model) && echo "<$x>"\n')
    answered(b"<Pixel 4>")
    answered(b"flame:/data/local/tmp $ ")
    os.write(ours, b"exit 3\n")
    assert client.wait(TIMEOUT_S) == 3
    os.close(ours)
