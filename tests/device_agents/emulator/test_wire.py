from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.emulator import wire

words = st.integers(0, 2**32 - 1)


@given(
    command=words, arg0=words, arg1=words, payload=st.binary(max_size=200), with_sum=st.booleans()
)
def test_unpacking_inverts_packing(
    command: int, arg0: int, arg1: int, payload: bytes, with_sum: bool
) -> None:
    message = wire.pack(command, arg0, arg1, payload, with_sum=with_sum)
    header = wire.unpack_header(message[: wire.HEADER_SIZE])
    assert (header.command, header.arg0, header.arg1) == (command, arg0, arg1)
    assert header.length == len(payload)
    assert header.total == (sum(payload) if with_sum else 0)
    assert message[wire.HEADER_SIZE :] == payload


@given(st.binary(min_size=24, max_size=24))
def test_noise_is_not_adb(noise: bytes) -> None:
    with pytest.raises(wire.NotAdb):
        wire.unpack_header(noise)


def test_a_payload_beyond_the_limit_is_refused() -> None:
    message = wire.pack(wire.WRITE, 1, 2, bytes(wire.MAX_PAYLOAD + 1), with_sum=False)
    with pytest.raises(wire.NotAdb):
        wire.unpack_header(message[: wire.HEADER_SIZE])
