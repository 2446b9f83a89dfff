"""Emulated phone: an adb daemon on loopback, with a shell, files and a state of its own.

with EmulatedPhone(PIXEL_4) as phone:
    subprocess.run(["adb", "connect", phone.address])
    phone.state.thermal_status = 2
    phone.reboot()
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from device_agents.emulator.auth import PublicKey, parse_public_key
from device_agents.emulator.commands import Answer
from device_agents.emulator.daemon import Connection, Stream
from device_agents.emulator.faults import Fault, Faults
from device_agents.emulator.profiles import PIXEL_4, PROFILES, Profile
from device_agents.emulator.runs import RunLog
from device_agents.emulator.sandbox import Sandbox
from device_agents.emulator.shell import ShellService
from device_agents.emulator.state import State, kernel_files
from device_agents.emulator.sync import SyncService
from device_agents.emulator.system_server import SystemServer
from device_agents.emulator.terminal import TerminalService
from device_agents.errors import DeviceUnusable

DEFAULT_SERIAL = "EMULATED0001"
BOOT_S = 0.5
FOREVER_S = 1e6
POLL_S = 0.1
SHUTDOWN_POLL_S = 0.02


class EmulatedPhone:
    """A phone to practise on; usable from ``with`` until its end.

    ``state`` may be changed at any time. With ``auth`` only hosts whose key is in
    ``authorized_keys`` (lines of an ``adbkey.pub``) get in; others wait, unauthorized, until
    `accept_key` is called.
    """

    def __init__(
        self,
        profile: Profile | str = PIXEL_4,
        *,
        root: Path | None = None,
        port: int = 0,
        serial: str = DEFAULT_SERIAL,
        auth: bool = False,
        authorized_keys: Iterable[bytes] = (),
        faults: Iterable[Fault] = (),
        boot_s: float = BOOT_S,
    ) -> None:
        """Prepare; nothing listens before ``with``.

        Args:
            root: where its files live; a temporary folder by default, removed at the end.
            port: to listen on; 0 takes a free one.
            boot_s: how long a reboot takes.

        Raises:
            KeyError: no profile has this name.
            DeviceUnusable: the root cannot hold a phone, or, at ``with``, the port is taken.
        """
        self.profile = PROFILES[profile] if isinstance(profile, str) else profile
        self.state = State(self.profile, serial)
        self.faults = Faults(tuple(faults))
        self.runs = RunLog()
        self._own_root = root is None
        self._root = Path(tempfile.mkdtemp(prefix="phone-")) if root is None else root
        self._wanted_port, self._boot_s, self._auth = port, boot_s, auth
        self._keys = [parse_public_key(line) for line in authorized_keys]
        self.pending_key: PublicKey | None = None
        self._distrusts = False
        self._accepted = threading.Condition()
        self._connections: list[Connection] = []
        self._lock = threading.RLock()
        self._listener: socket.socket | None = None

    def __enter__(self) -> EmulatedPhone:
        self.sandbox = Sandbox(self._root)
        self._server = SystemServer(
            self.state, self.sandbox, on_reboot=self._reboot_soon, on_run=self._on_run
        )
        threading.Thread(
            target=self._server.serve_forever, args=(SHUTDOWN_POLL_S,), daemon=True
        ).start()
        self.sandbox.install(self._server.port, self.profile.abis, self.profile.device)
        self._server.write_status(self._all_cores, len(self.profile.cpus))
        self.refresh()
        self.port = self._listen(self._wanted_port)
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        self.sandbox.kill_processes()
        self._server.shutdown()
        self._server.server_close()
        if self._own_root:
            shutil.rmtree(self._root, ignore_errors=True)

    @property
    def serial(self) -> str:
        """What ``ro.serialno`` says."""
        return self.state.serial

    @property
    def address(self) -> str:
        """HOST:PORT for ``adb connect``, which is also the serial that an adb server gives it."""
        return f"127.0.0.1:{self.port}"

    @property
    def root(self) -> Path:
        """The folder that is the phone's ``/``."""
        return self.sandbox.root

    @property
    def _all_cores(self) -> int:
        return sum(1 << cpu for cpu in self.profile.cpus)

    def refresh(self) -> None:
        """Bring /proc and /sys up to date; done before every command and every run of the tool."""
        self.sandbox.write_kernel_files(kernel_files(self.state))

    def reboot(self) -> None:
        """Power off and on: connections break, processes end, what is on disk stays."""
        self._hang_up()
        self.sandbox.kill_processes()
        time.sleep(self._boot_s)
        self.state.boot()
        self.refresh()
        self._listen(self.port)

    def drop_connections(self) -> None:
        """Pull the cable and put it back: connections break, everything else goes on."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.cut()

    def accept_key(self) -> None:
        """Press "allow" on the phone's screen for the key that asks or asks next."""
        with self._accepted:
            self._distrusts = False
            if self.pending_key is not None:
                self._keys.append(self.pending_key)
                self.pending_key = None
            self._accepted.notify_all()

    def serve(self, confirm: Callable[[PublicKey], bool] = lambda key: False) -> None:
        """Wait until interrupted; ``confirm`` is asked about each new key that wants to get in."""
        asked = None
        while True:
            key = self.pending_key
            if key != asked and key is not None and confirm(key):
                self.accept_key()
            asked = key
            time.sleep(POLL_S)

    def _listen(self, port: int) -> int:
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise DeviceUnusable(
                f"expected a free port, found {port} taken ({error.strerror}): choose another, or 0"
            ) from error
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return int(listener.getsockname()[1])

    def _hang_up(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):  # closed already
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.drop_connections()

    def _reboot_soon(self) -> None:
        threading.Thread(target=self.reboot, daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            faults = self.faults.happen("connect")
            actions = {fault.action for fault in faults}
            self._distrusts = self._distrusts or "unauthorized" in actions
            connection = Connection(
                peer,
                self,
                protocol_version=self.profile.protocol_version,
                max_payload=self.profile.max_payload,
                checks_keys=self._auth or self._distrusts,
                mute="offline" in actions,
            )
            self._strike(faults, (connection,))
            with self._lock:
                self._connections = [c for c in self._connections if not c.gone.is_set()]
                self._connections.append(connection)
            threading.Thread(target=connection.run, daemon=True).start()

    # What a connection asks of its phone

    def banner(self) -> bytes:
        """Return how the phone introduces itself."""
        names = (
            f"ro.product.name={self.profile.product};ro.product.model={self.profile.model};"
            f"ro.product.device={self.profile.device};"
        )
        features = ",".join(self.profile.features)
        return f"device::{names}{f'features={features}' if features else ''}".encode()

    def knows_key(self, token: bytes, signature: bytes) -> bool:
        """Whether a trusted key signed the token."""
        trusted = () if self._distrusts else self._keys
        return any(key.signed(token, signature) for key in trusted)

    def trust(self, public_key: bytes, gone: threading.Event) -> bool:
        """Wait until somebody accepts this key, or the host went away."""
        try:
            key = parse_public_key(public_key)
        except ValueError:
            return False
        with self._accepted:
            self.pending_key = key
            while not gone.is_set():
                if key in self._keys and not self._distrusts:
                    return True
                self._accepted.wait(0.1)
        return False

    def open_service(self, service: str, stream: Stream, connection: Connection) -> bool:
        """Serve what a host opened; False when there is no such service."""
        kind, _, argument = service.partition(":")
        name, *options = kind.split(",")
        packets = "v2" in options
        if packets and "shell_v2" not in self.profile.features:
            return False
        match name:
            case "shell" if "pty" in options or not (packets or argument):
                self.refresh()
                stream.accept()
                kinds = [option[5:] for option in options if option.startswith("TERM=")]
                kind = kinds[0] if kinds else "dumb"
                TerminalService(stream, self.sandbox, kind=kind, packets=packets).run()
            case "shell" | "exec":
                self.refresh()
                stream.accept()
                self._strike(self.faults.happen("shell"), (connection,))
                crlf = self.profile.crlf_shell and name == "shell"
                shell = ShellService(stream, self.sandbox, argument, packets=packets, crlf=crlf)
                shell.run(f"{self.root}/proc/self/masks/{self._all_cores:x}")
            case "sync":
                stream.accept()
                SyncService(
                    stream,
                    self.sandbox,
                    self._free_bytes,
                    lambda event: self._strike(self.faults.happen(event), (connection,)),
                ).run()
            case "reboot":
                stream.accept()
                self._reboot_soon()
            case _:
                return False
        return True

    def _free_bytes(self) -> int:
        return self.state.free_bytes - self.sandbox.used_bytes()

    # What goes wrong

    def _strike(self, faults: Iterable[Fault], connections: Sequence[Connection]) -> None:
        for fault in faults:
            if fault.is_of_tool:
                continue
            if fault.after_s:
                timer = threading.Timer(fault.after_s, self._strike_now, (fault, connections))
                timer.daemon = True
                timer.start()
            else:
                self._strike_now(fault, connections)

    def _strike_now(self, fault: Fault, connections: Sequence[Connection]) -> None:
        reach: dict[str, Callable[[Connection], Callable[[], None]]] = {
            "drop": lambda connection: connection.cut,
            "eof": lambda connection: connection.end_streams,
            "reboot": lambda connection: self._reboot_soon,
            "stall": lambda connection: partial(
                connection.stall, float(fault.argument or FOREVER_S)
            ),
        }
        if fault.action in reach and connections:
            for connection in connections:
                connection.arm(fault.after_bytes, reach[fault.action](connection))
        elif fault.action == "reboot":
            self._reboot_soon()
        else:
            self.state.suffer(fault.action, fault.argument, self.sandbox.used_bytes())
            self.refresh()

    def _on_run(self, arguments: Sequence[str]) -> Answer:
        """Answer the timing tool's stand-in, which has loaded: pid, mask, time of start, flags."""
        self.runs.begin(int(arguments[0]), float(arguments[2]))
        faults = self.faults.happen("run")
        with self._lock:
            connections = tuple(self._connections)
        self._strike(faults, connections)
        self.refresh()
        mask = int(arguments[1] or f"{self._all_cores:x}", 16)
        cpus = tuple(cpu for cpu in self.profile.cpus if mask >> cpu & 1)
        own = [f"{fault.action} {fault.argument}".strip() for fault in faults if fault.is_of_tool]
        orders = {"pace": self.state.pace(cpus), "fault": own[-1] if own else ""}
        return Answer(json.dumps(orders))
