"""USB phones: what libusb sees of phones with an adb interface, claimed or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from device_agents.errors import MissingExtra


@dataclass(frozen=True, slots=True)
class UsbPhone:
    """A phone on USB; serial and model are None where this user may not open it."""

    serial: str | None
    model: str | None
    link: Any


def usb_phones() -> Iterator[UsbPhone]:
    """Yield the phones on USB that offer adb.

    Raises:
        MissingExtra: libusb is not installed.
    """
    try:
        import usb1
        from adb_shell.transport.usb_transport import UsbTransport
    except (ImportError, OSError) as error:
        raise MissingExtra(
            f"adb-usb: needs libusb ({error}): pip install 'hilnas[adb]', "
            "and Debian's package libusb-1.0-0"
        ) from error
    for link in UsbTransport.find_all_adb_devices():
        try:
            yield UsbPhone(link.serial_number, link._device.getProduct(), link)
        except usb1.USBError:
            yield UsbPhone(None, None, link)


def no_permission(whom: str) -> str:
    """Return what to do about a phone that this user may not open."""
    return (
        f"{whom}: this user may not open the USB device: add a udev rule (Debian: "
        "apt-get install android-sdk-platform-tools-common, then join group plugdev)"
    )
