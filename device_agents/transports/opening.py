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
from device_agents.errors import MissingExtra
from device_agents.transports.local import LocalTransport
from device_agents.transports.transport import CONNECT_TIMEOUT_S, Transport


def open_transport(
    address: Address,
    *,
    expected_serial: str | None = None,
    adb_key: Path | None = None,
    ssh_key: Path | None = None,
    known_hosts: Path | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> Transport:
    """Return a connected transport to this address; close it after use.

    Args:
        expected_serial: of a phone: what it must say that it is, at every connection.
        adb_key: the key to show a phone directly, by default ``~/.android/adbkey``.
        ssh_key: the private key for a board, by default the agent's and those in ``~/.ssh``.
        known_hosts: the host keys that are trusted, by default the user's.

    Raises:
        MissingExtra: what leads there is not installed.
        NeedsHuman: a person has to do something: the device is not there, or not trusted, ...
        TransportError: it is there, and could not be reached.
    """
    if isinstance(address, LocalAddress):
        return LocalTransport(str(address))
    extra = "ssh" if isinstance(address, SshAddress) else "adb"
    try:
        match address:
            case SshAddress():
                from device_agents.transports.ssh import KNOWN_HOSTS, SshTransport

                return SshTransport(
                    address,
                    known_hosts=known_hosts or KNOWN_HOSTS,
                    key_file=ssh_key,
                    connect_timeout_s=timeout_s,
                )
            case AdbAddress():
                from device_agents.transports.adb_server import AdbServerTransport

                return AdbServerTransport(
                    address, expected_serial=expected_serial, connect_timeout_s=timeout_s
                )
            case AdbTcpAddress() | AdbUsbAddress():
                from device_agents.transports.adb_direct import AdbDirectTransport
                from device_agents.transports.adb_keys import KEY_FILE

                return AdbDirectTransport(
                    address,
                    key_file=adb_key or KEY_FILE,
                    expected_serial=expected_serial,
                    connect_timeout_s=timeout_s,
                )
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{address} needs {error.name}: pip install 'hilnas[{extra}]'"
        ) from error
