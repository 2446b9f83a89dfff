from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.address import (
    AdbAddress,
    AdbTcpAddress,
    AdbUsbAddress,
    Address,
    LocalAddress,
    SshAddress,
    parse_address,
)
from device_agents.errors import AddressError

HOSTS = st.from_regex(r"[a-z0-9.-]{1,12}", fullmatch=True)
PORTS = st.integers(1, 65_535)
SERIALS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@given(
    st.builds(LocalAddress, st.none() | st.integers(0, 99999))
    | st.builds(AdbAddress, SERIALS)
    | st.builds(AdbTcpAddress, HOSTS, PORTS)
    | st.builds(AdbUsbAddress, SERIALS)
    | st.builds(SshAddress, st.from_regex(r"[a-z_0-9]{1,8}", fullmatch=True), HOSTS, PORTS)
)
def test_parsing_is_the_inverse_of_writing(address: Address) -> None:
    assert parse_address(str(address)) == address


def test_ports_have_defaults() -> None:
    assert parse_address("adb-tcp:phone") == AdbTcpAddress("phone", 5555)
    assert parse_address("ssh:pi@board") == SshAddress("pi", "board", 22)
    assert parse_address("adb-tcp:[::1]:5556") == AdbTcpAddress("[::1]", 5556)


@pytest.mark.parametrize(
    "text",
    [
        *("", "phone", "Local", "local\n", "local:", "local:core=1", "local:cpu=", "local:cpu=01"),
        *("adb:", "adb:two words", "adb-tcp:", "adb-tcp:host:0", "adb-tcp:host:65536", "ssh:host"),
        *("ssh:user@", "ssh:user@host:", "ssh:user:word@host", "adb-usb:", "usb:x"),
        *("local:cpu=-1", "local:cpu=1 ", "local:cpu=1,2", "local:cpu=٣"),
    ],
)
def test_what_is_no_address_is_shown(text: str) -> None:
    with pytest.raises(AddressError, match="such as local, local:cpu=1") as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    with suppress(AddressError):
        assert parse_address(str(parse_address(text))) == parse_address(text)
