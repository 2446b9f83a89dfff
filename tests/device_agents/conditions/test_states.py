from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.conditions import states
from device_agents.conditions.linux import Process
from device_agents.conditions.probe import Outputs, probe, render_script, split_outputs
from device_agents.conditions.reading import Reading, Unknown
from device_agents.conditions.states import parse_board, parse_phone, read_board, read_phone
from device_agents.transports.local import LocalTransport
from device_agents.transports.shell import command_line
from device_agents.transports.transport import Completed
from tests.device_agents.conditions import dumps
from tests.device_agents.conditions.programs import FakePhone

OLD_ADB_BYTES = 4096  # of a whole command


class CountingTransport(LocalTransport):
    """Counts round trips."""

    trips = 0

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0, stdin: bytes = b"") -> Completed:
        self.trips += 1
        return super().run(argv, timeout_s=timeout_s, stdin=stdin)


@pytest.mark.parametrize(
    ("command", "text", "exit_code"),
    [
        ("printf 'a\\nb'", "a\nb", 0),
        ("echo", "\n", 0),
        ("true", "", 0),
        ('echo "$((1 + 1)) \\"x\\" `echo \'y\'`" | tr x z', '2 "z" y\n', 0),
        ("cat; exit 7", "", 7),
        ("echo out; echo error >&2", "out\nerror\n", 0),
        ("x=1; echo '$x'\n# a comment\necho last", "$x\nlast\n", 0),
    ],
)
def test_each_command_has_its_own_output(command: str, text: str, exit_code: int) -> None:
    outputs = probe(LocalTransport(), {"before": "exit 3", "it": command, "after": "echo after"})
    assert (outputs["it"].text, outputs["it"].exit_code) == (text, exit_code)
    assert outputs.reading("before") == Unknown("exit code 3")
    assert outputs.reading("after") == "after\n"


def test_a_missing_program_is_unknown_with_its_reason() -> None:
    outputs = probe(LocalTransport(), {"it": "no-such-program"})
    assert "not found" in str(outputs.reading("it"))
    assert isinstance(outputs.reading("never asked"), Unknown)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_no_output_confuses_the_splitting(text: str) -> None:
    split_outputs(text)
    outputs = split_outputs(f"\n--hilnas-- a\n{text}\n--hilnas-- = 0\n")
    assert "--hilnas--" in text or outputs["a"].text == text


def test_what_comes_with_carriage_returns_is_the_same() -> None:
    script = render_script({"a": "echo x; echo y", "b": "false"})
    text = LocalTransport().run(["sh", "-c", script]).text
    assert split_outputs(text.replace("\n", "\r\n"))["a"] == split_outputs(text)["a"]


@pytest.mark.parametrize("commands", [states._PHONE_COMMANDS, states._BOARD_COMMANDS])
def test_the_script_is_short_enough_for_an_old_adb(commands: dict[str, str]) -> None:
    script = render_script(commands | states._LINUX_COMMANDS)
    assert len(f"shell:{command_line(['sh', '-c', script])}") < OLD_ADB_BYTES


def test_this_machine_is_read_in_one_round_trip() -> None:
    transport = CountingTransport()
    state = read_board(transport)
    assert transport.trips == 1
    assert state.home == str(Path.home())
    assert state.machine == os.uname().machine
    assert state.linux.allowed == tuple(sorted(os.sched_getaffinity(0)))
    assert state.linux.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for reading in (state.linux.room, state.linux.mount_flags, state.linux.load, state.model):
        assert not isinstance(reading, Unknown)


def test_a_timing_tool_that_runs_is_seen_with_its_folder(tmp_path: Path) -> None:
    tool = tmp_path / "benchmark_model"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tool)
    with subprocess.Popen([tool, "60"], cwd=tmp_path) as running:
        try:
            tools = read_board(LocalTransport()).linux.tools
        finally:
            running.kill()
    assert not isinstance(tools, Unknown)
    assert Process(running.pid, str(tmp_path), f"{tool} 60") in tools


def test_a_phone_is_read_in_one_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = FakePhone(tmp_path, os.environ["PATH"])
    monkeypatch.setenv("PATH", phone.path)
    phone.write({
        "property.ro.serialno": "9B161FFAZ000BK", "property.ro.product.model": "Pixel 4",
        "property.ro.board.platform": "msmnile", "dump.battery": dumps.BATTERY_9,
        "wakefulness": "Dozing", "global.low_power": "1",
    })  # fmt: skip
    transport = CountingTransport()
    state = read_phone(transport)
    assert transport.trips == 1
    assert (state.serial, state.model, state.soc) == ("9B161FFAZ000BK", "Pixel 4", "msmnile")
    assert (state.wakefulness, state.low_power) == ("Dozing", True)
    assert state.thermal == Unknown("Can't find service: thermalservice")
    assert isinstance(state.fingerprint, Unknown)
    assert not isinstance(state.battery, Unknown)
    assert state.linux.uptime_s != 0


def test_where_everything_is_denied_everything_is_unknown() -> None:
    for state in (parse_phone(Outputs({})), parse_board(Outputs({}))):
        parts: list[Reading[object]] = [
            getattr(part, field.name)
            for part in (state, state.linux)
            for field in fields(part)
            if field.name != "linux"
        ]
        assert len(parts) > 20
        assert all(isinstance(part, Unknown) for part in parts)
