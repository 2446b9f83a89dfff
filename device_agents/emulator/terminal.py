"""Terminal: the shell that a person gets from ``adb shell`` without a command.

    shell,v2,TERM=...,pty:     packets as in `shell`, and 5: the window is "ROWSxCOLUMNS,..."
    shell:                     bytes, on old phones

Lines are edited on this side and taken to the sandbox's paths before they are run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading

from device_agents.emulator.daemon import Stream, StreamClosed
from device_agents.emulator.sandbox import OutwardStream, Sandbox
from device_agents.emulator.shell import INPUT, OUTPUT, PACKET, hang_up, packet, write_exit

_WINDOW_SIZE = 5
_SIZE = re.compile(rb"(\d+)x(\d+),.*", re.DOTALL)
_CHUNK = 1 << 12


class TerminalService:
    """Runs one shell on a terminal of its own for one stream."""

    def __init__(self, stream: Stream, sandbox: Sandbox, *, kind: str, packets: bool) -> None:
        """``kind`` is what TERM says."""
        self._stream, self._sandbox = stream, sandbox
        self._kind, self._packets = kind, packets

    def run(self) -> None:
        """Run until the person leaves.

        Raises:
            StreamClosed: the host went away instead.
        """
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", f"{self._sandbox.root}/system/bin/terminal"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**self._sandbox.environment(), "TERM": self._kind},
            cwd=self._sandbox.root,
        )
        os.close(theirs)
        feed = threading.Thread(target=self._feed, args=(process, ours), daemon=True)
        feed.start()
        try:
            self._pump(ours)
        finally:
            hang_up(process.pid)
            code = process.wait()
        if self._packets:
            write_exit(self._stream, code)
        self._stream.close()
        feed.join()
        os.close(ours)

    def _pump(self, ours: int) -> None:
        outward = OutwardStream(self._sandbox)
        with contextlib.suppress(OSError):  # how a terminal ends when nobody holds its other side
            while chunk := os.read(ours, _CHUNK):
                # A person waits for every character
                data = outward.feed(chunk) + outward.flush()
                self._stream.write(packet(OUTPUT, data) if self._packets else data)

    def _feed(self, process: subprocess.Popen[bytes], ours: int) -> None:
        with contextlib.suppress(StreamClosed, OSError):
            while True:
                if not self._packets:
                    os.write(ours, self._stream.read_some())
                    continue
                kind, size = PACKET.unpack(self._stream.read(PACKET.size))
                data = self._stream.read(size)
                found = _SIZE.fullmatch(data)
                if kind == INPUT:
                    os.write(ours, data)
                elif kind == _WINDOW_SIZE and found:
                    window = struct.pack("4H", int(found[1]), int(found[2]), 0, 0)
                    fcntl.ioctl(ours, termios.TIOCSWINSZ, window)
        hang_up(process.pid)
