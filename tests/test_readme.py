"""Every command of the README, run in order as a reader would, and the examples."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = [
    line.strip()
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("    hilnas ")
]
# A measurement on a busy machine may be unstable, and says so with exit code 3
DONE = (0, 3)
DEMO_KEYS = {
    "table", "run", "model", "report", "predicted_ms", "measured_ms", "accuracy_torch",
    "accuracy_tflite", "wall_s",
}  # fmt: skip


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_DATA_HOME": str(folder / "data"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(command: str, folder: Path) -> None:
    words = shlex.split(command)
    done = run([sys.executable, "-m", *words], folder)
    assert done.returncode in DONE, done.stderr
    assert "Traceback" not in done.stderr
    if words[1] == "demo":
        check_demo(json.loads(done.stdout), folder)


def check_demo(result: dict[str, object], folder: Path) -> None:
    assert set(result) >= DEMO_KEYS
    for name in ("table", "run", "model", "report"):
        assert (folder / str(result[name])).exists()
    assert result["agreement"] == 1.0
    assert result["accuracy_tflite"] == result["accuracy_torch"]
    page = (folder / str(result["report"])).read_text()
    assert page.count("<svg") == 6
    assert not re.search(r'(src|href)="(?!#|data:)|url\((?!#)|<link|<script', page)


def test_the_example_runs_and_goes_on(folder: Path) -> None:
    script = str(ROOT / "examples" / "own_evaluator.py")
    first, second = (run([sys.executable, script, "own"], folder) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout.splitlines()[1] == second.stdout.splitlines()[1]
