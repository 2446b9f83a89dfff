"""Board program: the timing program as it lies on a board, and the runtime that it finds there.

FOLDER/program/device_agents/timing_program.py, timing_batch.py     FOLDER/venv/bin/python
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from device_agents.conditions.install import venv_python
from device_agents.errors import DeviceUnusable
from device_agents.transports.transport import Completed, Transport

START_TIMEOUT_S = 60.0  # the first import of a runtime from a slow card
_FILES = ("timing_program.py", "timing_batch.py")


@dataclass(frozen=True, slots=True)
class Program:
    """What starts the timing program on one core, as words of a shell, and its runtime."""

    command: str
    runtime: str


def install_program(transport: Transport, folder: str, python: str | None, core: int) -> Program:
    """Have the timing program on the board, and start it once.

    Args:
        folder: ours on the board.
        python: the interpreter, by default that of the environment in ``folder``, if there is
            one, or else python3.

    Raises:
        DeviceUnusable: it does not run there.
        TransportError: the board does not answer.
    """
    home = f"{folder}/program/device_agents"
    _shell(transport, 'mkdir -p "$1"', home)
    for name in _FILES:
        content, path = Path(__file__).with_name(name).read_bytes(), f"{home}/{name}"
        sha256 = hashlib.sha256(content).hexdigest()
        if _shell(transport, 'sha256sum "$1"', path).text.split()[:1] != [sha256]:
            transport.push(content, path)
    if python is None:
        own = venv_python(folder)
        python = own if _shell(transport, '[ -x "$1" ]', own).exit_code == 0 else "python3"
    command = (
        f"PYTHONPATH={shlex.quote(f'{folder}/program')} PYTHONDONTWRITEBYTECODE=1"
        f" {shlex.quote(python)} -m device_agents.timing_batch --cpu {core}"
    )
    done = _shell(transport, f"cd && {command}")
    try:
        hello = json.loads(done.text.strip().rpartition("\n")[2])
        cores, runtime = hello["cores"], f"{hello['runtime']} {hello['version']}"
    except (ValueError, KeyError, TypeError) as error:
        words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise DeviceUnusable(
            f"{transport.address}: {python} does not run the timing program"
            f" (exit code {done.exit_code}): {words or done.text.strip()[:200]}"
        ) from error
    if cores != [core]:
        raise DeviceUnusable(
            f"{transport.address}: expected the timing program on core {core}, found {cores}"
        )
    return Program(command, runtime)


def _shell(transport: Transport, script: str, *arguments: str) -> Completed:
    return transport.run(["sh", "-c", script, "sh", *arguments], timeout_s=START_TIMEOUT_S)
