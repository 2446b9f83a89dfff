"""Block strings: strict both ways, and errors that show the place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.block_strings import format_network, parse_network
from networks.errors import BlockStringError, NetworkError
from networks.published import PUBLISHED, published_network
from networks.spaces import SPACES, make_space

SMALL = {name: make_space(name, resolution=32) for name in SPACES}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("width", [0.35, 1.0, 1.4])
def test_published_networks_both_ways(name: str, width: float) -> None:
    network = published_network(name, width=width)
    text = format_network(network)
    assert parse_network(text) == network
    assert format_network(parse_network(text)) == text


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
def test_networks_of_a_space_both_ways(name: str, seed: int) -> None:
    space = SMALL[name]
    network = space.decode(space.sample(1, np.random.default_rng(seed))[0])
    assert parse_network(format_network(network)) == network


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("224x224", 0),
        ("224x224x3", 9),
        ("224x224x3:", 10),
        ("224x224x3:cn_r1_k3_s2_c32_typo", 25),
        ("224x224x3:cn_r1_k3_s2_c32_c99", 25),
        ("224x224x3:cn_r1_k3_s3_c32", 18),
        ("224x224x3:cn_r1_k4_s2_c32", 10),
        ("224x224x3:ir_r1_k3_s2_c32", 21),
        ("224x224x3:ir_r1_k3_s2_e6_c32_se0.5", 28),
        ("224x224x3:ir_r1_k3_s2_e6_c32_see0.25", 28),
        ("224x224x3:ir_r1_k3_s2_e1.3_c32", 10),
        ("224x224x3:cn_r1_k3_s2_c32:ir_r0_k3_s1_e6_c32", 28),
    ],
)
def test_a_typo_is_shown_with_its_place(text: str, position: int) -> None:
    with pytest.raises(BlockStringError) as caught:
        parse_network(text)
    assert caught.value.position == position
    assert repr(text) in str(caught.value)


@given(st.text(alphabet="0123456789xcndsirfck_:.e", max_size=40))
def test_no_text_does_anything_but_parse_or_raise(text: str) -> None:
    try:
        network = parse_network(text)
    except BlockStringError:
        return
    assert parse_network(format_network(network)) == network


def test_zero_sides_are_refused() -> None:
    with pytest.raises(NetworkError):
        parse_network("0x0x3:cn_r1_k3_s2_c32")
