"""Cell strings: strict both ways, and errors that show the place."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.cell_strings import format_cell_network, parse_cell_network
from networks.cells import CellNetwork
from networks.errors import CellStringError
from networks.published_cells import published_cell_network
from tests.networks.cell_networks import cell_networks

SMALL = "8x8x3:cifar_c4:normal_r1_c8_sep3@0+id@1_cat2:reduction_max3@0++1x7@1_cat2:fc_c2"


@given(cell_networks())
def test_networks_of_cells_both_ways(network: CellNetwork) -> None:
    text = format_cell_network(network)
    assert parse_cell_network(text) == network
    assert re.fullmatch(r"[\w:@+.]+", text)  # nothing that a shell would read


def test_the_published_string_is_permanent() -> None:
    assert format_cell_network(published_cell_network("nasnet-a-large")) == (
        "331x331x3:imagenet_c96"
        ":normal_r6_c168_sep5@0+sep3@1_sep5@1+sep3@1_avg3@0+id@1_avg3@1+avg3@1_sep3@0+id@0"
        "_cat1.2.3.4.5.6"
        ":reduction_skip_sep5@0+sep7@1_max3@0+sep7@1_avg3@0+sep5@1_id@3+avg3@2_sep3@2+max3@0"
        "_cat3.4.5.6"
        ":fc_c1000"
    )


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("8x8x3", "8x8", "8x8", "an image"),
        ("cifar", "cifr", ":cifr", "a stem: imagenet or cifar"),
        ("_c4", "_k4", "_k4", "_c and a number"),
        ("_r1_c8", "_c8_r1", "_c8", "_r and a number"),
        ("_r1", "_r0", "_r0", "_r and a number"),
        ("sep3@0", "spe3@0", "spe3", "did you mean sep3"),
        ("sep3@0", "sep3", "_sep3", "an edge such as sep5@0"),
        ("sep3@0", "sep3@00", "_sep3", "an edge such as sep5@0"),
        ("sep3@0", "sep3@2", "_sep3", "block 0 reads a state from 0 to 1, found 2"),
        ("+id@1", "", "_cat", r"\+ or \+\+"),
        ("++1x7", "+++1x7", "+++1x7", r"\+ or \+\+"),
        ("_cat2:r", "_cat2.2:r", "_sep3", "states from 0 to 2 in ascending order"),
        ("_cat2:r", "_cat3:r", "_sep3", "states from 0 to 2 in ascending order"),
        ("_cat2:r", "_cat1:r", "_sep3", r"states \[2\] are neither read"),
        ("_cat2:r", "_cat2_id@0+id@1:r", "_id", "the end of the block"),
        ("_cat2:r", ":r", ":r", "or _cat and states"),
        ("reduction_", "reduction_skp_", "_skp", "an edge such as sep5@0"),
        ("fc_c2", "fc_c2_h4", "_h4", "the end"),
        (":fc_c2", "", "", "':' and fc"),
        ("_c8_sep3", "_c0_sep3", "_c0", "_c and a number"),
        ("cifar_c4:normal_r1_c8", "imagenet_c4:normal_r1_c7", "8x8x3", "start at 8, found 7"),
        ("8x8x3:cifar", "8x2x3:imagenet", "8x2x3", "3x3 kernel without padding does not fit"),
    ],
)
def test_a_typo_is_shown_with_its_place(old: str, new: str, place: str, message: str) -> None:
    text = SMALL.replace(old, new)
    assert text != SMALL
    with pytest.raises(CellStringError, match=f"cell string: expected .*{message}") as caught:
        parse_cell_network(text)
    assert text[caught.value.position :].startswith(place)
    assert repr(text) in str(caught.value)


@given(st.text(alphabet="0123456789xcsepid_:.@+fat", max_size=30), st.integers(0, len(SMALL)))
def test_no_text_does_anything_but_parse_or_raise(inserted: str, position: int) -> None:
    text = SMALL[:position] + inserted + SMALL[position:]
    try:
        network = parse_cell_network(text)
    except CellStringError:
        return
    assert format_cell_network(network) == text
