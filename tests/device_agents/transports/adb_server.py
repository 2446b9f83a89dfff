"""A real adb server on a port of its own, stopped by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.device_agents.transports.sshd import free_port

ADB = shutil.which("adb")
START_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running adb server; its keys and its log are in ``home``."""

    pid: int
    port: int
    home: Path

    def adb(self, *arguments: str) -> str:
        """Return what the adb command says through this server."""
        done = subprocess.run(
            [str(ADB), "-P", str(self.port), *arguments],
            env={**os.environ, "HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        return done.stdout + done.stderr


@contextmanager
def running_adb_server(home: Path) -> Iterator[RunningServer]:
    """Run an adb server while the context lasts; skips where there is no adb."""
    if ADB is None:
        pytest.skip("needs adb: apt-get install adb")
    port = free_port()
    environment = {**os.environ, "HOME": str(home), "ADB_MDNS": "0"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [ADB, "-L", f"tcp:localhost:{port}", "nodaemon", "server"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        end_s = time.monotonic() + START_TIMEOUT_S
        while True:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < end_s
            time.sleep(0.05)
        yield RunningServer(process.pid, port, home)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
