from __future__ import annotations

import subprocess
import sys

import pytest

from device_agents.address import parse_address
from device_agents.transports.local import LocalTransport
from device_agents.transports.opening import open_transport

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from device_agents.address import parse_address
from device_agents.errors import MissingExtra
from device_agents.transports.opening import open_transport
try:
    open_transport(parse_address(sys.argv[2]))
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize("text", ["local", "local:cpu=0"])
def test_this_machine_needs_nothing(text: str) -> None:
    transport = open_transport(parse_address(text))
    assert isinstance(transport, LocalTransport)
    assert transport.address == text


@pytest.mark.parametrize(
    ("library", "address", "extra"),
    [
        ("asyncssh", "ssh:pi@board", "ssh"),
        ("adbutils", "adb:SERIAL", "adb"),
        ("adb_shell", "adb-tcp:phone:5555", "adb"),
        ("adb_shell", "adb-usb:SERIAL", "adb"),
    ],
)
def test_what_is_not_installed_is_named(library: str, address: str, extra: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, library, address],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{address} needs {library}")
    assert done.stdout.endswith(f"pip install 'hilnas[{extra}]'\n")
