"""adb transports: what the way through an adb server and the direct ones have in common.

run    a subclass's, with exit code and both streams
push   the folder is there?  ->  sync to path.part  ->  sha256 on the phone  ->  renamed
pull   sync
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from device_agents.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceError,
    DeviceSwapped,
    PullFailed,
    PushFailed,
    TransportError,
)
from device_agents.transports import sync
from device_agents.transports.deadline import Deadline, pull_deadline, push_deadline, retry
from device_agents.transports.shell import (
    PART,
    check_placed,
    command_line,
    has_folder_argv,
    place_argv,
)
from device_agents.transports.transport import (
    CONNECT_TIMEOUT_S,
    PHONE_SCRATCH,
    RUN_TIMEOUT_S,
    Completed,
)

ALIVE_TIMEOUT_S = 5.0


class AdbTransport(ABC):
    """A phone; subclasses say how a service of its adb daemon is opened, and run commands.

    ``expected_serial`` is what ``ro.serialno`` must say, whenever it connects.
    """

    def __init__(self, address: str, expected_serial: str | None) -> None:
        self._address, self._expected_serial = address, expected_serial

    @property
    def address(self) -> str:
        """The address this transport was opened with."""
        return self._address

    def run(
        self, argv: Sequence[str], *, timeout_s: float = RUN_TIMEOUT_S, stdin: bytes = b""
    ) -> Completed:
        """Run a command through the phone's shell; see `Transport.run`."""
        return self._run(argv, Deadline(timeout_s), stdin)

    def push(
        self, data: bytes, path: str, *, mode: int = 0o644, timeout_s: float | None = None
    ) -> None:
        """Write a file whole or not at all; see `Transport.push`."""
        deadline = push_deadline(data, timeout_s)
        try:
            # An adb daemon would make the folder, and leave it behind
            if self._run(has_folder_argv(path), deadline).exit_code != 0:
                raise PushFailed(f"{path} did not arrive: its folder is not there")
            with self._opened(sync.SERVICE, deadline) as stream:
                sync.send_file(stream, data, path + PART, mode)
            placed = self._run(place_argv(data, path, mode, receive=False), deadline)
            check_placed(placed, self._address, path)
        except (PushFailed, CommandTimeout) as error:
            with suppress(DeviceError):
                self.run(["rm", "-f", path + PART], timeout_s=ALIVE_TIMEOUT_S)
            raise PushFailed(f"{self._address}: {error}") from error

    def pull(self, path: str, *, timeout_s: float | None = None) -> bytes:
        """Return a file's bytes; see `Transport.pull`."""
        try:
            with self._opened(sync.SERVICE, pull_deadline(timeout_s)) as stream:
                return sync.receive_file(stream, path)
        except (PullFailed, CommandTimeout) as error:
            raise PullFailed(f"{self._address}: {error}") from error

    def is_alive(self) -> bool:
        """Whether a command runs there now."""
        try:
            return self.run(["true"], timeout_s=ALIVE_TIMEOUT_S).exit_code == 0
        except DeviceError:
            return False

    def reconnect(self, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Connect again, waiting for a phone that boots; see `Transport.reconnect`."""
        self.close()
        retry(self._connect_checked, Deadline(timeout_s))

    @abstractmethod
    def close(self) -> None:
        """Let the phone go; again is harmless."""

    @abstractmethod
    def _connect(self, deadline: Deadline) -> None: ...

    @abstractmethod
    def _open(self, service: str, deadline: Deadline) -> sync.Stream: ...

    @abstractmethod
    def _run_line(self, line: str, stdin: bytes, deadline: Deadline) -> tuple[int, bytes, bytes]:
        """Return exit code and both streams of a line of shell.

        Raises:
            ConnectionLost: there is no exit code.
            CommandTimeout: it is late.
        """

    @property
    @abstractmethod
    def _longest_line(self) -> int:
        """How many bytes of shell one service can be opened with."""

    def _connect_checked(self, deadline: Deadline) -> None:
        try:
            self._connect(deadline)
            if self._expected_serial is None:
                return
            found = self._run(["getprop", "ro.serialno"], deadline).text.strip()
        except CommandTimeout as late:
            self.close()
            raise ConnectionLost(f"{self._address} did not answer in time: {late}") from late
        if found != self._expected_serial:
            self.close()
            raise DeviceSwapped(
                f"expected the phone {self._expected_serial} at {self._address}, found {found}: "
                "plug in the other one, or use the new one under a name of its own"
            )

    def _run(self, argv: Sequence[str], deadline: Deadline, stdin: bytes = b"") -> Completed:
        line = command_line(argv)
        try:
            if len(line.encode()) <= self._longest_line:
                return Completed(tuple(argv), *self._run_line(line, stdin, deadline))
            with self._scratch_file(line.encode(), deadline) as script:
                return Completed(tuple(argv), *self._run_line(f"sh {script}", stdin, deadline))
        except CommandTimeout as late:
            raise CommandTimeout(
                f"{self._address}: {argv[0]} had not ended after {deadline.timeout_s:g} s"
            ) from late
        except ConnectionLost as lost:
            raise ConnectionLost(f"{self._address}: {lost}") from lost

    @contextmanager
    def _opened(self, service: str, deadline: Deadline) -> Iterator[sync.Stream]:
        stream = self._open(service, deadline)
        try:
            yield stream
        finally:
            stream.close()

    @contextmanager
    def _scratch_file(self, data: bytes, deadline: Deadline) -> Iterator[str]:
        """A file on the phone for as long as a command needs it."""
        path = f"{PHONE_SCRATCH}/.{secrets.token_hex(8)}"
        with self._opened(sync.SERVICE, deadline) as stream:
            sync.send_file(stream, data, path, 0o600)
        try:
            yield path
        finally:
            with suppress(TransportError):
                self._run_line(f"rm -f {path}", b"", Deadline(ALIVE_TIMEOUT_S))
