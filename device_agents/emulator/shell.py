"""Shell: the services that run commands, with and without the protocol of shell v2.

    shell:COMMAND             both streams as one, no exit code; CR LF on old phones
    shell,v2,raw:COMMAND      packets: 0 input, 1 output, 2 errors, 3 exit code, 4 end of input
    exec:COMMAND              both streams as one, as they are

As adbd does, the shell's process group is hung up on when the shell or the stream ends: what is
to live on needs a session of its own before that.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import struct
import subprocess
import threading
from typing import IO

from device_agents.emulator.daemon import Stream, StreamClosed
from device_agents.emulator.programs import STATUS_FD
from device_agents.emulator.sandbox import OutwardStream, Sandbox

INPUT, OUTPUT, ERRORS, EXIT = 0, 1, 2, 3
CLOSE_INPUT = 4
_WITH_STATUS = ("/bin/bash", "-c", f'exec {STATUS_FD}<"$1"; shift; exec "$@"', "bash")
_CHUNK = 1 << 16
PACKET = struct.Struct("<BI")
_LINE_END = re.compile(rb"\n")  # a terminal does so even behind a CR


class ShellService:
    """Runs one command for one stream."""

    def __init__(
        self,
        stream: Stream,
        sandbox: Sandbox,
        command: str,
        *,
        packets: bool,
        crlf: bool = False,
    ) -> None:
        self._stream, self._sandbox, self._command = stream, sandbox, command
        self._packets, self._crlf = packets, crlf

    def run(self, status_file: str) -> None:
        """Run it to its end; ``status_file`` is what /proc/self/status says to it.

        Raises:
            StreamClosed: the host went away meanwhile; the command has been hung up on.
        """
        command = self._command.encode(errors="surrogateescape")
        argv: list[str | bytes] = [
            *_WITH_STATUS,
            status_file,
            f"{self._sandbox.root}/system/bin/sh",
        ]
        if command:
            argv += ["-c", self._sandbox.inward(command)]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if self._packets else subprocess.STDOUT,
            env=self._sandbox.environment(),
            cwd=self._sandbox.root,
            start_new_session=True,
        )
        assert process.stdout is not None
        threading.Thread(target=self._feed, args=(process,), daemon=True).start()
        pumps = [threading.Thread(target=self._pump, args=(process, process.stdout, OUTPUT))]
        if process.stderr is not None:
            errors = process.stderr
            pumps.append(threading.Thread(target=self._pump, args=(process, errors, ERRORS)))
        for pump in pumps:
            pump.start()
        code = process.wait()
        hang_up(process.pid)
        for pump in pumps:
            pump.join()
        if self._packets:
            write_exit(self._stream, code)

    def _pump(self, process: subprocess.Popen[bytes], source: IO[bytes], kind: int) -> None:
        outward = OutwardStream(self._sandbox)
        with source:
            try:
                while chunk := os.read(source.fileno(), _CHUNK):
                    self._pass_on(outward.feed(chunk), kind)
                self._pass_on(outward.flush(), kind)
            except StreamClosed:
                hang_up(process.pid)

    def _pass_on(self, data: bytes, kind: int) -> None:
        if not data:
            return
        if self._packets:
            self._stream.write(packet(kind, data))
        else:
            self._stream.write(_LINE_END.sub(b"\r\n", data) if self._crlf else data)

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            while (data := self._read_input()) is not None:
                text = data if b"\0" in data else self._sandbox.inward(data)
                process.stdin.write(text)
                process.stdin.flush()
        except (StreamClosed, OSError):
            pass  # gone, or the command does not want more
        with contextlib.suppress(OSError):  # nor may it want what was still on its way
            process.stdin.close()
        self._outwatch(process)

    def _outwatch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of the stream, which may come before that of the command."""
        with contextlib.suppress(StreamClosed):
            while True:
                self._stream.read_some()
        if process.returncode is None:
            hang_up(process.pid)

    def _read_input(self) -> bytes | None:
        if not self._packets:
            return self._stream.read_some()
        while True:
            kind, size = PACKET.unpack(self._stream.read(PACKET.size))
            data = self._stream.read(size)
            if kind == INPUT:
                return data
            if kind == CLOSE_INPUT:
                return None


def packet(kind: int, data: bytes) -> bytes:
    """Return one packet of shell v2."""
    return PACKET.pack(kind, len(data)) + data


def write_exit(stream: Stream, code: int) -> None:
    """Send how a command ended; minus a signal's number counts as 128 and the number."""
    stream.write(packet(EXIT, bytes([code if code >= 0 else 128 - code])))


def hang_up(group: int) -> None:
    """Tell a process group that its terminal is gone; again is harmless."""
    try:
        os.killpg(group, signal.SIGHUP)
    except (ProcessLookupError, PermissionError):
        return
