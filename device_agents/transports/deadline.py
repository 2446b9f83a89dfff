"""Deadline: the moment at which something is given up, handed down to whatever waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from device_agents.errors import ConnectionLost, DeviceMissing

PAUSE_S = 0.2
LEAST_TRY_S = 0.3
SLOWEST_BYTES_PER_S = 500_000
TRANSFER_ALLOWANCE_S = 30.0
PULL_TIMEOUT_S = 600.0


class Deadline:
    """A moment ``timeout_s`` seconds from now."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """What is left, in seconds; 0.0 once it has passed."""
        return max(0.0, self._end_s - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left_s == 0.0


def push_deadline(data: bytes, timeout_s: float | None) -> Deadline:
    """Return when a push of this data is given up: as told, or what the slowest link needs."""
    slowest_s = TRANSFER_ALLOWANCE_S + len(data) / SLOWEST_BYTES_PER_S
    return Deadline(slowest_s if timeout_s is None else timeout_s)


def pull_deadline(timeout_s: float | None) -> Deadline:
    """Return when a pull, whose size nobody knows yet, is given up."""
    return Deadline(PULL_TIMEOUT_S if timeout_s is None else timeout_s)


def retry(connect: Callable[[Deadline], None], deadline: Deadline) -> None:
    """Connect, again and again while the device is not there, as one that boots; else raise.

    What a person has to put right is raised at once. A try that would have no time is not made:
    its error would hide what the one before it found out.
    """
    while True:
        try:
            return connect(deadline)
        except (ConnectionLost, DeviceMissing):
            if deadline.left_s < PAUSE_S + LEAST_TRY_S:
                raise
            time.sleep(PAUSE_S)
