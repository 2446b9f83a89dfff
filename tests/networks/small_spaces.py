"""Spaces small enough to list, full of genotypes that decode alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from hypothesis import assume
from hypothesis import strategies as st

from networks.errors import ShapeError
from networks.graph import Shape
from networks.layers import Conv, Skip
from networks.network import Network
from networks.spaces.blocks import Block, BlockOption
from networks.spaces.chain import ChainSpace
from networks.spaces.mnasnet import mobile_head, mobile_layer
from networks.spaces.space import Decision

SKIPS: tuple[Skip, ...] = ("none", "identity")


def make_block(index: int, stride: int, widths: Sequence[int], depths: Sequence[int]) -> Block:
    """A block of separable convolutions that chooses kernel, skip, width and depth."""

    def option(digits: tuple[int, ...]) -> BlockOption:
        kernel, skip, width, depth = digits
        return BlockOption(
            channels=widths[width],
            depth=depths[depth],
            layer=lambda shape, stride: mobile_layer(
                shape, widths[width], stride, operator="sep", kernel=(3, 5)[kernel], se=False,
                skip=SKIPS[skip],
            ),
        )  # fmt: skip

    options = {"kernel": (3, 5), "skip": SKIPS, "width": widths, "depth": depths}
    decisions = tuple(
        Decision(f"block{index}.{name}", tuple(map(str, values)))
        for name, values in options.items()
    )
    return Block(decisions, stride, 2, option)


def make_small_space(
    *blocks: tuple[int, Sequence[int], Sequence[int]], name: str = "small"
) -> ChainSpace:
    """The space of blocks of (stride, widths, depths)."""
    return ChainSpace(
        name,
        Shape(16, 16, 3),
        stem=lambda image: (Conv(image, 8, kernel=3, stride=2),),
        blocks=[make_block(i, *block) for i, block in enumerate(blocks)],
        head=lambda shape: mobile_head(shape, 8, 4),
    )


@st.composite
def small_spaces(draw: st.DrawFn) -> ChainSpace:
    """Random ones, up to some thousand genotypes."""
    widths = st.lists(st.sampled_from((8, 16)), min_size=1, max_size=2)
    depths = st.sampled_from([(1,), (1, 2), (1, 2, 3), (1, 1, 2)])
    blocks = draw(
        st.lists(st.tuples(st.sampled_from((1, 2)), widths, depths), min_size=1, max_size=3)
    )
    assume(np.prod([4 * len(w) * len(d) for _, w, d in blocks]) <= 2500)
    try:
        return make_small_space(*blocks)
    except ShapeError:  # layers could be handed on over three blocks
        assume(False)
        raise


def all_genotypes(space: ChainSpace) -> npt.NDArray[np.int8]:
    """Every genotype, shape ``(n_genotypes, n_decisions)``."""
    sizes = [range(len(decision.options)) for decision in space.decisions]
    return np.array(list(product(*sizes)), np.int8)


def all_networks(space: ChainSpace) -> list[Network]:
    """Every network once, found by decoding every genotype."""
    return list(dict.fromkeys(space.decode(genotype) for genotype in all_genotypes(space)))


def sums(
    space: ChainSpace, networks: Sequence[Network], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Each network's sum of one value a layer of ``space.layers``, taken layer by layer."""
    value = dict(zip(space.layers, values.tolist(), strict=True))
    return np.array([sum(value[layer] for layer in network.layers) for network in networks])
