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
  x TransportError        a command or a file did not get through
    - ConnectionLost      the device went away; reconnect, then pick up what was running
    - CommandTimeout      a command had not ended at its deadline
    - PushFailed          a file did not arrive whole; nothing is left under its name
    - PullFailed          a file is not there or cannot be read
    - DeviceHeld          another adb path holds the device; the message names that address
  x NeedsHuman            a person has to do something first (exit code 4)
    - DeviceMissing       no device answers at this address
    - Unauthorized        the device has not been told to trust this computer
    - DeviceSwapped       another device answers where a known one was expected
  x DeviceBusy            another harness has the device; the message says which
  x ToolError             the timing tool's binary or its output
    - BinaryRefused       not found, not for this device's processor, or of another sha256
    - RunRejected         the tool's run is no measurement; says why      (.reason, .raw)
  x DevicesFileError      devices.toml: file, line and key of what is wrong
  x MissingExtra          an optional dependency is not installed: install the extra it names
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


class TransportError(DeviceError):
    """A command or a file did not get through to the device."""


class ConnectionLost(TransportError):
    """The device or the cable went away; what ran on the device may still run."""


class CommandTimeout(TransportError):
    """A command had not ended at its deadline; it may still be running on the device."""


class PushFailed(TransportError):
    """A file did not arrive whole; nothing is left under its final name."""


class PullFailed(TransportError):
    """A file of the device is not there or cannot be read."""


class DeviceHeld(TransportError):
    """Another way to the device holds it; the message names the address to use instead."""


class NeedsHuman(DeviceError):
    """Nothing goes on before a person has done something; the message says what."""


class DeviceMissing(NeedsHuman):
    """No device answers at this address; the message lists those that are there."""


class Unauthorized(NeedsHuman):
    """The device does not trust this computer's key yet: accept it on its screen."""


class DeviceSwapped(NeedsHuman):
    """Another device answers where a known one was expected; names both serials."""


class DeviceBusy(DeviceError):
    """Another harness measures on this device now; names its host and process."""


class ToolError(DeviceError):
    """Something is wrong with the timing tool's binary or with what it printed."""


class BinaryRefused(ToolError):
    """A timing binary that is not there, not for this device, or not the one that was named."""


class RunRejected(ToolError):
    """A run of the timing tool that is no measurement.

    ``reason`` is one line; ``raw`` is what the tool printed, kept for people.
    """

    def __init__(self, reason: str, raw: str = "") -> None:
        super().__init__(reason)
        self.reason, self.raw = reason, raw


class DevicesFileError(DeviceError):
    """devices.toml is not as expected; names file, line and key."""


class MissingExtra(DeviceError, ImportError):
    """An optional dependency is not installed; names the extra to install."""
