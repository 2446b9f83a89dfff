"""Daemon: one host's connection to the emulated phone's adbd, and the streams in it.

host  CNXN -->            <-- AUTH token        (when keys are checked, until one is known)
      AUTH signature -->  <-- CNXN banner
      OPEN shell:... -->  <-- OKAY
      WRTE <-> OKAY, one at a time in each direction of each stream
      CLSE <-> CLSE
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from device_agents.emulator import wire


class StreamClosed(Exception):
    """The other side closed the stream, or the connection is gone."""


class Host(Protocol):
    """What a connection needs of its phone."""

    def banner(self) -> bytes:
        """Return how the phone introduces itself."""
        ...

    def knows_key(self, token: bytes, signature: bytes) -> bool:
        """Whether a trusted key signed the token."""
        ...

    def trust(self, public_key: bytes, gone: threading.Event) -> bool:
        """Ask the person whether to trust a key; wait for the answer, or until it is ``gone``."""
        ...

    def open_service(self, service: str, stream: Stream, connection: Connection) -> bool:
        """Serve what a host opened; False when there is no such service. Called in a thread."""
        ...


class Stream:
    """One stream of a connection, used by the thread of its service."""

    def __init__(self, connection: Connection, local: int, remote: int) -> None:
        self._connection, self.local, self.remote = connection, local, remote
        self._incoming: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._unread = b""
        self._acknowledged = threading.Semaphore(0)
        self._writing = threading.Lock()
        self._ending = threading.Lock()
        self.closed = threading.Event()

    def accept(self) -> None:
        """Tell the other side that the service is there."""
        self._connection.send(wire.OKAY, self.local, self.remote)

    def read_some(self) -> bytes:
        """Return what came next.

        Raises:
            StreamClosed: nothing more will come.
        """
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        data_or_end = self._incoming.get()
        if data_or_end is None:
            self._incoming.put(None)
            raise StreamClosed
        self._connection.send(wire.OKAY, self.local, self.remote)
        return data_or_end

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes.

        Raises:
            StreamClosed: fewer came.
        """
        pieces, missing = [], size
        while missing:
            piece = self.read_some()
            pieces.append(piece[:missing])
            self._unread = piece[missing:]
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def write(self, data: bytes) -> None:
        """Send bytes, each payload once the one before it was taken.

        Raises:
            StreamClosed: the other side will not take more.
        """
        step = self._connection.max_payload
        with self._writing:
            for start in range(0, len(data), step):
                if self.closed.is_set():
                    raise StreamClosed
                payload = data[start : start + step]
                self._connection.send(wire.WRITE, self.local, self.remote, payload)
                self._acknowledged.acquire()
                if self.closed.is_set():
                    raise StreamClosed

    def close(self) -> None:
        """Tell the other side that this is all, or that its end was heard; again is harmless."""
        if self.end():
            self._connection.send(wire.CLOSE, self.local, self.remote)

    def take(self, data: bytes) -> None:
        """Queue what came for the service."""
        self._incoming.put(data)

    def acknowledge(self) -> None:
        """Let the next payload go."""
        self._acknowledged.release()

    def end(self) -> bool:
        """Wake up whoever waits: nothing more will come; return whether this is news."""
        with self._ending:
            if self.closed.is_set():
                return False
            self.closed.set()
        self._incoming.put(None)
        self._acknowledged.release()
        return True


@dataclass(slots=True)
class _Armed:
    bytes_left: int
    action: Callable[[], None]


class Connection:
    """One TCP connection; `run` serves it until it ends."""

    def __init__(
        self,
        peer: socket.socket,
        host: Host,
        *,
        protocol_version: int,
        max_payload: int,
        checks_keys: bool,
        mute: bool = False,
    ) -> None:
        """``mute``: never answers, as a phone whose daemon hangs."""
        self._socket, self._host, self._mute = peer, host, mute
        self._version, self.max_payload = protocol_version, max_payload
        self._checks_keys = checks_keys
        self._sending = threading.Lock()
        self._with_sum = True
        self._streams: dict[int, Stream] = {}
        self._token = b""
        self._next_local = 1
        self._armed: list[_Armed] = []
        self._resume_s = 0.0
        self.gone = threading.Event()

    def run(self) -> None:
        """Serve until the other side or `cut` ends the connection."""
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                header = wire.unpack_header(self._receive(wire.HEADER_SIZE))
                self._handle(header, self._receive(header.length))
        except (OSError, wire.NotAdb):
            self.cut()

    def cut(self) -> None:
        """Break off as a pulled cable does; again is harmless."""
        self.gone.set()
        for stream in list(self._streams.values()):
            stream.end()
        with contextlib.suppress(OSError):  # the other side may have been faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def arm(self, after_bytes: int, action: Callable[[], None]) -> None:
        """Let something happen once so many more bytes have gone by, in either direction."""
        if after_bytes:
            self._armed.append(_Armed(after_bytes, action))
        else:
            action()

    def stall(self, seconds: float) -> None:
        """Neither take nor give anything for a time."""
        self._resume_s = time.monotonic() + seconds

    def end_streams(self) -> None:
        """Close every stream in the middle of what it does, yet between two messages."""
        for stream in list(self._streams.values()):
            self._in_thread(stream.close)  # the caller may be in the middle of a message

    def send(self, command: int, arg0: int, arg1: int, payload: bytes = b"") -> None:
        """Send one message; that the connection is gone is found out by the reader."""
        message = wire.pack(command, arg0, arg1, payload, with_sum=self._with_sum)
        if self._mute:
            return
        with self._sending:
            try:
                passes = self._pass_by(len(message))
                self._socket.sendall(message[:passes])
                if passes < len(message):
                    self._strike()
                    self._hold()
                    self._socket.sendall(message[passes:])
            except OSError:
                self.cut()

    def _pass_by(self, size: int) -> int:
        """Count bytes; return how many of them go before something happens."""
        self._hold()
        passes = min([size, *(armed.bytes_left for armed in self._armed)])
        for armed in self._armed:
            armed.bytes_left -= passes
        return passes

    def _strike(self) -> None:
        due = [armed for armed in self._armed if armed.bytes_left <= 0]
        self._armed = [armed for armed in self._armed if armed.bytes_left > 0]
        for armed in due:
            armed.action()

    def _hold(self) -> None:
        while (left := self._resume_s - time.monotonic()) > 0 and not self.gone.is_set():
            self.gone.wait(left)

    def _receive(self, size: int) -> bytes:
        buffer = bytearray(size)
        view, filled = memoryview(buffer), 0
        while filled < size:
            count = self._socket.recv_into(view[filled:])
            if not count:
                raise ConnectionResetError("the host closed the connection")
            self._pass_by(count)
            self._strike()
            filled += count
        return bytes(buffer)

    def _handle(self, header: wire.Header, payload: bytes) -> None:
        if self._with_sum and header.total != sum(payload) & 0xFFFFFFFF and header.total:
            raise wire.NotAdb("the sum of a payload is wrong")
        match header.command:
            case wire.CONNECT:
                self._connect(header)
            case wire.AUTH:
                self._authenticate(header, payload)
            case wire.OPEN:
                self._open(header, payload)
            case _:
                self._pass_on(header, payload)

    def _connect(self, header: wire.Header) -> None:
        self._version = min(self._version, header.arg0)
        self.max_payload = min(self.max_payload, header.arg1)
        self._with_sum = self._version < wire.VERSION
        if self._checks_keys:
            self._ask_for_key()
        else:
            self._welcome()

    def _ask_for_key(self) -> None:
        self._token = os.urandom(20)
        self.send(wire.AUTH, wire.AUTH_TOKEN, 0, self._token)

    def _welcome(self) -> None:
        self._checks_keys = False
        self.send(wire.CONNECT, self._version, self.max_payload, self._host.banner())

    def _authenticate(self, header: wire.Header, payload: bytes) -> None:
        if header.arg0 == wire.AUTH_SIGNATURE:
            if self._host.knows_key(self._token, payload):
                self._welcome()
            else:
                self._ask_for_key()
        elif header.arg0 == wire.AUTH_PUBLIC_KEY:
            self._in_thread(self._wait_for_trust, payload)

    def _wait_for_trust(self, public_key: bytes) -> None:
        if self._host.trust(public_key.rstrip(b"\0"), self.gone):
            self._welcome()

    def _open(self, header: wire.Header, payload: bytes) -> None:
        if self._checks_keys:
            return
        stream = Stream(self, self._next_local, header.arg0)
        self._next_local += 1
        self._streams[stream.local] = stream
        service = payload.rstrip(b"\0").decode(errors="surrogateescape")
        self._in_thread(self._serve, service, stream)

    def _serve(self, service: str, stream: Stream) -> None:
        try:
            if not self._host.open_service(service, stream, self):
                stream.local = 0
            stream.close()
        except StreamClosed:
            stream.close()

    def _pass_on(self, header: wire.Header, payload: bytes) -> None:
        stream = self._streams.get(header.arg1)
        if stream is None:
            if header.command == wire.WRITE:
                self.send(wire.CLOSE, 0, header.arg0)
            return
        match header.command:
            case wire.OKAY:
                stream.acknowledge()
            case wire.WRITE:
                stream.take(payload)
            case wire.CLOSE:
                del self._streams[header.arg1]
                stream.close()

    def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()
