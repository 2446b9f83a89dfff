"""NASNet's cells, the mobile CNN, abstract spaces and spaces in files."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from networks.cells import CellNetwork
from networks.errors import GenotypeError, ShapeError, SpaceFileError, UnknownName
from networks.network import Network
from networks.published_cells import published_cell_network
from networks.spaces import SPACES, find_space, make_space
from networks.spaces.chain import ChainSpace
from networks.spaces.decisions import DecisionSpace
from networks.spaces.mobile_cnn import mobile_cnn
from networks.spaces.nasnet import OPERATORS, NasNetSpace, nasnet
from networks.spaces.space import Decision, Space

CHAIN = """
name = "tiny"
image = [32, 32, 3]
stem = ["cn_r1_k3_s2_c16"]
head = ["cn_r1_k1_s1_c32"]
classes = 10

[[block]]
name = "early"
options = ["ir_r1_k3_s2_e3_c24", "ir_r2_k5_s2_e6_c24_se0.25", "cn_r1_k3_s2_c32"]

[[block]]
name = "late"
kind = ["ds", "ir"]
kernel = 3
stride = 2
expansion = [3, 6]
channels = [32, 48]
layers = [1, 2]
"""
ABSTRACT = """
name = "table"
[[decision]]
name = "operator"
options = ["conv", "pool", "skip"]
[[decision]]
name = "width"
options = ["16", "32"]
"""


def write(folder: Path, text: str) -> str:
    path = folder / "space.toml"
    path.write_text(text)
    return str(path)


def everything(space: Space) -> np.ndarray:
    return np.array(list(product(*(range(len(d.options)) for d in space.decisions))), np.int8)


@pytest.fixture
def spaces(tmp_path: Path) -> list[Space]:
    small = nasnet(repeats=1, filters=8)
    return [small, mobile_cnn(resolution=32), find_space(write(tmp_path, ABSTRACT))]


class TestEverySpace:
    @pytest.mark.parametrize("which", range(3))
    def test_canonical_is_a_fixed_point_that_samples_and_neighbours_have(
        self, spaces: list[Space], which: int
    ) -> None:
        space, rng = spaces[which], np.random.default_rng(0)
        drawn = space.sample(50, rng)
        canonical = space.canonical(drawn)
        assert np.array_equal(space.canonical(canonical), canonical)
        for over in ("genotypes", "networks"):
            assert space.sample(0, rng, uniform_over=over).shape == (0, len(space.decisions))
        uniform = space.sample(50, rng, uniform_over="networks")
        assert np.array_equal(space.canonical(uniform), uniform)
        near = space.neighbours(drawn[0])
        assert np.array_equal(space.canonical(near), near)
        assert not (near == canonical[0]).all(axis=1).any()
        assert len(np.unique(near, axis=0)) == len(near) > 0

    @pytest.mark.parametrize("which", range(3))
    def test_refuses_what_is_no_genotype(self, spaces: list[Space], which: int) -> None:
        space = spaces[which]
        wrong = np.zeros((1, len(space.decisions)), np.int8)
        wrong[0, 1] = 127
        with pytest.raises(GenotypeError, match=space.decisions[1].name):
            space.canonical(wrong)
        with pytest.raises(GenotypeError, match="integers"):
            space.canonical(wrong[:, 1:])


class TestNasNet:
    def test_sizes(self) -> None:
        space = nasnet()
        assert len(space.decisions) == 50
        cell = (338 * 4) * (338 * 9) * (338 * 16) * (338 * 25) * (338 * 36)
        assert space.n_genotypes == cell**2
        pairs = 1
        for sides in (26, 39, 52, 65, 78):
            pairs *= sides * (sides + 1)
        assert space.n_networks == pairs**2

    def test_encode_inverts_decode(self) -> None:
        space = nasnet(repeats=1, filters=8)
        for genotype in space.sample(30, np.random.default_rng(1), uniform_over="networks"):
            assert np.array_equal(space.encode(space.decode(genotype)), genotype)

    def test_the_sides_of_a_block_may_be_swapped(self) -> None:
        space = nasnet(repeats=1, filters=8)
        genotype = space.sample(1, np.random.default_rng(2))[0]
        swapped = genotype.copy()
        swapped[0:2], swapped[2:4] = genotype[2:4], genotype[0:2]
        first, second = space.canonical(np.stack([genotype, swapped]))
        assert np.array_equal(first, second)
        assert space.decode(genotype).params == space.decode(swapped).params

    def test_samples_over_networks_are_uniform(self) -> None:
        drawn = nasnet(repeats=1, filters=8).sample(
            40_000, np.random.default_rng(0), uniform_over="networks"
        )
        sides = drawn[:, [0, 2]] * len(OPERATORS) + drawn[:, [1, 3]]
        _, counts = np.unique(sides, axis=0, return_counts=True)
        n_pairs = 26 * 27 // 2
        assert len(counts) == n_pairs
        expected = len(drawn) / n_pairs
        assert ((counts - expected) ** 2 / expected).sum() < n_pairs + 5 * np.sqrt(2 * n_pairs)

    def test_a_cell_moves_from_small_images_to_large_ones(self) -> None:
        small, large = nasnet(), nasnet(resolution=224, repeats=4, filters=44, classes=1000)
        genotype = small.sample(1, np.random.default_rng(0))[0]
        searched, transferred = small.decode(genotype), large.decode(genotype)
        assert (searched.stem, transferred.stem) == ("cifar", "imagenet")
        assert searched.normal == transferred.normal
        assert transferred.output.channels == 1000
        assert isinstance(transferred, CellNetwork)

    def test_refuses_networks_that_it_does_not_hold(self) -> None:
        space = nasnet(repeats=1, filters=8)
        other = nasnet(repeats=2, filters=8)
        with pytest.raises(GenotypeError, match="its own image"):
            space.encode(other.decode(np.zeros(50, np.int8)))
        with pytest.raises(GenotypeError, match="that none reads"):
            space.encode(published_cell_network("nasnet-a-cifar"))

    def test_refuses_sizes_that_cannot_be(self) -> None:
        with pytest.raises(ShapeError):
            nasnet(filters=0)
        with pytest.raises(ShapeError):
            nasnet(resolution=0)


class TestMobileCnn:
    def test_sizes_and_names(self) -> None:
        space = mobile_cnn(resolution=32)
        assert space.n_genotypes == 32**6
        assert [d.name for d in space.decisions[:3]] == [
            "stage0.operator", "stage0.se", "stage0.width"
        ]  # fmt: skip
        assert space.decisions[0].options == ("sep", "mb3", "mb4", "mb6")

    def test_strides_and_depths_are_parameters(self) -> None:
        space = mobile_cnn(resolution=64, strides=(1, 2, 1, 2, 1, 2), depths=(1, 1, 1, 1, 1, 3))
        network = space.decode(np.zeros(18, np.int8))
        assert len(network.layers) == 1 + 8 + 2
        assert network.layers[-2].input.height == 4

    def test_refuses_depths_that_do_not_fit(self) -> None:
        with pytest.raises(ShapeError, match="6 depths"):
            mobile_cnn(depths=(1, 2))

    def test_is_a_chain_by_name(self) -> None:
        assert "mobile-cnn" in SPACES
        assert isinstance(make_space("mobile-cnn", resolution=32), ChainSpace)


class TestSpaceFiles:
    def test_a_chain_space(self, tmp_path: Path) -> None:
        space = find_space(write(tmp_path, CHAIN))
        assert isinstance(space, ChainSpace)
        assert [d.name for d in space.decisions] == [
            "early", "late.kind", "late.expansion", "late.channels", "late.layers"
        ]  # fmt: skip
        assert space.n_genotypes == 3 * 2**4
        networks: dict[Network, set[tuple[int, ...]]] = {}
        genotypes = everything(space)
        for genotype, own in zip(genotypes, space.canonical(genotypes).tolist(), strict=True):
            networks.setdefault(space.decode(genotype), set()).add(tuple(own))
        assert all(len(own) == 1 for own in networks.values())
        assert space.n_networks == len(networks) == 3 * 12
        for network, (own,) in networks.items():
            assert tuple(space.encode(network).tolist()) == own

    def test_image_and_classes_may_be_others(self, tmp_path: Path) -> None:
        space = find_space(write(tmp_path, CHAIN), resolution=64, classes=3)
        assert isinstance(space, ChainSpace)
        network = space.decode(np.zeros(5, np.int8))
        assert (network.input.height, network.output.channels) == (64, 3)

    def test_an_abstract_space(self, tmp_path: Path) -> None:
        space = find_space(write(tmp_path, ABSTRACT))
        assert isinstance(space, DecisionSpace)
        assert space.name == "table"
        assert space.n_genotypes == space.n_networks == 6 == len(list(space.enumerate()))
        assert space.decisions[1] == Decision("width", ("16", "32"))

    @pytest.mark.parametrize(
        ("text", "change", "message"),
        [
            (CHAIN, ("kernel = 3", "kernal = 3"), r"'late': there is no key 'kernal'; did you"),
            (CHAIN, ("kernel = 3", "kernel = []"), r"'late': kernel has no option"),
            (CHAIN, ("kernel = 3\n", ""), r"'late': expected kernel, or options"),
            (CHAIN, ("cn_r1_k3_s2_c32", "cn_r1_k3_s1_c32"), r"'early': .*do not connect.* by 1"),
            (CHAIN, ("stride = 2", "stride = [1, 2]"), r"'late': stride is one number"),
            (CHAIN, ("layers = [1, 2]", "layers = [1, 3]"), r"'late': depths leave no gap"),
            (CHAIN, ("expansion = [3, 6]", ""), r"'late': .*_e and a ratio"),
            (CHAIN, ("_e3_c24", "_e3_k24"), r"'early': block string: expected _c"),
            (CHAIN, ("image = [32, 32, 3]", "image = [32]"), "image is height, width and"),
            (CHAIN, ("classes = 10", ""), r"classes is a whole number"),
            (CHAIN, ("[[block]]\nname = \"early\"", "[[blok]]\nname = \"early\""), "no key 'blok'"),
            (ABSTRACT, ("[\"16\", \"32\"]", "[]"), r"decision 1: options is a list of one or more"),
            (ABSTRACT, ("\"32\"", "32"), r"decision 1: options are texts"),
            (ABSTRACT, ("\"width\"", "\"operator\""), r"'operator' is there twice"),
            (ABSTRACT, ("\"32\"", "\"16\""), r"has the option '16' twice"),
            (ABSTRACT, ("name = \"table\"", "name = 3"), r"name is a text, found 3"),
            (ABSTRACT, ("= \"table\"", "= "), r"not TOML"),
        ],
    )  # fmt: skip
    def test_mistakes_are_named(
        self, tmp_path: Path, text: str, change: tuple[str, str], message: str
    ) -> None:
        assert change[0] in text
        with pytest.raises(SpaceFileError, match=rf"space\.toml: .*{message}"):
            find_space(write(tmp_path, text.replace(*change)))

    def test_a_missing_file_and_an_unknown_name(self, tmp_path: Path) -> None:
        with pytest.raises(SpaceFileError, match="cannot be read"):
            find_space(str(tmp_path / "none.toml"))
        with pytest.raises(UnknownName, match="nasnet"):
            find_space("nasnett")

    def test_names_lead_to_all_spaces(self) -> None:
        assert isinstance(find_space("nasnet", classes=7), NasNetSpace)
        assert isinstance(find_space("mobile-cnn", resolution=32), ChainSpace)
