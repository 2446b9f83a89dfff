from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.sandbox import OutwardStream
from device_agents.emulator.stand_in import (
    is_stand_in,
    stand_in_abi,
    stand_in_binary,
    with_header,
    with_interpreter,
)
from device_agents.errors import DeviceUnusable
from tests.device_agents.emulator.commands import put, run_on


@pytest.fixture(scope="module")
def phone() -> Iterator[EmulatedPhone]:
    with EmulatedPhone() as opened:
        yield opened


@pytest.mark.parametrize(
    ("command", "inside"),
    [
        ("cat /data/local/tmp/x", "cat ROOT/data/local/tmp/x"),
        (
            "--graph=/data/m '/sys/x' \"/sdcard\"",
            "--graph=ROOT/data/m 'ROOT/sys/x' \"ROOT/sdcard\"",
        ),
        (
            "A=/data:/data;(cd /data&&ls)>/data/o",
            "A=ROOT/data:ROOT/data;(cd ROOT/data&&ls)>ROOT/data/o",
        ),
        ("cat /proc/uptime /proc/stat /dev/null", "cat ROOT/proc/uptime /proc/stat /dev/null"),
        (
            "ls ./data /database $J/data ${J}/sys x/data",
            "ls ./data /database $J/data ${J}/sys x/data",
        ),
    ],
)
def test_paths_of_the_phone_are_found(phone: EmulatedPhone, command: str, inside: str) -> None:
    found = phone.sandbox.inward(command.encode())
    assert found == inside.replace("ROOT", str(phone.root)).encode()
    assert phone.sandbox.outward(found) == command.encode()


@given(
    parts=st.lists(
        st.sampled_from(["/data", "/sys/a", " ", "=", "x", "/", "\n", "'", "ROOT/data"])
    ),
    step=st.integers(1, 30),
)
def test_a_stream_is_translated_across_its_pieces(
    phone: EmulatedPhone, parts: list[str], step: int
) -> None:
    text = "".join(parts).replace("ROOT", str(phone.root)).encode()
    stream = OutwardStream(phone.sandbox)
    pieces = [stream.feed(text[i : i + step]) for i in range(0, len(text), step)]
    assert b"".join([*pieces, stream.flush()]) == phone.sandbox.outward(text)


def test_a_path_cannot_leave_the_root(phone: EmulatedPhone) -> None:
    for path in ("/data/../../etc/passwd", "../../x", "//etc/passwd"):
        assert phone.sandbox.host_path(path).is_relative_to(phone.root)
    assert phone.sandbox.may_write("/data/local/tmp/x")
    for path in ("/data/local/tmp/../x", "/system/x", "/data/local/tmp", "/data/local/tmpx"):
        assert not phone.sandbox.may_write(path)


def test_a_root_that_a_shell_would_not_take(tmp_path: Path) -> None:
    with (
        pytest.raises(DeviceUnusable, match="without spaces"),
        EmulatedPhone(root=tmp_path / "a b"),
    ):
        pass


@pytest.mark.parametrize("abi", ["arm64-v8a", "armeabi-v7a", "x86_64", "x86", "riscv64"])
def test_a_stand_in_has_its_header_back(abi: str) -> None:
    binary = stand_in_binary(abi)
    assert binary[:4] == b"\x7fELF"
    assert is_stand_in(binary)
    assert stand_in_abi(binary) == abi
    at_rest = with_interpreter(binary, "/here/linker64")
    assert at_rest.startswith(b"#!/here/linker64 " + abi.encode() + b"\n")
    assert is_stand_in(at_rest)
    assert with_interpreter(at_rest, "/here/linker64") == at_rest
    assert with_header(at_rest) == binary


def test_what_no_stand_in_can_be() -> None:
    with pytest.raises(ValueError, match="'mips'"):
        stand_in_binary("mips")
    with pytest.raises(ValueError, match="characters"):
        with_interpreter(stand_in_binary("x86"), "/" + 300 * "x")


def test_a_file_keeps_its_sha256_on_disk_and_through_a_shell(phone: EmulatedPhone) -> None:
    import hashlib

    for name, data in {
        "tool": stand_in_binary("arm64-v8a"),
        "text": b"cat /data/local/tmp/a /sys/b\n",
        "bytes": bytes(range(256)) + b" /data/local/tmp ",
    }.items():
        put(phone, name, data)
        sha256 = hashlib.sha256(data).hexdigest()
        done = run_on(phone, f"sha256sum {name} /data/local/tmp/{name}; sha256sum < {name}")
        assert done.stdout == f"{sha256}  {name}\n{sha256}  /data/local/tmp/{name}\n{sha256}  -\n"
        path = phone.root / "data/local/tmp" / name
        assert b"".join(phone.sandbox.contents(path)) == data
        assert phone.sandbox.size(path) == len(data)


def test_a_script_that_was_pushed_runs_under_its_own_paths(phone: EmulatedPhone) -> None:
    script = b"#!/system/bin/sh\necho $0 $1 > /data/local/tmp/said; cat /data/local/tmp/said\n"
    put(phone, "job.sh", script)
    done = run_on(phone, "./job.sh a; sh /data/local/tmp/job.sh b")
    assert done.stdout == "./job.sh a\n/data/local/tmp/job.sh b\n"


def test_what_came_through_a_shell_can_be_made_executable(phone: EmulatedPhone) -> None:
    path = phone.root / "data/local/tmp/piped"
    path.write_bytes(stand_in_binary("x86"))
    done = run_on(phone, "chmod 755 piped && ./piped")
    assert (done.code, done.stderr) == (126, "./piped: not executable: 32-bit ELF file\n")


def test_a_process_sees_the_cores_that_it_was_given(phone: EmulatedPhone) -> None:
    read = "grep Cpus_allowed_list /proc/self/status"
    done = run_on(phone, f"taskset 80 {read}; taskset f0 sh -c '{read}'; taskset 15 {read}")
    assert done.stdout.split("\n")[:-1] == [
        f"Cpus_allowed_list:\t{cores}" for cores in ("7", "4-7", "0,2,4")
    ]
    for mask in ("100", "0", "xyz", ""):
        done = run_on(phone, f"taskset {mask} true")
        assert done.code == 1
        assert done.stderr.startswith("taskset: ")
    done = run_on(phone, "taskset 30 sleep 5 & sleep 0.5; taskset -p $!; kill $!")
    assert done.stdout.endswith("current affinity mask: 30\n")
