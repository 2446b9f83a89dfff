"""adb links: how bytes reach an adb daemon without a server, TCP or USB, as adb-shell asks for it.

Unlike adb-shell's own TCP link this one sends everything, at once, and raises at the end of the
stream. Every read and write ends at ``deadline``, whatever adb-shell asks for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from adb_shell.exceptions import UsbReadFailedError, UsbWriteFailedError
from adb_shell.transport.base_transport import BaseTransport

from device_agents.address import AdbTcpAddress, AdbUsbAddress
from device_agents.errors import (
    ConnectionLost,
    DeviceHeld,
    DeviceMissing,
    NeedsHuman,
)
from device_agents.transports.deadline import Deadline
from device_agents.transports.transport import CONNECT_TIMEOUT_S
from device_agents.transports.usb_phones import UsbPhone, no_permission, usb_phones

SHORTEST_S = 0.001  # 0 would mean no timeout at all to USB, and no waiting to a socket


class Link(BaseTransport):  # type: ignore[misc]
    """A link whose reads and writes raise `TimeoutError` at its deadline, `OSError` when lost."""

    def __init__(self) -> None:
        self.deadline = Deadline(CONNECT_TIMEOUT_S)

    @property
    def _left_s(self) -> float:
        if self.deadline.passed:
            raise TimeoutError
        return max(self.deadline.left_s, SHORTEST_S)


class TcpLink(Link):
    """A link to a phone that listens on TCP."""

    def __init__(self, address: AdbTcpAddress) -> None:
        super().__init__()
        self._to, self._socket = address, socket.socket()

    def connect(self, transport_timeout_s: float | None) -> None:
        """Connect.

        Raises:
            DeviceMissing: nothing listens there.
            TimeoutError: it did not answer.
        """
        host = self._to.host.strip("[]")
        try:
            self._socket = socket.create_connection((host, self._to.port), self._left_s)
        except TimeoutError:
            raise
        except OSError as error:
            raise DeviceMissing(
                f"nothing answers at {self._to}: {error.strerror or error}: is the phone on this "
                "network, and was `adb tcpip PORT` run since it booted?"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        """Return what came next, at most this many bytes."""
        self._socket.settimeout(self._left_s)
        data = self._socket.recv(numbytes)
        if not data:
            raise ConnectionResetError("the phone hung up")
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float | None) -> int:
        """Send all of this."""
        self._socket.settimeout(self._left_s)
        self._socket.sendall(data)
        return len(data)

    def close(self) -> None:
        """Hang up; again is harmless."""
        self._socket.close()


class UsbLink(Link):
    """A link to a phone on USB, by its serial; ``phones`` says which there are."""

    def __init__(
        self, address: AdbUsbAddress, phones: Callable[[], Iterable[UsbPhone]] = usb_phones
    ) -> None:
        super().__init__()
        self._to, self._phones = address, phones
        self._phone: UsbPhone | None = None

    def connect(self, transport_timeout_s: float | None) -> None:
        """Find the phone and claim its adb interface.

        Raises:
            DeviceMissing: no phone has this serial.
            DeviceHeld: an adb server has claimed it.
            NeedsHuman: this user may not open it.
        """
        phones = list(self._phones())
        phone = next((p for p in phones if p.serial == self._to.serial), None)
        if phone is None:
            closed = sum(p.serial is None for p in phones)
            if closed:
                raise NeedsHuman(no_permission(f"{closed} phones on USB, maybe {self._to}"))
            there = ", ".join(str(p.serial) for p in phones) or "none"
            raise DeviceMissing(f"expected {self._to} on USB, found: {there}: plug it in")
        import usb1

        try:
            phone.link.connect(self._left_s)
        except usb1.USBErrorBusy as error:
            raise DeviceHeld(
                f"{self._to} is held by another program, as an adb server: use "
                f"adb:{self._to.serial}, or end the server with `adb kill-server`"
            ) from error
        except usb1.USBErrorAccess as error:
            raise NeedsHuman(no_permission(str(self._to))) from error
        except usb1.USBError as error:
            raise ConnectionLost(f"{self._to} could not be opened: {error}") from error
        self._phone = phone

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        """Return what came next, at most this many bytes."""
        try:
            return bytes(self._connected.link.bulk_read(numbytes, self._left_s))
        except UsbReadFailedError as error:
            raise self._failure(error) from error

    def bulk_write(self, data: bytes, transport_timeout_s: float | None) -> int:
        """Send all of this."""
        try:
            return int(self._connected.link.bulk_write(data, self._left_s))
        except UsbWriteFailedError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Release the interface; again is harmless."""
        phone, self._phone = self._phone, None
        if phone is not None:
            phone.link.close()

    @property
    def _connected(self) -> UsbPhone:
        if self._phone is None:
            raise ConnectionResetError("the interface is not claimed")
        return self._phone

    def _failure(self, error: Exception) -> OSError:
        return TimeoutError() if self.deadline.passed else ConnectionResetError(str(error))
