"""Transport: the seam through which commands and files reach a device.

argv under a deadline  ->  run   ->  exit code, stdout, stderr
bytes                  ->  push  ->  verified by sha256 on the device, then renamed into place
path                   ->  pull  ->  bytes

Implementations: `local`, `ssh`, `adb_server` (through a running adb server), `adb_direct` (TCP or
USB without one). Each inherits the tests in ``tests/contracts/transport_contract.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

RUN_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 15.0
PHONE_SCRATCH = "/data/local/tmp"  # where the shell of any Android phone may write and execute


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended by itself, whatever its exit code (128 + n of a signal n)."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, line ends as \\n, what is not UTF-8 replaced."""
        return self.stdout.decode(errors="replace").replace("\r\n", "\n")


class Transport(Protocol):
    """One device's commands and files; used by one thread at a time.

    Every method raises ``ConnectionLost`` when the device or the cable went away, after which
    ``reconnect`` may bring it back; what had been running on the device may still be running.
    """

    @property
    def address(self) -> str:
        """The address this transport was opened with, such as ``adb:SERIAL``."""
        ...

    def run(
        self, argv: Sequence[str], *, timeout_s: float = RUN_TIMEOUT_S, stdin: bytes = b""
    ) -> Completed:
        """Run a command and return what came of it; arguments are quoted, never interpreted.

        Raises:
            CommandTimeout: it had not ended at the deadline; it may still be running.
            ConnectionLost: the device went away before the exit code came.
        """
        ...

    def push(
        self, data: bytes, path: str, *, mode: int = 0o644, timeout_s: float | None = None
    ) -> None:
        """Write a file whole or not at all: to ``path.part``, checked by sha256, then renamed.

        Args:
            timeout_s: by default some seconds and what the slowest link needs for the size.

        Raises:
            PushFailed: no room, no such folder, not writable, or the device's sha256 differs.
        """
        ...

    def pull(self, path: str, *, timeout_s: float | None = None) -> bytes:
        """Return a file's bytes.

        Raises:
            PullFailed: there is no such file, or it cannot be read.
        """
        ...

    def is_alive(self) -> bool:
        """Whether the device answers now; never raises."""
        ...

    def reconnect(self, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Connect again, also after a cable was pulled.

        Raises:
            DeviceMissing, Unauthorized, DeviceSwapped: a person has to do something.
            ConnectionLost: it could not be reached in time; try again.
        """
        ...

    def close(self) -> None:
        """Let the device go; again is harmless."""
        ...
