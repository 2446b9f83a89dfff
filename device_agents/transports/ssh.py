"""SSH transport: a board's sshd, through asyncssh, whose event loop runs in a thread of ours.

Host keys are those of known_hosts and nothing else; keys are the agent's and the user's key files.
A file goes over the standard input of one command, which also checks it and puts it into place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncssh

from device_agents.address import SSH_PORT, SshAddress
from device_agents.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceError,
    DeviceMissing,
    DeviceSwapped,
    PullFailed,
    PushFailed,
    Unauthorized,
)
from device_agents.transports.deadline import Deadline, pull_deadline, push_deadline, retry
from device_agents.transports.loop_thread import LoopThread
from device_agents.transports.shell import check_placed, command_line, last_line, place_argv
from device_agents.transports.transport import CONNECT_TIMEOUT_S, RUN_TIMEOUT_S, Completed

KNOWN_HOSTS = Path("~/.ssh/known_hosts")
KEEPALIVE_S, KEEPALIVES = 15.0, 3
ALIVE_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0


class SshTransport:
    """A `Transport` to a board; connected when constructed.

    Args:
        known_hosts: the file that says which host keys are trusted.
        key_file: the private key to use, by default the agent's and those in ``~/.ssh``.

    Raises:
        MissingExtra, DeviceMissing, Unauthorized, DeviceSwapped, ConnectionLost: see `reconnect`.
    """

    def __init__(
        self,
        address: SshAddress,
        *,
        known_hosts: Path = KNOWN_HOSTS,
        key_file: Path | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self._to, self._host = address, address.host.strip("[]")
        self._known_hosts = known_hosts.expanduser()
        self._key_file = None if key_file is None else key_file.expanduser()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._thread: LoopThread | None = None
        self._connect(Deadline(connect_timeout_s))

    @property
    def address(self) -> str:
        """The address this transport was opened with."""
        return str(self._to)

    def run(
        self, argv: Sequence[str], *, timeout_s: float = RUN_TIMEOUT_S, stdin: bytes = b""
    ) -> Completed:
        """Run a command through the user's login shell; see `Transport.run`."""
        return self._run(argv, Deadline(timeout_s), stdin)

    def push(
        self, data: bytes, path: str, *, mode: int = 0o644, timeout_s: float | None = None
    ) -> None:
        """Write a file whole or not at all; see `Transport.push`."""
        argv = place_argv(data, path, mode, receive=True)
        try:
            check_placed(self._run(argv, push_deadline(data, timeout_s), data), self.address, path)
        except CommandTimeout as late:
            raise PushFailed(f"{self.address}: {path} did not arrive in time: {late}") from late

    def pull(self, path: str, *, timeout_s: float | None = None) -> bytes:
        """Return a file's bytes; see `Transport.pull`."""
        try:
            done = self._run(["cat", "--", path], pull_deadline(timeout_s), b"")
        except CommandTimeout as late:
            raise PullFailed(f"{self.address}: {path} did not come in time: {late}") from late
        if done.exit_code != 0:
            raise PullFailed(f"{self.address}: {path} cannot be read: {last_line(done.stderr)}")
        return done.stdout

    def is_alive(self) -> bool:
        """Whether a command runs there now."""
        try:
            return self.run(["true"], timeout_s=ALIVE_TIMEOUT_S).exit_code == 0
        except DeviceError:
            return False

    def reconnect(self, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Connect again, waiting for a board that boots; see `Transport.reconnect`."""
        self.close()
        retry(self._connect, Deadline(timeout_s))

    def close(self) -> None:
        """End the connection and its thread; again is harmless."""
        thread, self._thread = self._thread, None
        connection, self._connection = self._connection, None
        if thread is not None:
            if connection is not None:
                thread.run(_end(connection))
            thread.close()

    def _connect(self, deadline: Deadline) -> None:
        self._thread = LoopThread(self.address)
        try:
            self._connection = self._thread.run(self._open(deadline.left_s))
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._distrust() from error
        except asyncssh.PermissionDenied as error:
            raise Unauthorized(
                f"{self.address} takes none of this computer's keys: "
                f"run `ssh-copy-id{self._port_option} {self._to.user}@{self._host}`"
            ) from error
        except (asyncssh.Error, EOFError, ConnectionResetError, TimeoutError) as error:
            if not isinstance(error, TimeoutError) and self._has_another_key():
                raise self._distrust() from error
            raise ConnectionLost(
                f"{self.address} did not take the connection: {str(error) or 'no answer in time'}"
            ) from error
        except OSError as error:
            raise DeviceMissing(
                f"nothing answers at {self.address}: {error.strerror or error}: "
                "is it on, on this network, and does its sshd run?"
            ) from error
        finally:
            if self._connection is None:
                self.close()

    async def _open(self, timeout_s: float) -> asyncssh.SSHClientConnection:
        """Connect; what ``~/.ssh/config`` says of the host holds, but for its known hosts."""
        async with asyncio.timeout(timeout_s):
            return await asyncssh.connect(
                self._host,
                self._port,
                username=self._to.user,
                known_hosts=self._trusted(),
                client_keys=self._client_keys(),
                preferred_auth="publickey",
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=KEEPALIVES,
            )

    @property
    def _port(self) -> tuple[()] | int:
        return () if self._to.port == SSH_PORT else self._to.port

    def _client_keys(self) -> list[asyncssh.SSHKey] | tuple[()]:
        if self._key_file is None:
            return ()
        try:
            return [asyncssh.read_private_key(str(self._key_file))]
        except (OSError, asyncssh.KeyImportError) as error:
            raise Unauthorized(
                f"{self._key_file} cannot be used: {error}: one with a passphrase is given to the "
                f"agent by `ssh-add {self._key_file}`, and needs no key file here"
            ) from error

    def _trusted(self) -> asyncssh.SSHKnownHosts:
        path = self._known_hosts
        try:
            return asyncssh.import_known_hosts(path.read_text() if path.exists() else "")
        except (OSError, ValueError) as error:
            raise Unauthorized(f"{path} says nothing of trusted hosts: {error}") from error

    def _known_keys(self) -> tuple[object, ...]:
        port = None if self._to.port == SSH_PORT else self._to.port
        keys, authorities, *_ = self._trusted().match(self._host, self._host, port)
        return (*keys, *authorities)

    def _has_another_key(self) -> bool:
        """Whether the server has no key of a kind that is known; it may hang up at that."""
        known = self._known_keys()
        if self._thread is None or not known:
            return False
        try:
            key = self._thread.run(asyncssh.get_server_host_key(self._host, self._port))
        except (asyncssh.Error, OSError):
            return False
        return key is not None and key not in known

    def _distrust(self) -> Unauthorized | DeviceSwapped:
        login = f"ssh{self._port_option} {self._to.user}@{self._host}"
        if self._known_keys():
            name = self._host if self._to.port == SSH_PORT else f"[{self._host}]:{self._to.port}"
            return DeviceSwapped(
                f"{self.address} has another host key than {self._known_hosts} says: if the board "
                f"was set up anew, run `ssh-keygen -R '{name}'`, then `{login}`"
            )
        return Unauthorized(
            f"the host key of {self.address} is not in {self._known_hosts}: run `{login}` once "
            "and compare the fingerprint that it shows with the board's"
        )

    @property
    def _port_option(self) -> str:
        return "" if self._to.port == SSH_PORT else f" -p {self._to.port}"

    def _run(self, argv: Sequence[str], deadline: Deadline, stdin: bytes) -> Completed:
        line = command_line(argv)
        if self._thread is None or self._connection is None:
            raise ConnectionLost(f"{self.address} is not connected: reconnect first")
        try:
            code, stdout, stderr = self._thread.run(
                _communicate(self._connection, line, stdin, deadline.left_s)
            )
        except TimeoutError as late:
            raise CommandTimeout(
                f"{self.address}: {argv[0]} had not ended after {deadline.timeout_s:g} s"
            ) from late
        except (asyncssh.Error, OSError, EOFError) as error:
            raise ConnectionLost(f"{self.address} was lost: {error}") from error
        if code is None:
            raise ConnectionLost(f"{self.address} was lost before {argv[0]} had ended")
        return Completed(tuple(argv), code if code >= 0 else 128 - code, stdout, stderr)


async def _communicate(
    connection: asyncssh.SSHClientConnection, line: str, stdin: bytes, timeout_s: float
) -> tuple[int | None, bytes, bytes]:
    async with asyncio.timeout(timeout_s):
        process = await connection.create_process(line.encode(), encoding=None)
        try:
            if not stdin:
                process.stdin.write_eof()
            stdout, stderr = await process.communicate(stdin or None)
        finally:
            if process.exit_status is None and process.exit_signal is None:
                process.kill()
            process.close()
    return process.returncode, stdout, stderr


async def _end(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
    with suppress(TimeoutError):
        await asyncio.wait_for(connection.wait_closed(), CLOSE_TIMEOUT_S)
