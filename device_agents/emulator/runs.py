"""Run: one process of the timing tool on the emulated phone, and when it was what.

    started --taskset, Python, LiteRT--> loaded --model, warm-up, runs--> ended

All of it is one process, as on a phone, where taskset becomes the tool. The stand-in takes longer
to load than a native tool: who reckons what a harness costs beside the tool needs that apart.
The end is seen by a thread, a moment late where this machine is busy.
"""

from __future__ import annotations

import os
import select
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One process of the tool, in seconds since 1970; the model is read after ``loaded``."""

    pid: int
    started_unix_s: float
    loaded_unix_s: float
    ended_unix_s: float


class RunLog:
    """The runs of one phone; those that have ended, in that order."""

    def __init__(self) -> None:
        self._ended: list[ToolRun] = []

    @property
    def ended(self) -> tuple[ToolRun, ...]:
        """The runs that have ended, in that order."""
        return tuple(self._ended)

    def begin(self, pid: int, started_unix_s: float) -> None:
        """Take note of a process that has loaded, and wait for its end in a thread."""
        loaded_unix_s = time.time()
        try:
            end, poll = os.pidfd_open(pid), select.poll()
        except ProcessLookupError:
            return  # killed before it was answered
        poll.register(end, select.POLLIN)

        def wait() -> None:
            try:
                poll.poll()
                self._ended.append(ToolRun(pid, started_unix_s, loaded_unix_s, time.time()))
            finally:
                os.close(end)

        threading.Thread(target=wait, daemon=True).start()
