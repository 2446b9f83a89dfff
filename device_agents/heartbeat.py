"""Heartbeat: a lease that is renewed now and then, between the other things of one thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from device_agents.conditions.lease import Lease
from device_agents.errors import TransportError


class Heartbeat:
    """A lease that is renewed in time, while the device can be reached."""

    def __init__(self, lease: Lease, every_s: float, clock: Callable[[], float]) -> None:
        self._lease, self._every_s, self._clock = lease, every_s, clock
        self._due_s = clock() + every_s

    def beat(self) -> None:
        """Renew it if it is time to.

        Raises:
            DeviceBusy: it had expired, and somebody else has the device now.
        """
        if self._clock() < self._due_s:
            return
        with suppress(TransportError):
            self._lease.renew()
            self._due_s = self._clock() + self._every_s
