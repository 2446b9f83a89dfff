"""Opening a transport: from an address to what carries commands and files there."""

from __future__ import annotations

from pathlib import Path

from device_agents.address import (
    AdbAddress,
    AdbTcpAddress,
    AdbUsbAddress,
    Address,
    LocalAddress,
    SshAddress,
)
from device_agents.errors import DeviceUnusable, MissingExtra
from device_agents.transports.local import LocalTransport
from device_agents.transports.transport import Transport


def open_transport(
    address: Address, *, ssh_key: Path | None = None, known_hosts: Path | None = None
) -> Transport:
    """Return a connected transport to this address; close it after use.

    Args:
        ssh_key: the private key for a board, by default the agent's and those in ``~/.ssh``.
        known_hosts: the host keys that are trusted, by default the user's.

    Raises:
        MissingExtra: what leads there is not installed.
        NeedsHuman: a person has to do something: the device is not there, or not trusted, ...
        TransportError: it is there, and could not be reached.
    """
    match address:
        case LocalAddress():
            return LocalTransport(str(address))
        case SshAddress():
            try:
                from device_agents.transports import ssh
            except ImportError as error:
                raise _missing("ssh", address, error) from error
            hosts = ssh.KNOWN_HOSTS if known_hosts is None else known_hosts
            return ssh.SshTransport(address, known_hosts=hosts, key_file=ssh_key)
        case AdbAddress() | AdbTcpAddress() | AdbUsbAddress():
            raise DeviceUnusable(f"no transport leads to {address} yet")


def _missing(extra: str, address: Address, error: ImportError) -> MissingExtra:
    return MissingExtra(f"{address} needs {error.name}: pip install 'hilnas[{extra}]'")
