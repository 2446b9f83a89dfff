"""Spaces: every genotype decodes, equal networks are counted once, samples are uniform."""

from collections import Counter
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.errors import GenotypeError, ShapeError, UnknownName
from networks.graph import Shape
from networks.layers import Conv, Skip, lower_layer
from networks.network import Network, count_madds
from networks.published import published_network
from networks.spaces import SPACES, make_space
from networks.spaces.blocks import Block, BlockOption
from networks.spaces.chain import ChainSpace
from networks.spaces.mnasnet import mobile_head, mobile_layer
from networks.spaces.space import Decision
from tests.networks.small_spaces import all_networks, make_small_space, small_spaces

KERNELS = (3, 5)
SKIPS: tuple[Skip, ...] = ("none", "identity")


@cache
def space_at_64(name: str) -> ChainSpace:
    return make_space(name, resolution=64)


def small_space(*strides: int, widths: tuple[tuple[int, ...], ...] = ((8, 8, 16),)) -> ChainSpace:
    """A space small enough to enumerate, full of genotypes that decode alike."""

    def block(index: int, stride: int, widths: tuple[int, ...]) -> Block:
        def option(digits: tuple[int, ...]) -> BlockOption:
            kernel, skip, width, depth = digits
            return BlockOption(
                channels=widths[width],
                depth=depth + 1,
                layer=lambda shape, stride: mobile_layer(
                    shape, widths[width], stride, operator="sep", kernel=KERNELS[kernel],
                    se=False, skip=SKIPS[skip],
                ),
            )  # fmt: skip

        names = {"kernel": "35", "skip": "ni", "width": "abc"[: len(widths)], "depth": "123"}
        decisions = tuple(Decision(f"block{index}.{n}", tuple(o)) for n, o in names.items())
        return Block(decisions, stride, 2, option)

    return ChainSpace(
        "small",
        Shape(16, 16, 3),
        stem=lambda image: (Conv(image, 8, kernel=3, stride=2),),
        blocks=[block(i, s, widths[i % len(widths)]) for i, s in enumerate(strides)],
        head=lambda shape: mobile_head(shape, 8, 4),
    )


def all_genotypes(space: ChainSpace) -> list[tuple[int, ...]]:
    return list(product(*(range(len(d.options)) for d in space.decisions)))


@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 2)])
def test_genotypes_that_decode_alike_are_one_network(strides: tuple[int, ...]) -> None:
    space = small_space(*strides)
    genotypes = np.array(all_genotypes(space))
    canonical = space.canonical(genotypes)
    by_network: dict[Network, set[tuple[int, ...]]] = {}
    for genotype, own in zip(genotypes, canonical.tolist(), strict=True):
        by_network.setdefault(space.decode(genotype), set()).add(tuple(own))
    assert all(len(own) == 1 for own in by_network.values())
    for network, own in by_network.items():
        (expected,) = own
        assert space.decode(expected) == network
        assert tuple(space.encode(network).tolist()) == expected
    assert space.n_genotypes == len(genotypes)
    assert space.n_networks == len(by_network)
    listed = [tuple(g.tolist()) for g in space.enumerate()]
    assert sorted(listed) == sorted(own for (own,) in by_network.values())
    used = {layer for network in by_network for layer in network.layers}
    assert used == set(space.layers)


def test_two_free_borders_apart_from_each_other() -> None:
    space = small_space(2, 1, 2, 1, widths=((8,),))
    genotypes = np.array(all_genotypes(space))
    networks = {space.decode(g) for g in genotypes}
    assert space.n_networks == len(networks) < space.n_genotypes
    assert len(np.unique(space.canonical(genotypes), axis=0)) == len(networks)


@pytest.mark.parametrize("widths", [((8,),), ((8,), (8, 16), (16,))])
def test_a_space_that_cannot_be_counted_exactly_is_refused(
    widths: tuple[tuple[int, ...], ...],
) -> None:
    with pytest.raises(ShapeError, match="blocks 0 to 2 can hand equal layers on"):
        small_space(2, 1, 1, widths=widths)


def test_a_layer_can_be_handed_on_over_a_block_that_has_only_one() -> None:
    with pytest.raises(ShapeError, match="blocks 0 to 2 can hand equal layers on"):
        make_small_space((2, (8,), (1, 2)), (1, (8,), (1,)), (1, (8,), (1, 2)))


@given(small_spaces())
@settings(deadline=None, max_examples=50)
def test_small_spaces_are_counted_exactly(space: ChainSpace) -> None:
    assert space.n_networks == len(all_networks(space))


def test_samples_over_networks_are_uniform() -> None:
    space = small_space(2, 1, widths=((8, 8),))
    n = 40 * space.n_networks
    drawn = space.sample(n, np.random.default_rng(5), uniform_over="networks")
    assert np.array_equal(space.canonical(drawn), drawn)
    counts = Counter(map(tuple, drawn.tolist()))
    assert len(counts) == space.n_networks
    chi2 = sum((c - 40) ** 2 / 40 for c in counts.values())
    degrees = space.n_networks - 1
    assert abs(chi2 - degrees) < 5 * np.sqrt(2 * degrees)


def test_neighbours_are_the_other_networks_one_decision_away() -> None:
    space = small_space(2, 1)
    own = space.canonical(np.array(all_genotypes(space)[77:78]))[0]
    near = space.neighbours(own)
    expected = set()
    for column, decision in enumerate(space.decisions):
        for option in range(len(decision.options)):
            other = own.copy()
            other[column] = option
            expected.add(space.decode(other))
    expected.discard(space.decode(own))
    assert {space.decode(g) for g in near} == expected
    assert len(near) == len(expected)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_cheapest_network_is_the_cheapest_of_all(seed: int) -> None:
    space = small_space(2, 1)
    prices = np.random.default_rng(seed).random(len(space.layers))
    codes = np.array(all_genotypes(space)) @ space.code_matrix()
    tables = space.block_prices(prices)
    priced = sum(table[code] for table, code in zip(tables, codes.T, strict=True))
    cheapest = space.cheapest(prices).astype(int) @ space.code_matrix()
    assert sum(t[c] for t, c in zip(tables, cheapest, strict=True)) == pytest.approx(priced.min())


def test_mnasnet_has_the_sizes_of_the_paper() -> None:
    space = make_space("mnasnet")
    assert len(space.decisions) == 42
    assert space.n_genotypes == 432**7
    assert f"{space.n_networks:.1e}" == "1.9e+17"


@pytest.mark.parametrize("name", ["mnasnet-a1", "mnasnet-b1"])
def test_the_published_networks_are_points_of_mnasnet(name: str) -> None:
    space = make_space("mnasnet")
    genotype = space.encode(published_network(name))
    assert space.decode(genotype) == published_network(name)


def test_a_network_outside_the_space_is_named() -> None:
    with pytest.raises(GenotypeError, match="no choice gives its layer 0"):
        make_space("mnasnet").encode(published_network("mobilenet-v2"))
    with pytest.raises(GenotypeError, match="no choice gives its layer"):
        make_space("mnasnet").encode(published_network("mnasnet-a1", width=1.4))


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_genotype_has_the_counts_and_the_price_of_its_layers(name: str, seed: int) -> None:
    space = space_at_64(name)
    rng = np.random.default_rng(seed)
    genotypes = np.concatenate(
        [space.sample(3, rng), space.sample(3, rng, uniform_over="networks")]
    )
    networks = [space.decode(g) for g in genotypes]
    layer_madds = {layer: count_madds(lower_layer(layer)) for n in networks for layer in n.layers}
    prices = [layer_madds.get(layer, 0) for layer in space.layers]
    codes = genotypes.astype(int) @ space.code_matrix()
    tables = space.block_prices(prices)
    priced = sum(table[code] for table, code in zip(tables, codes.T, strict=True))
    assert np.array_equal(priced, [n.madds for n in networks])
    assert all(space.decode(space.encode(n)) == n for n in networks)


def test_resolution_width_and_strides_are_parameters() -> None:
    space = make_space(
        "accel-nasbench", resolution=28, width=0.5, strides=(1, 2, 1, 2, 1, 2, 1), stem_stride=1,
        classes=10, in_channels=1,
    )  # fmt: skip
    network = space.decode(np.zeros(28, dtype=int))
    assert str(network.input) == "28x28x1"
    assert str(network.layers[-1].input) == "4x4x1280"


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (np.zeros(41, dtype=int), "has 42 integers"),
        (np.zeros(42), "has 42 integers"),
        (np.full(42, 3), "block0.kernel has options 0 to 1, found 3"),
        (np.full(42, -1), "block0.operator has options 0 to 3, found -1"),
    ],
)
def test_what_is_no_genotype(genotype: "np.typing.NDArray[np.int64]", message: str) -> None:
    with pytest.raises(GenotypeError, match=message):
        make_space("mnasnet").decode(genotype)


def test_unknown_names_and_parameters() -> None:
    with pytest.raises(UnknownName, match="did you mean mnasnet"):
        make_space("mnasnt")
    with pytest.raises(ShapeError, match="expected 7 strides"):
        make_space("mnasnet", strides=(1, 2))
    with pytest.raises(ShapeError, match="width multiplier"):
        make_space("accel-nasbench", width=0.0)
