"""Commands on an emulated phone without adb: by its own shell, as adbd would start them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from device_agents.emulator.phone import EmulatedPhone


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a command, in the phone's terms."""

    code: int
    stdout: str
    stderr: str


def run_on(phone: EmulatedPhone, command: str, *, timeout_s: float = 60) -> Done:
    """Run a command line in /data/local/tmp."""
    sandbox = phone.sandbox
    done = subprocess.run(
        [f"{sandbox.root}/system/bin/sh", "-c", sandbox.inward(command.encode())],
        cwd=sandbox.host_path("/data/local/tmp"),
        env=sandbox.environment(),
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    return Done(
        done.returncode,
        sandbox.outward(done.stdout).decode(),
        sandbox.outward(done.stderr).decode(),
    )


def put(phone: EmulatedPhone, name: str, data: bytes, *, mode: int = 0o755) -> None:
    """Put a file into /data/local/tmp, as a push does."""
    path = phone.sandbox.host_path(f"/data/local/tmp/{name}")
    path.write_bytes(data)
    phone.sandbox.admit(path)
    path.chmod(mode)
