"""Every command of the README, run in order as a reader would, and the examples."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = [
    line.strip()
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("    hilnas ")
]
# On a busy machine a measurement may be unstable (3), and the doctor finds it not ready (4)
DONE = {"doctor": (0, 4)}
README_PORT = "5655"
DEMO_KEYS = {
    "table", "run", "model", "report", "predicted_ms", "measured_ms", "accuracy_torch",
    "accuracy_tflite", "wall_s",
}  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("DATA", "STATE", "CONFIG")}
    return {**os.environ, **homes, "PYTHONPATH": str(ROOT)}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=300
    )


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a server and return once it has said that it listens."""
    server = subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert "listens at" in server.stdout.readline()
    return server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def port() -> str:
    """A free port, in place of the one in the README, which another may have."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def servers() -> Iterator[list[subprocess.Popen[str]]]:
    """What the README starts and leaves running; ended when the reader is done."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for server in running:
        server.terminate()
        server.communicate(timeout=30)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(
    command: str, folder: Path, servers: list[subprocess.Popen[str]], port: str
) -> None:
    words = shlex.split(command.replace(README_PORT, port))
    if words[1] == "emulate":
        servers.append(start([sys.executable, "-m", *words], folder))
        return
    done = run([sys.executable, "-m", *words], folder)
    assert done.returncode in DONE.get(words[1], (0, 3)), done.stderr
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
