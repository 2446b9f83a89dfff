"""Direct adb transport: a phone's adb daemon over TCP or USB, without a server, by adb-shell.

adb-shell brings the packets, the handshake and USB. Its streams are driven from here, because its
own shell has no exit code, its push waits for ever when the phone refuses, and both count the
silence of a running command as an error.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, suppress
from pathlib import Path

from adb_shell import constants, exceptions
from adb_shell.adb_device import AdbDevice
from adb_shell.adb_message import AdbMessage

from device_agents.address import AdbTcpAddress, AdbUsbAddress
from device_agents.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceMissing,
    NeedsHuman,
    TransportError,
    Unauthorized,
)
from device_agents.transports import merged_shell
from device_agents.transports.adb import AdbTransport
from device_agents.transports.adb_keys import KEY_FILE, load_key
from device_agents.transports.adb_links import Link, TcpLink, UsbLink
from device_agents.transports.deadline import Deadline
from device_agents.transports.transport import CONNECT_TIMEOUT_S

# The link's deadline is what counts; these keep adb-shell from giving up before
NEVER_S = 1e6
LONGEST_LINE = 100_000  # Linux: one argument has at most 128 KiB
MARGIN_BYTES = 512  # what merged_shell adds, and the service's name
_TLS = "STLS"
_FOREIGN = (
    exceptions.AdbCommandFailureException,
    exceptions.AdbConnectionError,
    exceptions.AdbTimeoutError,
    exceptions.InvalidChecksumError,
    exceptions.InvalidCommandError,
    exceptions.InvalidResponseError,
    OSError,
)


class AdbDirectTransport(AdbTransport):
    """A `Transport` to a phone without an adb server; connected when constructed.

    Args:
        key_file: the key to show, by default the user's; made if it is not there.
        link: what bytes go over, by default what the address says.
        expected_serial: what ``ro.serialno`` must say.
    """

    def __init__(
        self,
        address: AdbTcpAddress | AdbUsbAddress,
        *,
        key_file: Path = KEY_FILE,
        expected_serial: str | None = None,
        link: Link | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        super().__init__(str(address), expected_serial)
        self._link = _link(address) if link is None else link
        self._key_file = key_file
        self._device: AdbDevice | None = None
        self._was_late = False
        self._connect_checked(Deadline(connect_timeout_s))

    def close(self) -> None:
        """Hang up; again is harmless."""
        self._device, self._was_late = None, False
        self._link.close()

    @property
    def _longest_line(self) -> int:
        largest = constants.MAX_ADB_DATA if self._device is None else int(self._device._maxdata)
        return min(LONGEST_LINE, largest) - MARGIN_BYTES

    def _connect(self, deadline: Deadline) -> None:
        self.close()
        key = load_key(self._key_file)
        device = AdbDevice(self._link)
        asked: list[object] = []
        self._link.deadline = deadline
        try:
            device.connect(
                rsa_keys=[key],
                transport_timeout_s=NEVER_S,
                auth_timeout_s=NEVER_S,
                read_timeout_s=NEVER_S,
                auth_callback=asked.append,
            )
        except _FOREIGN as error:
            self.close()
            if asked:
                raise Unauthorized(
                    f"{self._address} does not trust the key {self._key_file}: unlock it and "
                    "allow USB debugging"
                ) from error
            if _TLS in str(error):
                raise Unauthorized(
                    f"{self._address} speaks TLS, as wireless debugging does: run `adb pair` once, "
                    "`adb connect`, and use adb:HOST:PORT"
                ) from error
            raise ConnectionLost(
                f"{self._address} did not take the connection: {str(error) or 'no answer in time'}"
            ) from error
        except (NeedsHuman, TransportError):
            self.close()
            raise
        self._device = device

    def _open(self, service: str, deadline: Deadline) -> DirectStream:
        if self._was_late:
            self._connect_again(deadline)
        if self._device is None:
            raise ConnectionLost("not connected: reconnect first")
        self._link.deadline = deadline
        return DirectStream(self, self._device, service)

    def _connect_again(self, deadline: Deadline) -> None:
        try:
            self._connect_checked(deadline)
        except DeviceMissing as error:
            raise ConnectionLost(f"{error}, then reconnect") from error

    def _run_line(self, line: str, stdin: bytes, deadline: Deadline) -> tuple[int, bytes, bytes]:
        nonce = secrets.token_hex(16)
        with ExitStack() as stack:
            source = "/dev/null"
            if stdin:
                source = stack.enter_context(self._scratch_file(stdin, deadline))
            service = "shell:" + merged_shell.wrapped(line, nonce, stdin_path=source)
            stream = stack.enter_context(self._opened(service, deadline))
            output = bytearray()
            while piece := stream.receive_some():
                output += piece
        return merged_shell.unwrap(bytes(output), nonce)

    def lose(self, error: Exception) -> TransportError:
        """Return what a failure of the link means, which is out of step from now on.

        Where the phone was only late, the next use connects anew.
        """
        late = self._link.deadline.passed
        self.close()
        self._was_late = late
        if late:
            return CommandTimeout("it was late")
        return ConnectionLost(f"the phone went away: {error}: reconnect")


def _link(address: AdbTcpAddress | AdbUsbAddress) -> Link:
    return TcpLink(address) if isinstance(address, AdbTcpAddress) else UsbLink(address)


class DirectStream:
    """A `sync.Stream` to one service of the phone's adb daemon."""

    def __init__(self, owner: AdbDirectTransport, device: AdbDevice, service: str) -> None:
        self._owner, self._device = owner, device
        self._unread: list[bytes] = []
        self._open = True
        try:
            self._info = device._open(service.encode(), NEVER_S, NEVER_S, None)
        except _FOREIGN as error:
            raise owner.lose(error) from error

    def send(self, data: bytes) -> bool:
        """Send all of this, each payload once the one before it was taken; see `sync.Stream`."""
        size = self._device._maxdata
        for start in range(0, len(data), size):
            if not self._open:
                return False
            self._write(constants.WRTE, data[start : start + size])
            while self._open and self._read() != constants.OKAY:
                pass
        return self._open

    def receive_some(self) -> bytes:
        """Return what came next; see `sync.Stream`."""
        while self._open and not self._unread:
            self._read()
        return self._unread.pop(0) if self._unread else b""

    def close(self) -> None:
        """Close the stream; again is harmless."""
        if self._open:
            self._open = False
            with suppress(TransportError):
                self._write(constants.CLSE)

    def _read(self) -> bytes:
        """Take one message of this stream, and return its command."""
        expected = [constants.OKAY, constants.WRTE, constants.CLSE]
        try:
            command, data = self._device._read_until(expected, self._info)
        except _FOREIGN as error:
            self._open = False
            raise self._owner.lose(error) from error
        if command == constants.WRTE:
            self._unread.append(data)
        elif command == constants.CLSE:
            self._write(constants.CLSE)
            self._open = False
        return bytes(command)

    def _write(self, command: bytes, data: bytes = b"") -> None:
        message = AdbMessage(command, self._info.local_id, self._info.remote_id, data)
        try:
            self._device._io_manager.send(message, self._info)
        except _FOREIGN as error:
            self._open = False
            raise self._owner.lose(error) from error
