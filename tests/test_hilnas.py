"""The front door: what bad input gets is one line and a non-zero exit, and nothing is left."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hilnas import app
from hilnas.console import columns, parse_duration

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hilnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def fails(*arguments: str) -> str:
    """Run a command that must fail with one line; return that line."""
    result = hilnas(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("hilnas: ")
    return line


def test_devices_lists_this_machine() -> None:
    result = hilnas("devices", "--json")
    (device,) = json.loads(result.stdout)["devices"]
    assert device["address"] == "local"
    assert set(device) == {"address", "kind", "model", "state"}


def test_export_tells_all_in_json(tmp_path: Path) -> None:
    result = hilnas("export", "mnasnet-small,resolution=32", "-o", "small.tflite", "--json")
    values = json.loads(result.stdout)
    assert set(values) >= {"model", "sha256", "params", "madds", "operators", "size_bytes"}
    assert values["params"] == 2_030_264
    assert (tmp_path / "small.tflite").stat().st_size == values["size_bytes"]


def test_unknown_names_get_suggestions() -> None:
    assert "did you mean mnasnet-a1" in fails("export", "mnasnet-a11", "-o", "x.tflite")
    assert "did you mean mnasnet?" in fails("profile", "local", "--space", "mnasnett")
    assert "expected an address such as" in fails("profile", "lokal", "--space", "mnasnet")
    assert "no table" in fails("table", "show", "nothing")


def test_a_typo_in_a_block_string_is_shown_with_its_place(tmp_path: Path) -> None:
    line = fails("export", "32x32x3:cn_r1_k3_s2_c16:ir_r1_k3_s2_e6_c24_typo", "-o", "x.tflite")
    assert "at character 42, found '_typo'" in line
    assert list(tmp_path.glob("*.tflite")) == []


def test_an_unwritable_path_leaves_nothing(tmp_path: Path) -> None:
    assert "nothing was left" in fails("export", "mnasnet-small", "-o", "missing/x.tflite")
    assert not (tmp_path / "missing").exists()


def test_a_damaged_model_is_refused() -> None:
    Path("bad.tflite").write_bytes(b"not a model")
    assert "expected a .tflite model" in fails("measure", "bad.tflite", "local")
    assert "No such file" in fails("measure", "none.tflite", "local")


def test_a_damaged_table_is_refused() -> None:
    Path("bad.parquet").write_bytes(b"PAR1 cut short")
    assert "cut short" in fails("table", "show", "bad.parquet")


@pytest.mark.parametrize("target", ["0", "nan", "-1", "inf"])
def test_a_target_that_cannot_be(target: str) -> None:
    Path("table.parquet").write_bytes(b"")
    line = fails(
        "search", "--space", "mnasnet", "--table", "table.parquet", "--target-ms", target,
        "--evaluator", "training",
    )  # fmt: skip
    assert "target_ms is a positive number" in line


def test_what_is_no_run() -> None:
    assert "no run.toml" in fails("search", "--resume", "nowhere")
    assert "no run.toml" in fails("report", "nowhere", "-o", "x.html")
    Path("run.toml").write_text("[search]\nspce = 'mnasnet'\n")
    assert "'spce'" in fails("search", "--config", "run.toml")


def test_no_images_found() -> None:
    Path("empty").mkdir()
    assert "no images found: expected empty" in fails("demo", "--data", "empty", "--quick")


def test_usage_errors_exit_with_2() -> None:
    assert hilnas("search").exit_code == 2
    assert hilnas("profile", "local", "--space", "mnasnet", "--budget", "soon").exit_code == 2
    assert hilnas("nonsense").exit_code == 2


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    program = (
        "import time\nfrom hilnas.console import progress_bar\n"
        "with progress_bar() as update:\n"
        "    for i in range(9): update(i, 10, 'climbing'); time.sleep(0.1)\n"
        "    update(1, 5, 'another step')\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env=environment) as child:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal reads as an error
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
    assert child.returncode == 0, shown.decode()
    text = shown.decode()
    assert "climbing" in text
    assert "/10" in text
    assert "/s" in text
    assert "left" in text


def test_columns_are_aligned() -> None:
    assert columns(["name", "ms"], [["a", "1.0"], ["longer", "10.0"]]) == (
        "name      ms\na        1.0\nlonger  10.0"
    )


@pytest.mark.parametrize(
    "command",
    ["devices", "profile", "export", "measure", "search", "report", "demo"]
    + [f"table {name}" for name in ("show", "predict", "validate")],
)
def test_help_has_an_example(command: str) -> None:
    result = hilnas(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"hilnas {command}" in result.stdout
