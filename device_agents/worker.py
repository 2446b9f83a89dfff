"""A worker: the timing program as a process of its own, spoken to through pipes.

A crash or a hang of the runtime ends the worker and not us; when we end, it reads the end of
its input and ends too.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence

from device_agents.channel import Message
from device_agents.errors import DeviceUnusable, UnreadableAnswer, WorkerCrashed, WorkerHung

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0


class Worker:
    """A `Channel` to one child process."""

    def __init__(self, command: Sequence[str], *, start_timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the program and read its hello.

        Raises:
            DeviceUnusable: it ended before it said hello, or took too long.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is ours to handle: the worker is ended by close()
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._unread = b""
        try:
            self.hello = self.receive(start_timeout_s)
        except (WorkerCrashed, WorkerHung) as lost:
            self.close()
            raise DeviceUnusable(f"the timing program did not start: {lost}") from lost
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._process.pid

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._answers.closed

    def send(self, request: Message) -> None:
        """Send one request; that the worker is gone is found out by `receive`."""
        line = json.dumps(dict(request)).encode() + b"\n"
        try:
            while line:
                line = line[self._requests.write(line) or 0 :]
        except BrokenPipeError:
            return

    def receive(self, timeout_s: float) -> Message:
        """Return the next answer; see `Channel.receive`."""
        line = self._read_line(time.monotonic() + timeout_s, timeout_s)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise UnreadableAnswer(f"expected a line of JSON, found {line[:200]!r}") from error
        if not isinstance(answer, dict):
            raise UnreadableAnswer(f"expected a JSON object, found {line[:200]!r}")
        return answer

    def _read_line(self, deadline_s: float, timeout_s: float) -> bytes:
        while b"\n" not in self._unread:
            wait_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([self._answers], [], [], wait_s)[0]:
                self._kill()
                raise WorkerHung(f"no answer within {timeout_s:g} s; {self._last_words()}")
            more = os.read(self._answers.fileno(), 1 << 20)
            if not more:
                raise WorkerCrashed(self._describe_end())
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _describe_end(self) -> str:
        try:
            code = self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            return f"the worker closed its output and went on; {self._last_words()}"
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with {code}"
        return f"the worker {how}; {self._last_words()}"

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = [line for line in self._stderr.read().decode(errors="replace").splitlines() if line]
        return f"its last line: {lines[-1].strip()[:300]}" if lines else "it printed nothing"

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the worker by its process id and wait for it; again is harmless."""
        self._requests.close()
        if self._process.poll() is None:
            self._kill()
        self._answers.close()
        self._stderr.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
