from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.address import LocalAddress, parse_address
from device_agents.errors import AddressError


@given(st.none() | st.integers(0, 99999))
def test_parsing_is_the_inverse_of_writing(cpu: int | None) -> None:
    assert parse_address(str(LocalAddress(cpu))) == LocalAddress(cpu)


@pytest.mark.parametrize(
    "text",
    [
        *("", "phone", "Local", "local\n", "local:", "local:core=1", "local:cpu=", "local:cpu=01"),
        *("local:cpu=-1", "local:cpu=1 ", "local:cpu=1,2", "local:cpu=٣"),
    ],
)
def test_what_is_no_address_is_shown(text: str) -> None:
    with pytest.raises(AddressError, match="such as local or local:cpu=1") as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    with suppress(AddressError):
        assert str(parse_address(text)) == text
