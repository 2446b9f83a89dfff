"""NASNet's space: a normal and a reduction cell of five blocks each, from thirteen operators.

Source: Zoph et al. 2018, section 3 and figure 3. Per block five decisions: two states that it
reads, an operator on each, and how the results are combined; of block i, states 0 to 1 + i. States
that nothing reads are concatenated. N and F, how often cells repeat and how wide they are, scale
the network and are no decisions: a genotype is a network for small images and for large ones.

A block's two sides are alike (their sum does not depend on the order, a concatenation only in the
order of its channels), so genotypes that differ in which side is which are one network: the
canonical one has the smaller (state, operator) on the left. Cells whose blocks are only numbered
otherwise count as different: their outputs are concatenated in another order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from networks.cell_operators import CELL_OPERATORS
from networks.cells import Block, Cell, CellNetwork, Combination, Edge, Stem, unread_states
from networks.errors import GenotypeError, ShapeError
from networks.graph import Shape
from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision, Genotypes

BLOCKS = 5
CELLS = ("normal", "reduction")
OPERATORS = tuple(CELL_OPERATORS)
COMBINATIONS: tuple[Combination, ...] = ("add", "concat")
SMALL_PIXELS = 64
"""Images up to this size get CIFAR's stem."""
_DECISIONS = 5  # of a block: left state and operator, right state and operator, combination


class NasNetSpace(DecisionSpace):
    """See the module; implements `networks.spaces.space.NetworkSpace` of `CellNetwork`.

    Args:
        repeats: N, normal cells before, between and after the reductions.
        filters: F, filters of the first normal cells.
        stem: ``cifar`` or ``imagenet``; None chooses by the image's size.
    """

    def __init__(
        self,
        image: Shape,
        *,
        repeats: int = 2,
        filters: int = 32,
        stem: Stem | None = None,
        classes: int = 10,
    ) -> None:
        super().__init__("nasnet", _decisions())
        self.image, self.repeats, self.filters, self.classes = image, repeats, filters, classes
        small = max(image.height, image.width) <= SMALL_PIXELS
        self.stem: Stem = stem or ("cifar" if small else "imagenet")
        self.decode(np.zeros(len(self.decisions), np.int8))  # sizes that cannot be are said now

    @property
    def n_networks(self) -> int:
        """Number of different networks, exactly: unordered pairs of sides, in each block."""
        cell = 1
        for block in range(BLOCKS):
            sides = (2 + block) * len(OPERATORS)
            cell *= sides * (sides + 1) // 2 * len(COMBINATIONS)
        return int(cell ** len(CELLS))

    def decode(self, genotype: npt.ArrayLike) -> CellNetwork:
        """Return the network of one genotype, shape ``(n_decisions,)``."""
        row = self.checked(genotype, ndim=1)
        normal, reduction = (_cell(part) for part in row.reshape(len(CELLS), -1))
        return CellNetwork(
            self.image,
            self.stem,
            stem_channels=3 * self.filters if self.stem == "cifar" else 32,
            repeats=self.repeats,
            filters=self.filters,
            normal=normal,
            reduction=reduction,
            classes=self.classes,
            skip_reduction_input=self.stem == "imagenet",
        )

    def encode(self, network: CellNetwork) -> Genotypes:
        """Return the canonical genotype of a network, shape ``(n_decisions,)``.

        Raises:
            GenotypeError: the space does not hold this network.
        """
        digits: list[int] = []
        for name, cell in zip(CELLS, (network.normal, network.reduction), strict=True):
            if len(cell.blocks) != BLOCKS or cell.concatenated != unread_states(cell.blocks):
                raise GenotypeError(
                    f"{self.name} has {name} cells of {BLOCKS} blocks that concatenate the states"
                    f" that none reads, found {cell}"
                )
            for block in cell.blocks:
                for edge in (block.left, block.right):
                    digits += [edge.state, OPERATORS.index(edge.operator)]
                digits.append(COMBINATIONS.index(block.combination))
        genotype: Genotypes = self.canonical(np.array([digits], np.int8))[0]
        normal, reduction = _ordered(network.normal), _ordered(network.reduction)
        if self.decode(genotype) != replace(network, normal=normal, reduction=reduction):
            raise GenotypeError(f"{self.name} holds networks of its own image, stem, N and F only")
        return genotype

    def canonical(self, genotypes: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotype of each row, shape ``(n, n_decisions)``."""
        rows = self.checked(genotypes, ndim=2)
        blocks = rows.reshape(len(rows), -1, _DECISIONS).copy()
        left, right = blocks[..., 0:2].astype(np.int64), blocks[..., 2:4].astype(np.int64)
        swapped = _number(left) > _number(right)
        blocks[swapped, 0:2], blocks[swapped, 2:4] = right[swapped], left[swapped]
        canonical: Genotypes = blocks.reshape(rows.shape)
        return canonical

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        uniform_over: Literal["genotypes", "networks"] = "genotypes",
    ) -> Genotypes:
        """Return ``n`` genotypes drawn with replacement, shape ``(n, n_decisions)``.

        Over networks, each is as likely as any other and its canonical genotype returns.
        """
        drawn = super().sample(n, rng)
        if uniform_over == "genotypes":
            return drawn
        blocks = drawn.reshape(n, len(CELLS) * BLOCKS, _DECISIONS)
        for place in range(blocks.shape[1]):
            sides = (2 + place % BLOCKS) * len(OPERATORS)
            low, high = _pairs(sides)
            pair = rng.integers(0, len(low), n)
            blocks[:, place, 0:2] = np.stack(np.divmod(low[pair], len(OPERATORS)), axis=1)
            blocks[:, place, 2:4] = np.stack(np.divmod(high[pair], len(OPERATORS)), axis=1)
        return drawn


def nasnet(
    *,
    resolution: int = 32,
    repeats: int = 2,
    filters: int = 32,
    stem: Stem | None = None,
    classes: int = 10,
    in_channels: int = 3,
) -> NasNetSpace:
    """Return the space; the defaults are those of the paper's search on CIFAR-10: N = 2, F = 32."""
    if resolution < 1 or in_channels < 1:
        raise ShapeError(f"expected an image of pixels, found {resolution}x{resolution}")
    image = Shape(resolution, resolution, in_channels)
    return NasNetSpace(image, repeats=repeats, filters=filters, stem=stem, classes=classes)


def _decisions() -> list[Decision]:
    found = []
    for cell in CELLS:
        for block in range(BLOCKS):
            states = tuple(str(state) for state in range(2 + block))
            for name, options in (
                ("left_state", states), ("left_operator", OPERATORS), ("right_state", states),
                ("right_operator", OPERATORS), ("combination", COMBINATIONS),
            ):  # fmt: skip
                found.append(Decision(f"{cell}{block}.{name}", tuple(options)))
    return found


def _cell(digits: Genotypes) -> Cell:
    blocks = tuple(
        Block(
            Edge(OPERATORS[left_operator], left),
            Edge(OPERATORS[right_operator], right),
            COMBINATIONS[combination],
        )
        for left, left_operator, right, right_operator, combination in digits.reshape(
            BLOCKS, _DECISIONS
        ).tolist()
    )
    return Cell(blocks, unread_states(blocks))


def _ordered(cell: Cell) -> Cell:
    """Return the cell with the smaller side of each block on the left."""
    blocks = []
    for block in cell.blocks:
        left, right = sorted((block.left, block.right), key=_rank)
        blocks.append(Block(left, right, block.combination))
    return Cell(tuple(blocks), cell.concatenated)


def _rank(edge: Edge) -> int:
    return edge.state * len(OPERATORS) + OPERATORS.index(edge.operator)


def _number(sides: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return one number for each (state, operator), shape ``(..., 2)``."""
    number: npt.NDArray[np.int64] = sides[..., 0] * len(OPERATORS) + sides[..., 1]
    return number


def _pairs(sides: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the unordered pairs of that many sides, the smaller first."""
    low, high = np.triu_indices(sides)
    return low, high
