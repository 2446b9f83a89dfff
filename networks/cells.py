"""Cells: what NASNet searches for, and the networks that repeat them.

A cell reads the two outputs before it and computes states, each from earlier ones:

    state 0        the output before: ReLU, 1 x 1 convolution, batch norm
    state 1        the output before that one, its size and width adapted
    state 2 + i    block i: an operator on each of two states, added or concatenated

Its output are the states that it concatenates, each `filters` wide. In a reduction cell the
operators on states 0 and 1 have stride 2. A network is

    image -> stem -> normal x N -> (reduction -> normal x N) twice -> ReLU, average, dense

with F filters in the first normal cells and twice as many after each reduction. The names of
the paper count the filters of the last layer: with six states concatenated, 4@1056 is N = 4
and F = 1056 / (6 x 4) = 44.

Sources: Zoph et al. 2018 (arXiv 1707.07012); slim's nasnet in tensorflow/models for what adapts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from networks.cell_operators import CELL_OPERATORS, rectified_convolution
from networks.errors import CellError, ShapeError, UnknownName
from networks.graph import Graph, GraphBuilder, Shape
from networks.network import ImageNetwork

IDENTITY = "id"
Combination = Literal["add", "concat"]
Stem = Literal["imagenet", "cifar"]


@dataclass(frozen=True, slots=True)
class Edge:
    """An operator, by its name in `CELL_OPERATORS`, on the state of this number."""

    operator: str
    state: int

    def __post_init__(self) -> None:
        if self.operator not in CELL_OPERATORS:
            raise UnknownName("cell operator", self.operator, CELL_OPERATORS)


@dataclass(frozen=True, slots=True)
class Block:
    """Two edges and how their results become one state."""

    left: Edge
    right: Edge
    combination: Combination = "add"

    @property
    def reads(self) -> tuple[int, int]:
        """The states that it reads."""
        return self.left.state, self.right.state


def unread_states(blocks: tuple[Block, ...]) -> tuple[int, ...]:
    """Return the states that no block reads: the paper concatenates exactly these."""
    read = {state for block in blocks for state in block.reads}
    return tuple(state for state in range(2 + len(blocks)) if state not in read)


@dataclass(frozen=True, slots=True)
class CellPath:
    """Where a block reads the result of an operator other than identity.

    ``operator`` is the number of the graph's operator that combines the block, ``read`` the place
    among what it reads, ``cell`` the number of the cell: what ScheduledDropPath drops in training.
    """

    operator: int
    read: int
    cell: int


@dataclass(frozen=True, slots=True)
class Cell:
    """Blocks, and the states that are concatenated, in ascending order."""

    blocks: tuple[Block, ...]
    concatenated: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.blocks:
            raise CellError("a cell has at least one block")
        for index, block in enumerate(self.blocks):
            for state in block.reads:
                if not 0 <= state < 2 + index:
                    raise CellError(
                        f"block {index} reads a state from 0 to {1 + index}, found {state}"
                    )
        last = 1 + len(self.blocks)
        known = sorted(set(self.concatenated) & set(range(last + 1)))
        if not known or list(self.concatenated) != known:
            raise CellError(
                f"a cell concatenates states from 0 to {last} in ascending order,"
                f" found {list(self.concatenated)}"
            )
        if idle := set(unread_states(self.blocks)) - set(known):
            raise CellError(
                f"states {sorted(idle)} are neither read by a block nor concatenated:"
                f" concatenate them too"
            )

    def lower(
        self,
        graph: GraphBuilder,
        current: int,
        previous: int | None,
        *,
        filters: int,
        stride: int,
        combined: dict[int, Block] | None = None,
    ) -> int:
        """Append this cell's operators; returns the number of its output.

        Args:
            current: value before this cell.
            previous: value before that one; of the first cell, which has none, state 1 is
                ``current`` as it is.
            filters: width of every state.
            stride: 1 in a normal cell, 2 in a reduction cell.
            combined: gets each block by the number of its value.
        """
        prefix, size = graph.prefix, graph.shape(current)
        states = [rectified_convolution(graph, current, filters, name="base")]
        graph.prefix = f"{prefix}previous_"
        states.append(
            current
            if previous is None
            else _adapted(graph, previous, filters, size, is_rectified=True)
        )
        for index, block in enumerate(self.blocks):
            results = []
            for side, edge in (("left", block.left), ("right", block.right)):
                graph.prefix = f"{prefix}{index}.{side}."
                lower = CELL_OPERATORS[edge.operator]
                results.append(
                    lower(graph, states[edge.state], filters, stride if edge.state < 2 else 1)
                )
            combine = graph.add if block.combination == "add" else graph.concatenate
            states.append(combine(*results))
            if combined is not None:
                combined[states[-1]] = block
        size = graph.shape(states[-1])
        joined = []
        for state in self.concatenated:
            graph.prefix = f"{prefix}state{state}_"
            joined.append(_adapted(graph, states[state], filters, size, is_rectified=False))
        graph.prefix = prefix
        return graph.concatenate(*joined)


@dataclass(frozen=True, slots=True)
class CellNetwork(ImageNetwork):
    """A network of cells for images of one shape.

    Args:
        stem: ``imagenet`` is a 3 x 3 convolution of stride 2 without padding and two reduction
            cells of F / 4 and F / 2 filters, ``cifar`` a 3 x 3 convolution; each with batch norm.
        stem_channels: width of the stem's convolution.
        repeats: N, normal cells before, between and after the two reductions.
        filters: F, width of the states of the first normal cells.
        skip_reduction_input: the cell after a reduction reads what the reduction reads as its
            state 1, and not the reduction's input.
    """

    image: Shape
    stem: Stem
    stem_channels: int
    repeats: int
    filters: int
    normal: Cell
    reduction: Cell
    classes: int
    skip_reduction_input: bool = False

    def __post_init__(self) -> None:
        if min(self.stem_channels, self.repeats, self.classes) < 1:
            raise ShapeError(
                f"stem channels, repeats and classes start at 1, found {self.stem_channels},"
                f" {self.repeats} and {self.classes}"
            )
        imagenet = self.stem == "imagenet"
        # a quarter of F is the width of a stem cell, which may be split into two paths
        least = 8 if imagenet else 1
        if self.filters < least:
            raise ShapeError(
                f"filters of a network with {self.stem} stem start at {least}, found {self.filters}"
            )
        if imagenet:
            self.image.inside((3, 3), 2, self.stem_channels)

    @property
    def input(self) -> Shape:
        """Shape of the image."""
        return self.image

    @property
    def output(self) -> Shape:
        """Shape of the logits."""
        return Shape(1, 1, self.classes)

    def graph(self) -> Graph:
        """Return the operators of all cells.

        Parameters of the third cell are named ``2.base``, of its first block ``2.0.left.conv`` etc.
        """
        return self._lower()[0]

    def paths(self) -> tuple[CellPath, ...]:
        """Return where the graph's blocks read operators other than identity."""
        return self._lower()[1]

    def _lower(self) -> tuple[Graph, tuple[CellPath, ...]]:
        graph = GraphBuilder(self.image)
        paths: list[CellPath] = []
        valid = self.stem == "imagenet"
        stem = graph.convolution(
            0,
            self.stem_channels,
            name="stem",
            kernel=3,
            stride=2 if valid else 1,
            padding="valid" if valid else "same",
        )
        outputs = [stem]
        for index, (cell, filters, stride, back) in enumerate(self._cells()):
            graph.prefix = f"{index}."
            combined: dict[int, Block] = {}
            outputs.append(
                cell.lower(
                    graph,
                    outputs[-1],
                    outputs[-back] if len(outputs) >= back else None,
                    filters=filters,
                    stride=stride,
                    combined=combined,
                )
            )
            paths += [
                CellPath(value - 1, read, index)  # the graph has one input
                for value, block in combined.items()
                for read, edge in enumerate((block.left, block.right))
                if edge.operator != IDENTITY
            ]
        graph.prefix = ""
        pooled = graph.global_average(graph.activate(outputs[-1], "relu"))
        graph.dense(pooled, self.classes, name="classify")
        return graph.build(), tuple(paths)

    def _cells(self) -> Iterator[tuple[Cell, int, int, int]]:
        """Yield every cell, its filters, stride, and how many outputs back its state 1 lies."""
        if self.stem == "imagenet":
            yield self.reduction, self.filters // 4, 2, 2
            yield self.reduction, self.filters // 2, 2, 2
        for stage in range(3):
            filters = self.filters * 2**stage
            if stage:
                yield self.reduction, filters, 2, 2
            for repeat in range(self.repeats):
                skips = self.skip_reduction_input and stage > 0 and repeat == 0
                yield self.normal, filters, 1, 3 if skips else 2


def _adapted(
    graph: GraphBuilder, value: int, filters: int, size: Shape, *, is_rectified: bool
) -> int:
    """Return ``value`` with the height and width of ``size`` and ``filters`` channels.

    Halving takes two paths, one a pixel beside the other, so that no pixel is lost.
    """
    shape = graph.shape(value)
    halves = (shape.height, shape.width) != (size.height, size.width)
    if not halves and shape.channels == filters:
        return value
    if is_rectified:
        value = graph.activate(value, "relu")
    if not halves:
        return graph.convolution(value, filters, name="match")
    half = filters // 2
    return graph.concatenate(
        graph.convolution(value, half, name="even", stride=2),
        graph.convolution(graph.shift(value), filters - half, name="odd", stride=2),
    )
