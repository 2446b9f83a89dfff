"""The front door to devices: what a lab engineer types, on this machine and an emulated phone."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hilnas import app

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATA", "STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")  # where surely no adb server runs
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `hilnas emulate phone --json` says, while it runs."""
    command = [sys.executable, "-m", "hilnas", "emulate", "phone", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--serial", "TEST1", "--tool", str(tmp_path / "benchmark_model")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        _, code = process.communicate(timeout=20)[0], process.returncode
    assert code == 130


def hilnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_doctor_tells_of_every_precondition_and_what_to_do() -> None:
    result = hilnas("doctor", "local", "--json")
    found = json.loads(result.stdout)
    assert found["device"] == "local"
    assert result.exit_code == (0 if found["ready"] else 4)
    assert {"cores", "load", "free space", "runtime"} <= {c["name"] for c in found["checks"]}
    for check in found["checks"]:
        assert check["state"] in ("ok", "not_ok", "unknown")
        assert check["state"] == "ok" or check["remedy"]


def test_a_phone_is_diagnosed_and_another_than_the_known_one_is_seen(
    phone: dict[str, str],
) -> None:
    result = hilnas("doctor", phone["address"])
    assert result.exit_code == 0, result.output
    assert "Pixel 4" in result.stdout
    assert result.stdout.endswith(": ready\n")
    Path("devices.toml").write_text(f'[mine]\naddress = "{phone["address"]}"\nserial = "OTHER"\n')
    result = hilnas("doctor", "mine")
    assert result.exit_code == 4
    assert "TEST1" in result.stdout
    assert "OTHER" in result.stdout


def test_a_model_is_measured_on_a_phone(phone: dict[str, str]) -> None:
    hilnas("export", "mnasnet-small,resolution=96", "-o", "m.tflite")
    result = hilnas("measure", "m.tflite", phone["address"])
    assert result.exit_code == 1
    assert "--benchmark-binary" in result.stderr
    result = hilnas(
        "measure", "m.tflite", phone["address"], "--method", "resident", "--benchmark-binary",
        phone["benchmark_binary"],
    )  # fmt: skip
    assert result.exit_code == 1
    assert "process" in result.stderr


def test_devices_of_the_file_are_listed() -> None:
    Path("devices.toml").write_text('[rack-pi]\naddress = "ssh:pi@10.0.0.7"\n')
    found = json.loads(hilnas("devices", "--json").stdout)["devices"]
    assert [d["address"] for d in found] == ["local", "ssh:pi@10.0.0.7"]
    assert found[1]["kind"] == "ssh"


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("doctor", "pixel"), "devices.toml names pixel-4, pixel-5, pixels", 1),
        (("doctor", "pixels"), "the pool 'pixels' of pixel-4, pixel-5", 1),
        (("doctor", "x:y"), "expected an address such as local", 1),
        (("measure", "m.tflite", "adb-tcp:127.0.0.1:1", "--method", "magic"), "resident", 2),
        (("emulate", "phone", "--profile", "pixel-44"), "did you mean pixel-4", 1),
        (("profile", "pixel-4", "local", "local", "--space", "mnasnet"), "local again", 1),
    ],
)
def test_what_no_device_is(arguments: tuple[str, ...], message: str, code: int) -> None:
    hilnas("export", "mnasnet-small,resolution=32", "-o", "m.tflite")
    entries = [f'[pixel-{n}]\naddress = "adb:{n}"\npool = "pixels"\n' for n in (4, 5)]
    Path("devices.toml").write_text("".join(entries))
    result = hilnas(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.output


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = hilnas("emulate", "phone", "--port", str(listener.getsockname()[1]))
    assert result.exit_code == 1
    assert "taken" in result.stderr


def test_a_typo_in_devices_toml_is_told_with_its_line() -> None:
    Path("devices.toml").write_text('[a]\naddres = "local"\n')
    result = hilnas("devices")
    assert result.exit_code == 1
    assert "devices.toml, line 2, key 'addres': unknown" in result.stderr


def test_a_phone_that_is_not_there_needs_a_person() -> None:
    result = hilnas("doctor", "adb:NONE")
    assert result.exit_code == 4
    assert "adb start-server" in result.stdout
