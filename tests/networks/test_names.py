"""Names: one text finds chains and networks of cells, and says which of them will do."""

import pytest

from networks.errors import (
    BlockStringError,
    CellStringError,
    NotAChain,
    ShapeError,
    UnknownName,
)
from networks.names import find_chain, find_network, name_network
from networks.published import PUBLISHED, published_network
from networks.published_cells import PUBLISHED_CELLS, published_cell_network


def test_a_name_may_carry_options() -> None:
    chain = published_network("mobilenet-v2", width=0.75, resolution=192)
    assert find_network("mobilenet-v2,width=0.75,resolution=192") == chain
    cells = published_cell_network("nasnet-a-mobile", width=0.5, resolution=96, classes=10)
    assert find_network("nasnet-a-mobile,resolution=96,width=0.5,classes=10") == cells


@pytest.mark.parametrize("name", [*PUBLISHED, *PUBLISHED_CELLS])
def test_every_published_network_both_ways(name: str) -> None:
    network = find_network(name)
    assert find_network(name_network(network)) == network


@pytest.mark.parametrize(
    "text",
    [
        "mobilenet-v2,wdth=1",
        "mobilenet-v2,width=x",
        "mobilenet-v2,",
        "nasnet-a-mobile,stem_stride=1",
        "nasnet-a-mobile,resolution=96.5",
    ],
)
def test_an_option_with_a_typo(text: str) -> None:
    with pytest.raises(ShapeError, match="expected an option such as width"):
        find_network(text)


def test_an_unknown_name_gets_suggestions_of_both_kinds() -> None:
    with pytest.raises(UnknownName, match="did you mean nasnet-a-mobile"):
        find_network("nasnet-mobile")
    with pytest.raises(UnknownName, match="did you mean mobilenet-v2"):
        find_chain("mobilenetv2")


def test_only_a_chain_will_do() -> None:
    assert find_chain("mnasnet-a1") == published_network("mnasnet-a1")
    for text in ("nasnet-a-mobile", name_network(published_cell_network("nasnet-a-cifar"))):
        with pytest.raises(NotAChain, match="export it and measure it whole"):
            find_chain(text)


def test_a_typo_is_reported_by_the_grammar_that_is_meant() -> None:
    with pytest.raises(CellStringError):
        find_network(
            "32x32x3:cifar_c96:normal_r1_c8_spe3@0+id@1_cat2:reduction_id@0+id@1_cat2:fc_c2"
        )
    with pytest.raises(BlockStringError, match="block string"):
        find_network("32x32x3:xx_r1_k3_s2_c32")
