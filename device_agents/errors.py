"""Everything that can go wrong between asking for a measurement and having one.

* DeviceError
  x AddressError          not an address; fix the text               (also a ValueError)
  x NoVisits              nothing was measured; measure first        (also a ValueError)
  x DeviceUnusable        the device cannot measure as asked; fix it (core, runtime, ...)
  x ModelRefused          this file cannot run there; fix the file   (.reason, as in a FailedVisit)
  x WorkerLost            the process that holds the models is gone; a new one may do better
    - WorkerCrashed       it ended by itself or by a signal
    - WorkerHung          it did not answer in time, and was ended
  x UnreadableAnswer      it answered, and not in the protocol; a defect, report it
"""

from __future__ import annotations

from typing import Literal


class DeviceError(Exception):
    """Base of all errors raised by ``device_agents``."""


class AddressError(DeviceError, ValueError):
    """The text is not the address of a device."""


class NoVisits(DeviceError, ValueError):
    """There are no visits to summarize: a missing latency is never a number."""


class DeviceUnusable(DeviceError):
    """The device as a whole cannot measure; the message says what to change."""


class ModelRefused(DeviceError):
    """The device looked at this file and will not run it as asked."""

    def __init__(self, reason: Literal["rejected", "unreadable"], detail: str) -> None:
        super().__init__(detail)
        self.reason: Literal["rejected", "unreadable"] = reason


class WorkerLost(DeviceError):
    """The worker process is gone, with whatever it had resident."""

    reason: Literal["crashed", "hung"]


class WorkerCrashed(WorkerLost):
    """The worker ended when nobody asked it to."""

    reason = "crashed"


class WorkerHung(WorkerLost):
    """The worker did not answer within its time."""

    reason = "hung"


class UnreadableAnswer(DeviceError):
    """The timing program said something that is not an answer."""
