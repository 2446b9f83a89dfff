"""Runtime: the Python environment on a board in which the timing program runs, and its making.

    python3 >= 3.8  -->  HOME/venv  -->  NumPy and the first of RUNTIMES that fits  -->  verified
                                        from the index, or from wheels pushed to HOME/wheels

Verified is what really ran a model: tflite-runtime beside NumPy 2 installs and imports without a
word, and fails when an interpreter is built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_agents.errors import DeviceUnusable
from device_agents.timing_program import RUNTIMES
from device_agents.transports.transport import Completed, Transport

OLDEST_PYTHON = (3, 8)
# Requirements in the order of trying; the last tflite-runtime was built for NumPy 1
REQUIREMENTS = (("ai-edge-litert", "numpy"), ("tflite-runtime", "numpy<2"))
INSTALL_TIMEOUT_S = 1800.0  # a slow card on a slow line
VERIFY_TIMEOUT_S = 120.0
_PYTHONS = "python3 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8"
_FIND = f"""for p in {_PYTHONS}; do
f=$(command -v $p) && "$f" -I -c 'import sys; v = sys.version_info
sys.exit(v < {OLDEST_PYTHON})' && echo "$f" && exit 0; done; exit 1"""
# One RELU over four numbers, 300 bytes
_MODEL = (
    "eNptjrEKwkAQRF80RYiLBGKR0tJeSwsLsbL0FywEURDzvyn8j3NuveAJcrxibmZ3tgNOh+Ma5nQsaDAqSimkYClW"
    "4iWmohCVKP3hPM7XnuQ1wrI9lv62Yif2WQ5q92OuTnst+SP80ROxSd1DCGGci/fd+6f7RfLN78CVZR0xc7nxk/3e"
    "b8yymfZT274BcYcNXQ=="
)
_VERIFY = """
import base64, importlib, json, platform, sys, zlib
tried = []
for name, package, module in json.loads(sys.argv[1]):
    try:
        runtime = importlib.import_module(module)
        version = importlib.import_module(package).__version__
    except ImportError as error:
        tried.append("%s: %s" % (name, error))
        continue
    model = zlib.decompress(base64.b64decode(sys.argv[2]))
    interpreter = runtime.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    numpy = importlib.import_module("numpy").__version__
    answer = [name, str(version), platform.python_version(), numpy]
    sys.stdout.write("\\nruntime " + json.dumps(answer) + "\\n")
    sys.exit(0)
sys.exit("no TFLite runtime is installed; tried " + "; ".join(tried))
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that ran a model: the interpreter's path, and the versions of what it found."""

    python: str
    name: str
    version: str
    python_version: str
    numpy_version: str

    def __str__(self) -> str:
        return (
            f"{self.name} {self.version}, Python {self.python_version}, NumPy {self.numpy_version}"
        )


def venv_python(home: str) -> str:
    """Return the path of the interpreter that `install_runtime` makes."""
    return f"{home}/venv/bin/python"


def verify_runtime(transport: Transport, python: str) -> Runtime:
    """Return the runtime that this interpreter uses, after running a model with it.

    Raises:
        DeviceUnusable: no such interpreter, no runtime, or one that cannot run a model.
    """
    argv = [python, "-I", "-c", _VERIFY, json.dumps(RUNTIMES), _MODEL]
    done = transport.run(argv, timeout_s=VERIFY_TIMEOUT_S)
    found = re.search(r"^runtime (\[.*\])$", done.text, re.MULTILINE)
    if done.exit_code or not found:
        raise DeviceUnusable(
            f"{transport.address}: {python} cannot run a model ({_last_line(done)}):"
            f" set it up with `hilnas doctor {transport.address} --install`"
        )
    name, version, python_version, numpy_version = json.loads(found[1])
    return Runtime(python, name, version, python_version, numpy_version)


def find_python(transport: Transport) -> str:
    """Return the path of a Python that is new enough.

    Raises:
        DeviceUnusable: there is none.
    """
    done = _shell(transport, _FIND)
    path = done.text.strip()
    if done.exit_code or not path:
        version = ".".join(map(str, OLDEST_PYTHON))
        raise DeviceUnusable(
            f"{transport.address}: expected Python {version} or newer, found none:"
            " sudo apt install python3 python3-venv"
        )
    return path


def install_runtime(
    transport: Transport,
    *,
    home: str,
    wheels: Path | None = None,
    report: Callable[[str], Any] = lambda text: None,
) -> Runtime:
    """Make the environment in ``home/venv``, unless one is there that runs a model; return it.

    Args:
        home: the harness's folder on the board, absolute.
        wheels: a folder of wheels on this computer, for a board that reaches no index.
        report: called with a line for each step.

    Raises:
        DeviceUnusable: no Python, no venv, or no runtime that fits; says what was tried.
        PushFailed: a wheel did not arrive.
    """
    python = venv_python(home)
    try:
        return verify_runtime(transport, python)
    except DeviceUnusable:
        pass
    base = find_python(transport)
    source = [] if wheels is None else _push_wheels(transport, wheels, home, report)
    tried = []
    for requirements in REQUIREMENTS:
        name = requirements[0]
        report(f"making an environment with {name}")
        _make_venv(transport, base, f"{home}/venv")
        pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        argv = [*pip, "--only-binary", ":all:", *source, *requirements]
        done = transport.run(argv, timeout_s=INSTALL_TIMEOUT_S)
        if done.exit_code:
            tried.append(f"{name}: {_last_line(done)}")
            continue
        try:
            return verify_runtime(transport, python)
        except DeviceUnusable as error:
            tried.append(f"{name}: {error}")
    raise DeviceUnusable(
        f"{transport.address}: no runtime could be installed ({'; '.join(tried)});"
        f" {_offline_advice(transport, base)}"
    )


def _make_venv(transport: Transport, base: str, folder: str) -> None:
    argv = [base, "-I", "-m", "venv", "--clear", folder]
    done = transport.run(argv, timeout_s=INSTALL_TIMEOUT_S)
    if done.exit_code:
        raise DeviceUnusable(
            f"{transport.address}: {base} makes no environment ({_last_line(done)}):"
            " sudo apt install python3-venv"
        )


def _push_wheels(
    transport: Transport, folder: Path, home: str, report: Callable[[str], Any]
) -> list[str]:
    """Push the wheels for this kind of processor; return pip's options to use them alone."""
    machine = _shell(transport, "uname -m").text.strip()
    fitting = [
        wheel
        for wheel in sorted(folder.glob("*.whl"))
        if wheel.stem.endswith(("-any", f"_{machine}"))
    ]
    if not fitting:
        raise DeviceUnusable(f"{folder}: expected wheels for {machine}, found none")
    target = f"{home}/wheels"
    _shell(transport, 'mkdir -p "$1"', target)
    for wheel in fitting:
        report(f"pushing {wheel.name}")
        transport.push(wheel.read_bytes(), f"{target}/{wheel.name}")
    return ["--no-index", "--find-links", target]


def _offline_advice(transport: Transport, base: str) -> str:
    """Return how to get wheels for a board that reaches no index."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = transport.run([base, "-I", "-c", code]).text.strip()
    machine = _shell(transport, "uname -m").text.strip()
    platforms = " ".join(f"--platform manylinux_2_{n}_{machine}" for n in (17, 27, 28, 31, 34))
    return (
        "where the board reaches no index, run here: pip download --only-binary :all:"
        f" --python-version {version} {platforms} --dest wheels {' '.join(REQUIREMENTS[0])},"
        " and give --wheels wheels"
    )


def _shell(transport: Transport, script: str, *arguments: str) -> Completed:
    return transport.run(["sh", "-c", script, "sh", *arguments])


def _last_line(done: Completed) -> str:
    text = done.stderr.decode(errors="replace").strip() or done.text.strip()
    lines = [line for line in text.splitlines() if not line.startswith("[notice]")]
    return lines[-1].strip()[:300] if lines else f"exit code {done.exit_code}"
