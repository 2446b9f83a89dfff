"""Local transport: commands and files of this machine, without a shell between."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from device_agents.errors import CommandTimeout, ConnectionLost, PullFailed, PushFailed
from device_agents.transports.shell import PART, checked
from device_agents.transports.transport import CONNECT_TIMEOUT_S, RUN_TIMEOUT_S, Completed

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as a shell says it
DRAIN_S = 1.0


class LocalTransport:
    """A `Transport` to this machine; a command that is late is killed with its process group."""

    def __init__(self, address: str = "local") -> None:
        self._address, self._closed = address, False

    @property
    def address(self) -> str:
        """The address this transport was opened with."""
        return self._address

    def run(
        self, argv: Sequence[str], *, timeout_s: float = RUN_TIMEOUT_S, stdin: bytes = b""
    ) -> Completed:
        """Run a command in a process group of its own; see `Transport.run`."""
        words = checked(argv)
        self._check_open()
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(
                words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as error:
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            return Completed(words, code, b"", f"{words[0]}: {error.strerror}\n".encode())
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout_s)
            except subprocess.TimeoutExpired as late:
                raise CommandTimeout(
                    f"{self._address}: {words[0]} had not ended after {timeout_s:g} s"
                ) from late
            finally:
                if process.returncode is None:
                    _kill_group(process)
        code = process.returncode
        return Completed(words, code if code >= 0 else 128 - code, stdout, stderr)

    def push(
        self, data: bytes, path: str, *, mode: int = 0o644, timeout_s: float | None = None
    ) -> None:
        """Write a file whole or not at all; see `Transport.push`."""
        self._check_open()
        part, final = Path(path + PART), Path(path)
        try:
            part.write_bytes(data)
            there = hashlib.sha256(part.read_bytes()).hexdigest()
            wanted = hashlib.sha256(data).hexdigest()
            if there != wanted:
                raise PushFailed(f"{self._address}: {path}: sha256 is {there}, not {wanted}")
            part.chmod(mode)
            part.replace(final)
        except OSError as error:
            raise PushFailed(f"{self._address}: {path} did not arrive: {error}") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def pull(self, path: str, *, timeout_s: float | None = None) -> bytes:
        """Return a file's bytes; see `Transport.pull`."""
        self._check_open()
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise PullFailed(f"{self._address}: {path} cannot be read: {error}") from error

    def is_alive(self) -> bool:
        """Whether it has not been closed."""
        return not self._closed

    def reconnect(self, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Open it again."""
        self._closed = False

    def close(self) -> None:
        """Let it go; again is harmless."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionLost(f"{self._address} was closed: reconnect first")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # one that left the group may hold the pipes
        process.communicate(timeout=DRAIN_S)
