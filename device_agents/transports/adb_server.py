"""adb server transport: a phone through the adb server that runs on this machine.

socket  --  host:transport-id:N  --  shell,v2,raw:LINE      packets: 0 in, 1 out, 2 err, 3 exit
                                 --  sync:                  files

The server is never started here: two servers fight for USB, so that is a person's decision. The
transport id belongs to one connection of one phone: another phone under the same serial, or the
same one after a cable was pulled, has another.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from adbutils import AdbConnection, AdbError, AdbTimeout

from device_agents.address import AdbAddress
from device_agents.errors import (
    AddressError,
    CommandTimeout,
    ConnectionLost,
    DeviceMissing,
    DeviceUnusable,
    NeedsHuman,
    Unauthorized,
)
from device_agents.transports.adb import AdbTransport
from device_agents.transports.deadline import Deadline
from device_agents.transports.transport import CONNECT_TIMEOUT_S
from device_agents.transports.usb_phones import no_permission

HOST, PORT = "127.0.0.1", 5037
LONGEST_LINE = 60_000  # a service's name has a length of four hexadecimal digits
CHUNK_BYTES = 1 << 18
ANSWER_TIMEOUT_S = 3.0  # of a server's socket, which is near
INSTANT_S = 0.001  # a socket's timeout of 0 would mean that it does not wait at all
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
_PACKET = struct.Struct("<BI")
_SOCKET = re.compile(r"tcp:(?:(?P<host>[A-Za-z0-9._-]+):)?(?P<port>[0-9]{1,5})")
_NETWORK_SERIAL = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")
_LISTED = re.compile(r"(?P<serial>\S+)\s+(?P<state>.*?)(?P<facts>(?:\s+\w+:\S*)*)")


@dataclass(frozen=True, slots=True)
class ListedPhone:
    """A phone as an adb server lists it; without a transport id it cannot be spoken to."""

    serial: str
    state: str
    model: str
    transport_id: int | None


class AdbServer:
    """A running adb server of this machine or another."""

    def __init__(self, host: str = HOST, port: int = PORT) -> None:
        self.host, self.port = host, port

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> AdbServer:
        """Return the server that the adb command of this environment would use.

        Raises:
            AddressError: the environment names none that TCP leads to.
        """
        name = environment.get("ADB_SERVER_SOCKET")
        port = environment.get("ANDROID_ADB_SERVER_PORT")
        found = _SOCKET.fullmatch(name or f"tcp:{port or PORT}")
        if found is None:
            raise AddressError(
                "expected ADB_SERVER_SOCKET=tcp:HOST:PORT or ANDROID_ADB_SERVER_PORT=PORT, "
                f"found {name or port!r}"
            )
        return cls(found["host"] or HOST, int(found["port"]))

    def phones(self, deadline: Deadline) -> tuple[ListedPhone, ...]:
        """Return the phones that the server knows, in any state.

        Raises:
            DeviceMissing: no server runs.
            ConnectionLost: it did not answer.
        """
        return parse_phones(self.ask("host:devices-l", deadline))

    def ask(self, question: str, deadline: Deadline) -> str:
        """Return the server's answer to one request.

        Raises:
            DeviceMissing: no server runs.
            ConnectionLost: it refused.
            CommandTimeout: it did not answer in time.
        """
        connection = self.connect(deadline, question)
        try:
            size = int(connection.read_exact(4), 16)
            return bytes(connection.read_exact(size)).decode(errors="replace")
        except (AdbError, EOFError, OSError, ValueError) as error:
            raise ConnectionLost(f"the adb server did not answer {question}: {error}") from error
        finally:
            connection.conn.close()

    def connect(self, deadline: Deadline, *requests: str) -> AdbConnection:
        """Return a connection to the server that has granted these requests.

        Raises:
            DeviceMissing: no server runs.
            ConnectionLost: it refused.
            CommandTimeout: it did not answer in time.
        """
        try:
            connection = _Connection(self.host, self.port)
        except OSError as error:
            port = "" if self.port == PORT else f"-P {self.port} "
            raise DeviceMissing(
                f"no adb server runs at {self.host}:{self.port}: run `adb {port}start-server`"
            ) from error
        try:
            for request in requests:
                connection.conn.settimeout(deadline.left_s or INSTANT_S)
                connection.send_command(request)
                connection.check_okay()
        except (AdbTimeout, TimeoutError) as error:
            connection.conn.close()
            raise CommandTimeout("the adb server did not answer in time") from error
        except (AdbError, OSError) as error:
            connection.conn.close()
            raise ConnectionLost(f"the adb server refused: {error}: reconnect") from error
        return connection


class _Connection(AdbConnection):  # type: ignore[misc]
    def __init__(self, host: str, port: int) -> None:
        self._at = (host, port)
        super().__init__(host, port)

    def _safe_connect(self) -> socket.socket:
        """Connect, start no server where there is none, and leave no socket open then."""
        connection = socket.create_connection(self._at, ANSWER_TIMEOUT_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
        return connection


def parse_phones(listing: str) -> tuple[ListedPhone, ...]:
    """Return the phones in what ``adb devices -l`` prints, without its title."""
    phones = []
    for line in listing.splitlines():
        found = _LISTED.fullmatch(line.strip())
        if found is not None:
            facts = dict(fact.split(":", 1) for fact in found["facts"].split())
            number = facts.get("transport_id", "")
            phones.append(
                ListedPhone(
                    serial=found["serial"],
                    state=found["state"],
                    model=facts.get("model", ""),
                    transport_id=int(number) if number.isdecimal() else None,
                )
            )
    return tuple(phones)


class AdbServerTransport(AdbTransport):
    """A `Transport` to a phone through an adb server; connected when constructed.

    A serial that is HOST:PORT and not listed yet is connected to, as ``adb connect`` does.
    """

    _longest_line = LONGEST_LINE

    def __init__(
        self,
        address: AdbAddress,
        *,
        server: AdbServer | None = None,
        expected_serial: str | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        super().__init__(str(address), expected_serial)
        self._serial = address.serial
        self._server = AdbServer.of_environment() if server is None else server
        self._transport_id: int | None = None
        self._connect_checked(Deadline(connect_timeout_s))

    def close(self) -> None:
        """Let the phone go; the server keeps it. Again is harmless."""
        self._transport_id = None

    def _connect(self, deadline: Deadline) -> None:
        phone = self._find(deadline)
        if phone.transport_id is None or phone.state != "device":
            raise _not_ready(self._address, phone)
        question = f"host-transport-id:{phone.transport_id}:features"
        if "shell_v2" not in self._server.ask(question, deadline).split(","):
            raise DeviceUnusable(
                f"{self._address} is older than Android 7, from which an adb server gets no exit "
                "codes: use adb-tcp:HOST:PORT, or adb-usb:SERIAL after `adb kill-server`"
            )
        self._transport_id = phone.transport_id

    def _find(self, deadline: Deadline) -> ListedPhone:
        phones = self._server.phones(deadline)
        mine = [phone for phone in phones if phone.serial == self._serial]
        if _NETWORK_SERIAL.fullmatch(self._serial) and [p.state for p in mine] in ([], ["offline"]):
            if mine:
                self._server.ask(f"host:disconnect:{self._serial}", deadline)
            self._server.ask(f"host:connect:{self._serial}", deadline)
            phones = self._server.phones(deadline)
            mine = [phone for phone in phones if phone.serial == self._serial]
        if len(mine) == 1:
            return mine[0]
        there = ", ".join(f"{phone.serial} ({phone.state})" for phone in phones) or "none"
        raise DeviceMissing(
            f"expected one phone {self._serial} at the adb server {self._server.host}:"
            f"{self._server.port}, found {len(mine)}; those that are there: {there}"
        )

    def _open(self, service: str, deadline: Deadline) -> SocketStream:
        if self._transport_id is None:
            raise ConnectionLost("not connected: reconnect first")
        requests = (f"host:transport-id:{self._transport_id}", service)
        try:
            connection = self._server.connect(deadline, *requests)
        except DeviceMissing as error:
            raise ConnectionLost(f"{error}, then reconnect") from error
        return SocketStream(connection.conn, deadline)

    def _run_line(self, line: str, stdin: bytes, deadline: Deadline) -> tuple[int, bytes, bytes]:
        stream = self._open(f"shell,v2,raw:{line}", deadline)
        feeder = threading.Thread(target=_feed, args=(stream, stdin), daemon=True)
        try:
            feeder.start()
            return _collect(stream)
        finally:
            stream.close()
            feeder.join()


class SocketStream:
    """A `sync.Stream` over a socket of the adb server."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._socket, self._deadline = connection, deadline

    def send(self, data: bytes) -> bool:
        """Send all of this; see `sync.Stream`."""
        try:
            self._socket.settimeout(self._deadline.left_s or INSTANT_S)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise CommandTimeout("it took no more") from error
        except OSError:
            return False
        return True

    def receive_some(self) -> bytes:
        """Return what came next; see `sync.Stream`."""
        try:
            self._socket.settimeout(self._deadline.left_s or INSTANT_S)
            if hasattr(socket, "TCP_QUICKACK"):  # the server holds back what follows a small piece
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            return self._socket.recv(CHUNK_BYTES)
        except TimeoutError as error:
            raise CommandTimeout("nothing came") from error
        except OSError as error:
            raise ConnectionLost(f"the adb server hung up: {error}: reconnect") from error

    def close(self) -> None:
        """Close the socket; whoever uses it at that moment stops."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _feed(stream: SocketStream, stdin: bytes) -> None:
    with suppress(CommandTimeout):
        for start in range(0, len(stdin), CHUNK_BYTES):
            chunk = stdin[start : start + CHUNK_BYTES]
            if not stream.send(_PACKET.pack(STDIN, len(chunk)) + chunk):
                return
        stream.send(_PACKET.pack(CLOSE_STDIN, 0))


def _collect(stream: SocketStream) -> tuple[int, bytes, bytes]:
    """Return exit code and both streams from the packets of shell v2."""
    unread, output = bytearray(), {STDOUT: bytearray(), STDERR: bytearray()}
    while True:
        while len(unread) >= _PACKET.size:
            kind, size = _PACKET.unpack_from(unread)
            if len(unread) < _PACKET.size + size:
                break
            data = unread[_PACKET.size : _PACKET.size + size]
            del unread[: _PACKET.size + size]
            if kind == EXIT and size:
                return data[0], bytes(output[STDOUT]), bytes(output[STDERR])
            if kind in output:
                output[kind] += data
        piece = stream.receive_some()
        if not piece:
            raise ConnectionLost("the output ended before the command did: reconnect")
        unread += piece


def _not_ready(address: str, phone: ListedPhone) -> NeedsHuman | ConnectionLost:
    if phone.state == "unauthorized":
        return Unauthorized(
            f"{address} does not trust this computer: unlock it and allow USB debugging"
        )
    if phone.state.startswith("no permissions"):
        return NeedsHuman(no_permission(address))
    if phone.state in ("offline", "authorizing", "connecting"):
        return ConnectionLost(
            f"{address} is {phone.state}: run `adb reconnect offline`, or plug it in again"
        )
    return NeedsHuman(f"{address} is in state {phone.state!r}: boot it into Android")
