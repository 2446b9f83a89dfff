"""A real sshd on a free port of loopback, with host and user keys of its own."""

from __future__ import annotations

import getpass
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

from device_agents.address import SshAddress

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
START_TIMEOUT_S = 10.0
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running sshd, and the files of a client that it trusts and that trusts it."""

    pid: int
    port: int
    folder: Path

    @property
    def address(self) -> SshAddress:
        return SshAddress(getpass.getuser(), HOST, self.port)

    @property
    def key_file(self) -> Path:
        return self.folder / "user_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def sessions(self) -> set[int]:
        """Return the process ids of its connections."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False
        )
        return {int(pid) for pid in children.stdout.split()}


@contextmanager
def running_sshd(folder: Path, *, port: int | None = None) -> Iterator[Sshd]:
    """Run sshd while the context lasts; skips where there is none, or none may run.

    A folder that was used before has the same keys again.
    """
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs sshd: apt-get install openssh-server")
    try:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, started by root, locks itself up
    except OSError as error:
        pytest.skip(f"needs /run/sshd, as sshd does: {error}")
    for name in ("host_key", "user_key"):
        if not (folder / name).exists():
            make_key(folder / name)
    public = (folder / "host_key.pub").read_text()
    (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
    port = port or free_port()
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {public}")
    (folder / "config").write_text(
        f"ListenAddress {HOST}:{port}\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nMaxStartups 100\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        _wait(process, port, folder / "log")
        yield Sshd(process.pid, port, folder)
    finally:
        sshd = Sshd(process.pid, port, folder)
        for pid in (*sshd.sessions(), process.pid):
            with suppress(ProcessLookupError):  # a session may end by itself meanwhile
                os.kill(pid, signal.SIGKILL)
        process.wait()


def make_key(path: Path, kind: str = "ed25519", *, passphrase: str = "") -> None:
    """Make a key pair."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            socket.create_connection((HOST, port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"sshd did not start: {log.read_text()}")
