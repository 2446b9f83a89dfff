"""The front door: what bad input gets is one line and a non-zero exit, and nothing is left."""

import contextlib
import hashlib
import importlib.util
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from exporters.model_file import read_labels, read_precision
from hilnas import app
from hilnas.console import columns, parse_duration
from networks.names import find_network
from tests.contracts.exporter_contract import trained_like

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


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_trained_weights_and_calibration_images_travel_with_the_model(precision: str) -> None:
    text = "mnasnet-small,resolution=32,classes=10,in_channels=1"
    torch.save(trained_like(find_network(text).graph()).state_dict(), "trained.pt")
    result = hilnas(
        "export", text, "-o", "m.tflite", "--weights", "trained.pt", "--precision", precision,
        "--calibration", "digits", "--json",
    )  # fmt: skip
    values = json.loads(result.stdout)
    assert values["precision"] == precision
    assert values["delegation"]["is_whole"]
    assert result.stderr == ""
    data = Path("m.tflite").read_bytes()
    assert hashlib.sha256(data).hexdigest() == values["sha256"]
    assert read_precision(data) == precision
    labels = read_labels(data)
    assert labels["network"] == values["network"]
    assert (
        labels["weights_file_sha256"] == hashlib.sha256(Path("trained.pt").read_bytes()).hexdigest()
    )
    assert (precision == "int8") == ("calibration_sha256" in labels)


def test_int8_of_trained_weights_on_random_images_is_said_to_be_for_timing() -> None:
    text = "mnasnet-small,resolution=32"
    torch.save(trained_like(find_network(text).graph()).state_dict(), "trained.pt")
    result = hilnas(
        "export", text, "-o", "m.tflite", "--weights", "trained.pt", "--precision", "int8"
    )
    assert result.exit_code == 0
    assert "give --calibration" in result.stderr


def test_what_an_export_cannot_be_leaves_no_file() -> None:
    small = ("export", "mnasnet-small,resolution=32", "-o", "m.tflite")
    assert "found 'direct' and 'int4'" in fails(*small, "--precision", "int4")
    assert "found 'karas'" in fails(*small, "--exporter", "karas")
    assert "No such file" in fails(*small, "--weights", "none.pt")
    assert "no images found: 'nothing'" in fails(*small, "--calibration", "nothing")
    if importlib.util.find_spec("tensorflow") is None:
        assert "hilnas[tensorflow]" in fails(*small, "--verify")
    assert not Path("m.tflite").exists()


def test_verification_of_an_exporter_against_itself_agrees() -> None:
    result = hilnas(
        "export", "mnasnet-small,resolution=32", "-o", "m.tflite", "--verify", "--against",
        "direct", "--json",
    )  # fmt: skip
    found = json.loads(result.stdout)["verification"]
    assert result.exit_code == 0
    assert found["agrees"]
    assert found["differences"] == []
    assert found["max_error"] == 0
    assert len(found["latency"]["sessions"]) == 5


def test_a_network_of_cells_is_exported_but_not_priced(tmp_path: Path) -> None:
    result = hilnas("export", "nasnet-a-mobile,resolution=32", "-o", "n.tflite", "--json")
    assert json.loads(result.stdout)["params"] == 5_289_978
    assert "network of cells" in fails(
        "profile", "local", "--space", "accel-nasbench", "--network", "nasnet-a-mobile"
    )


def test_layers_go_to_disk_and_on_after_a_stop() -> None:
    command = (
        "export-layers", "accel-nasbench", "-o", "layers", "--resolution", "32", "--json",
    )  # fmt: skip
    first, again = (json.loads(hilnas(*command).stdout) for _ in range(2))
    assert first["written"] == first["layers"] == again["kept"] > 100
    assert len(list(Path("layers").glob("*.tflite"))) == first["layers"]
    packs = json.loads(hilnas(*command[:3], "packs", *command[4:], "--pack", "50").stdout)
    assert packs["layers"] == first["layers"]
    assert len(packs["manifests"]) == packs["written"] < 10


def test_unknown_names_get_suggestions() -> None:
    assert "did you mean mnasnet-a1" in fails("export", "mnasnet-a11", "-o", "x.tflite")
    assert "did you mean mnasnet, nasnet?" in fails("profile", "local", "--space", "mnasnett")
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
    line = fails("demo", "--data", "empty", "--quick")
    assert "no images found in empty: expected a sub-folder" in line


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
