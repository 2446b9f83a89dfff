from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_agents.conditions.install import (
    REQUIREMENTS,
    find_python,
    install_runtime,
    venv_python,
    verify_runtime,
)
from device_agents.errors import DeviceUnusable
from device_agents.transports.local import LocalTransport

BOARD = LocalTransport("ssh:pi@board")


def download(folder: Path, *requirements: str) -> Path:
    """Return a folder of wheels for this machine; skips where there is no index."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", folder, *requirements], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs a package index: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of an index from now on, fails at once."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)


def test_the_runtime_of_this_environment_runs_a_model() -> None:
    runtime = verify_runtime(BOARD, sys.executable)
    assert (runtime.name, runtime.python) == ("ai-edge-litert", sys.executable)
    assert runtime.python_version == ".".join(map(str, sys.version_info[:3]))


def test_an_interpreter_without_a_runtime_is_refused(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    with pytest.raises(
        DeviceUnusable, match=r"no TFLite runtime is installed.*doctor ssh:pi@board"
    ):
        verify_runtime(BOARD, str(tmp_path / "venv/bin/python"))
    with pytest.raises(DeviceUnusable, match="No such file"):
        verify_runtime(BOARD, str(tmp_path / "none"))


def test_an_offline_board_is_set_up_from_wheels_and_then_left_alone(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    wheels = download(tmp_path / "wheels", *REQUIREMENTS[0])
    (wheels / "other-1-py3-none-linux_riscv64.whl").write_text("not for this machine")
    request.getfixturevalue("offline")
    home, lines = str(tmp_path / "home"), list[str]()
    runtime = install_runtime(BOARD, home=home, wheels=wheels, report=lines.append)
    assert runtime.python == venv_python(home)
    assert runtime.name == "ai-edge-litert"
    assert not any("other-1" in line for line in lines)
    assert install_runtime(BOARD, home=home) == runtime  # nothing is asked of the index


def test_the_older_runtime_is_taken_where_only_it_fits(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    wheels = download(tmp_path / "wheels", *REQUIREMENTS[1])
    request.getfixturevalue("offline")
    runtime = install_runtime(BOARD, home=str(tmp_path / "home"), wheels=wheels)
    assert runtime.name == "tflite-runtime"
    assert runtime.numpy_version.startswith("1.")


def test_a_runtime_that_imports_and_cannot_run_is_found_out(tmp_path: Path) -> None:
    wheels = download(tmp_path / "wheels", "tflite-runtime", "numpy>=2")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv/bin/python")
    pip = [python, "-m", "pip", "--quiet", "install", "--no-index", "--find-links", str(wheels)]
    subprocess.run([*pip, "tflite-runtime", "numpy>=2"], check=True, capture_output=True)
    subprocess.run([python, "-c", "import tflite_runtime.interpreter"], capture_output=True,
                   check=True)  # fmt: skip
    with pytest.raises(DeviceUnusable, match="cannot run a model"):
        verify_runtime(BOARD, python)


def test_a_board_that_reaches_no_index_is_told_what_to_download(
    tmp_path: Path, offline: None
) -> None:
    with pytest.raises(DeviceUnusable) as caught:
        install_runtime(BOARD, home=str(tmp_path / "home"))
    text = str(caught.value)
    assert all(requirement[0] in text for requirement in REQUIREMENTS)
    assert f"--platform manylinux_2_17_{os.uname().machine}" in text
    assert f"--python-version {sys.version_info[0]}.{sys.version_info[1]}" in text
    assert "--wheels wheels" in text


def test_a_folder_without_fitting_wheels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnusable, match="expected wheels for"):
        install_runtime(BOARD, home=str(tmp_path / "home"), wheels=tmp_path)


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ({}, None),
        ({"python3": "exit 1"}, None),
        ({"python3": "exit 1", "python3.9": "exit 0"}, "python3.9"),
        ({"python3": "exit 0", "python3.9": "exit 0"}, "python3"),
    ],
)
def test_a_python_that_is_new_enough_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: dict[str, str], found: str | None
) -> None:
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    if found is None:
        with pytest.raises(DeviceUnusable, match=r"3\.8 or newer"):
            find_python(BOARD)
    else:
        assert find_python(BOARD) == str(tmp_path / found)
