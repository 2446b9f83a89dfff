"""System server: answers the programs of /system/bin, one connection a question.

question   N \\0 folder \\0 name \\0 argument \\0 ...   (N fields after the first)
answer     exit code \\n text
"""

from __future__ import annotations

import os
import socket
import socketserver
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from device_agents.emulator.commands import COMMANDS, Answer
from device_agents.emulator.programs import MASK_VARIABLE
from device_agents.emulator.sandbox import Sandbox
from device_agents.emulator.state import State

KIB = 1024


class SystemServer(socketserver.ThreadingTCPServer):
    """Serves one phone; ``on_reboot`` is called by the program of that name.

    ``on_run(pid, path)`` answers the timing tool's stand-in, which asks before it begins.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        state: State,
        sandbox: Sandbox,
        *,
        on_reboot: Callable[[], None],
        on_run: Callable[[Sequence[str]], Answer],
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._state, self._sandbox = state, sandbox
        self._on_reboot = on_reboot
        self._own: dict[str, Callable[[Sequence[str]], Answer]] = {
            "benchmark_model": on_run,
            "df": self._df,
            "inward": self._inward,
            "pidof": self._pidof,
            "ps": self._ps,
            "reboot": self._reboot,
            "taskset": self._taskset,
            "top": self._top,
            "whoami": _whoami,
        }

    @property
    def port(self) -> int:
        """The loopback port."""
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of programs that were killed before they had their answer."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def answer(self, folder: str, name: str, arguments: Sequence[str]) -> Answer:
        """Return what a program started in ``folder`` prints."""
        if name == "sha256sum":
            return self._sha256sum(folder, arguments)
        if name == "admit":
            return self._admit(folder, arguments)
        if name in self._own:
            return self._own[name](arguments)
        with self._state.lock:
            return COMMANDS[name](self._state, arguments)

    def _inward(self, arguments: Sequence[str]) -> Answer:
        return Answer(self._sandbox.inward(arguments[0].encode()).decode())

    def _admit(self, folder: str, arguments: Sequence[str]) -> Answer:
        for name in arguments:
            path = Path(folder, name)
            if path.is_file() and self._sandbox.is_inside(path):
                self._sandbox.admit(path)
        return Answer("")

    def _sha256sum(self, folder: str, arguments: Sequence[str]) -> Answer:
        lines, missing = [], []
        for name in arguments:
            if name.startswith("-"):
                continue
            path = self._sandbox.host_path(name) if name.startswith("/") else Path(folder, name)
            try:
                lines.append(f"{self._sandbox.sha256(path)}  {name}\n")
            except OSError as error:
                missing.append(f"sha256sum: {name}: {os.strerror(error.errno or 0)}\n")
        return Answer("".join(missing), 1) if missing else Answer("".join(lines))

    def _df(self, arguments: Sequence[str]) -> Answer:
        total = self._state.profile.storage_bytes // KIB
        free = max(0, self._state.free_bytes - self._sandbox.used_bytes()) // KIB
        used = total - free
        share = -(-100 * used // total)
        return Answer(
            "Filesystem       1K-blocks     Used Available Use% Mounted on\n"
            f"/dev/block/dm-8 {total:>10} {used:>8} {free:>9} {share:>3}% /data\n"
        )

    def _pidof(self, arguments: Sequence[str]) -> Answer:
        names = [a for a in arguments if not a.startswith("-")]
        pids = [pid for pid, name in self._rows() if name in names]
        return Answer(" ".join(map(str, pids)) + "\n") if pids else Answer("", 1)

    def _rows(self) -> list[tuple[int, str]]:
        others = [(3000 + n, name) for n, name in enumerate(self._state.foreign_processes)]
        return [(1, "init"), *others, *sorted(self._sandbox.processes().items())]

    def _ps(self, arguments: Sequence[str]) -> Answer:
        rows = "".join(f"shell {pid:>13} 1 0 0 0 0 S {name}\n" for pid, name in self._rows())
        return Answer(f"USER           PID  PPID     VSZ    RSS WCHAN ADDR S NAME\n{rows}")

    def _top(self, arguments: Sequence[str]) -> Answer:
        rows = "".join(
            f"{pid:>6} shell  20   0  10M 3.0M 2.0M S {12.5 if name in busy else 0.0:>5}   0.1 "
            f"  0:01.00 {name}\n"
            for busy in [self._state.foreign_processes]
            for pid, name in self._rows()
        )
        return Answer(
            f"Tasks: {len(self._rows())} total,   1 running,   0 stopped,   0 zombie\n"
            "   PID USER   PR  NI VIRT  RES  SHR S[%CPU] %MEM     TIME+ ARGS\n" + rows
        )

    def _reboot(self, arguments: Sequence[str]) -> Answer:
        self._on_reboot()
        return Answer("")

    def _taskset(self, arguments: Sequence[str]) -> Answer:
        cpus = self._state.profile.cpus
        everything = sum(1 << cpu for cpu in cpus)
        if arguments and arguments[0] in ("-p", "-ap"):
            return self._mask_of(arguments[1:], everything)
        try:
            mask = int(arguments[0], 16) & everything
        except (IndexError, ValueError):
            return Answer(f"taskset: bad mask '{(*arguments, '')[0]}'\n", 1)
        if not mask:
            return Answer("taskset: failed to set affinity: Invalid argument\n", 1)
        chosen = [cpu for cpu in cpus if mask >> cpu & 1]
        here = sorted(os.sched_getaffinity(0))
        cores = sorted({here[cpu % len(here)] for cpu in chosen})
        self.write_status(mask, len(cpus))
        return Answer(f"{','.join(map(str, cores))} {mask:x}")

    def write_status(self, mask: int, count: int) -> None:
        """Write what /proc/self/status says to processes under this mask."""
        cores = [str(cpu) for cpu in range(count) if mask >> cpu & 1]
        path = self._sandbox.root / f"proc/self/masks/{mask:x}"
        if not path.exists():
            path.write_text(
                f"Name:\tsh\nState:\tR (running)\nCpus_allowed:\t{mask:x}\n"
                f"Cpus_allowed_list:\t{','.join(_spans(list(map(int, cores))))}\n"
            )

    def _mask_of(self, arguments: Sequence[str], everything: int) -> Answer:
        try:
            pid = int(arguments[0])
            entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (IndexError, ValueError, OSError):
            return Answer(f"taskset: bad pid '{(*arguments, '')[0]}'\n", 1)
        values = dict(entry.decode(errors="replace").partition("=")[::2] for entry in entries)
        mask = values.get(MASK_VARIABLE, f"{everything:x}")
        return Answer(f"pid {pid}'s current affinity mask: {mask}\n")


def _whoami(arguments: Sequence[str]) -> Answer:
    return Answer("shell\n")


def _spans(cores: list[int]) -> list[str]:
    spans: list[list[int]] = []
    for core in cores:
        if spans and core == spans[-1][-1] + 1:
            spans[-1].append(core)
        else:
            spans.append([core])
    return [str(s[0]) if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans]


class _Handler(socketserver.StreamRequestHandler):
    server: SystemServer

    def handle(self) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fields: list[str] = []
        data = b""
        while not fields or len(fields) < int(fields[0]) + 1:
            chunk = self.connection.recv(1 << 16)
            if not chunk:
                return
            *whole, data = (data + chunk).split(b"\0")
            fields += [field.decode(errors="surrogateescape") for field in whole]
        _, folder, name, *arguments = fields
        text, code = self.server.answer(folder, name, arguments)
        self.connection.sendall(f"{code}\n".encode() + text.encode(errors="surrogateescape"))
