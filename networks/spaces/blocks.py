"""Block: one link of a chain space, and the tables of everything it can choose.

A choice numbers the combinations of a block's own options; a state numbers the widths that can come
in. See `networks.spaces.chain` for how the tables make a space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from networks.errors import ShapeError
from networks.graph import Shape
from networks.layers import Layer
from networks.spaces.space import Decision

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BlockOption:
    """What one choice of a block means: its width, its depth, and the layer it stacks.

    ``layer(shape, stride)`` returns the layer of this option for that input; it drops a skip
    where none acts.
    """

    channels: int
    depth: int
    layer: Callable[[Shape, int], Layer]


@dataclass(frozen=True, slots=True)
class Block:
    """The decisions of one block; ``option(digits)`` gives meaning to one option index each.

    ``width_decision`` is the index of the decision that alone sets the width, or None where the
    width is fixed. The depths of a block leave no gap, so that any border can move by one layer.
    """

    decisions: tuple[Decision, ...]
    stride: int
    width_decision: int | None
    option: Callable[[tuple[int, ...]], BlockOption]


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """What sums over all networks of a space need of a block.

    The networks are the chains of canonical choices in which no two neighbours are merged.

    state_out   (n_choices,)            state that the choice hands to the next block
    canonical   (n_states, n_choices)   whether no lower choice gives the same layers
    merged      (n_choices, n_next)     whether this choice and that one of the next block decode
                                        as another pair does, which counts instead; of the last
                                        block ``n_next`` is 0
    """

    state_out: Ints
    canonical: npt.NDArray[np.bool_]
    merged: npt.NDArray[np.bool_]


class BlockTables:
    """One block, enumerated; every array's last axis is the choice.

    first, canonical        (n_states, n_choices): number of the first layer; the lowest choice
                            that gives the same layers
    repeat, template        number of the layer that repeats (-1: none does); that would repeat
    depth, state_out        layers of the choice; state that it hands to the next block
    shallower, deeper       the choice with one such layer less or more (-1: none)
    """

    def __init__(self, block: Block, shapes: Sequence[Shape], layer_ids: dict[Layer, int]) -> None:
        sizes = [len(decision.options) for decision in block.decisions]
        self.digits = np.array(list(product(*map(range, sizes))), dtype=np.int64)
        self.radix = np.array([prod(sizes[i + 1 :]) for i in range(len(sizes))], dtype=np.int64)
        self.options = [block.option(tuple(row)) for row in self.digits.tolist()]
        self.n_choices, self.n_states = len(self.options), len(shapes)
        self.depth = np.array([option.depth for option in self.options])
        self.wide = wide = block.width_decision
        self.state_out = np.zeros(self.n_choices, int) if wide is None else self.digits[:, wide]
        n_out = 1 if wide is None else sizes[wide]
        widths = {
            int(state): option.channels
            for state, option in zip(self.state_out, self.options, strict=True)
        }
        self.shapes_out = [shapes[0].strided(block.stride, widths[s]) for s in range(n_out)]
        for state, option in zip(self.state_out, self.options, strict=True):
            if option.channels != widths[int(state)]:
                raise ShapeError(f"{block.decisions[0].name}: the width depends on other decisions")

        def number(layer: Layer) -> int:
            return layer_ids.setdefault(layer, len(layer_ids))

        self.first = np.array(
            [[number(o.layer(shape, block.stride)) for o in self.options] for shape in shapes]
        )
        templates = [
            option.layer(self.shapes_out[state], 1)
            for state, option in zip(self.state_out, self.options, strict=True)
        ]
        # A template that no depth repeats is compared, never used: it gets a number past the end.
        unused: dict[Layer, int] = {}
        self.repeat = np.array(
            [
                number(layer) if option.depth > 1 else -1
                for layer, option in zip(templates, self.options, strict=True)
            ]
        )
        self.template = np.array(
            [layer_ids.get(t, -2 - unused.setdefault(t, len(unused))) for t in templates]
        )
        self.canonical = np.array([self._canonical_choices(s) for s in range(self.n_states)])
        self.shallower = self._change_depth(-1)
        self.deeper = self._change_depth(+1)

    def _canonical_choices(self, state: int) -> list[int]:
        seen: dict[tuple[int, int, int], int] = {}
        signatures = zip(self.first[state], self.repeat, self.depth, strict=True)
        return [seen.setdefault(s, choice) for choice, s in enumerate(signatures)]

    def _change_depth(self, step: int) -> Ints:
        """Return for each choice the one with ``step`` more of the same layers, or -1."""
        by_template: dict[tuple[int, int, int, int], int] = {}
        for choice in range(self.n_choices):
            by_template.setdefault(self._identity(choice, 0), choice)
        return np.array(
            [by_template.get(self._identity(c, step), -1) for c in range(self.n_choices)]
        )

    def _identity(self, choice: int, step: int) -> tuple[int, int, int, int]:
        first, template = int(self.first[0, choice]), int(self.template[choice])
        return first, template, int(self.state_out[choice]), int(self.depth[choice]) + step


def mergeable(before: BlockTables, after: BlockTables, stride: int) -> npt.NDArray[np.bool_]:
    """Return where a layer may move from one block to the next, shape (choices, choices)."""
    if stride != 1:
        return np.zeros((before.n_choices, after.n_choices), dtype=bool)
    first = after.first[before.state_out]
    same = (before.repeat[:, None] == first) & (after.template[None, :] == first)
    possible = (before.shallower >= 0)[:, None] & (after.deeper >= 0)[None, :]
    movable: npt.NDArray[np.bool_] = same & possible
    return movable
