"""ChainSpace: a stem, blocks that each make a few choices, and a head.

A block's options fix one layer template, a width and a depth; its first layer takes the block's
stride and the incoming width, the others repeat at stride 1. So all that one block needs to know
of the ones before is the incoming width, and everything about the space (layers, prices, counts,
uniform samples) follows from tables of shape (incoming widths, choices of the block):

    choice    = digits of the block's own decisions, mixed radix      0 .. n_choices - 1
    state     = digit of the previous block's width decision          0 .. n_states - 1
    code      = state * n_choices + choice, linear in the genotype
    layers    = first[state, choice], then repeat[choice] x (depth[choice] - 1)

Two things make genotypes decode alike. Within a block: options that change nothing (a skip that
cannot act, two widths that round to one). Across blocks: where a stride-1 block continues with the
very layer that the previous block repeats, the border between them may lie anywhere; the canonical
genotype gives the later block as many layers as it can take. A space in
which layers could be handed on over three blocks is refused: its counts, made from pairs of blocks,
would not be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from networks.errors import GenotypeError, ShapeError
from networks.graph import Shape
from networks.layers import Layer
from networks.network import Network
from networks.spaces.blocks import Block, BlockTables, Ints, Link, mergeable
from networks.spaces.decisions import checked_genotypes
from networks.spaces.space import Genotypes

Floats = npt.NDArray[np.float64]


class ChainSpace:
    """A space of chains of blocks; see the module. Implements `networks.spaces.space.Space`."""

    def __init__(
        self,
        name: str,
        image: Shape,
        *,
        stem: Callable[[Shape], tuple[Layer, ...]],
        blocks: Sequence[Block],
        head: Callable[[Shape], tuple[Layer, ...]],
    ) -> None:
        self.name = name
        self.image = image
        self.decisions = tuple(d for block in blocks for d in block.decisions)
        self._sizes = np.array([len(decision.options) for decision in self.decisions])
        layer_ids: dict[Layer, int] = {}

        def number(layers: tuple[Layer, ...]) -> list[int]:
            return [layer_ids.setdefault(layer, len(layer_ids)) for layer in layers]

        stem_layers = stem(image)
        self._stem = number(stem_layers)
        shapes = [stem_layers[-1].output if stem_layers else image]
        self._blocks: list[BlockTables] = []
        self._columns: list[slice] = []
        column = 0
        for block in blocks:
            tables = BlockTables(block, shapes, layer_ids)
            self._blocks.append(tables)
            self._columns.append(slice(column, column + len(block.decisions)))
            column += len(block.decisions)
            shapes = tables.shapes_out
        self._heads = [number(head(shape)) for shape in shapes]
        self.layers = tuple(layer_ids)
        self._merges = [
            mergeable(a, b, blocks[i + 1].stride)
            for i, (a, b) in enumerate(zip(self._blocks, self._blocks[1:], strict=False))
        ]
        self._refuse_long_merges()

    @property
    def n_genotypes(self) -> int:
        """Product of the numbers of options."""
        return prod(map(int, self._sizes))

    @cached_property
    def n_networks(self) -> int:
        """Number of different networks, exactly."""
        return int(self._completions[0] @ self._starts)

    def decode(self, genotype: npt.ArrayLike) -> Network:
        """Return the network of one genotype, shape ``(n_decisions,)``."""
        choices = self._choices(self._checked(genotype, ndim=1)[None])[0]
        return Network(tuple(self.layers[i] for i in self._layer_ids(choices)))

    def encode(self, network: Network) -> Genotypes:
        """Return the canonical genotype of a network, shape ``(n_decisions,)``.

        Raises:
            GenotypeError: the space does not hold this network; names the first layer that
                no choice explains.
        """
        numbers = {layer: i for i, layer in enumerate(self.layers)}
        wanted = [numbers.get(layer, -1) for layer in network.layers]
        furthest = 0

        def match(block: int, state: int, at: int) -> list[int] | None:
            nonlocal furthest
            furthest = max(furthest, at)
            if block == len(self._blocks):
                return [] if wanted[at:] == self._heads[state] else None
            tables = self._blocks[block]
            for choice in np.flatnonzero(tables.first[state] == wanted[at]).tolist():
                depth = int(tables.depth[choice])
                if wanted[at + 1 : at + depth] != [tables.repeat[choice]] * (depth - 1):
                    continue
                if tables.canonical[state, choice] != choice or at + depth >= len(wanted):
                    continue
                rest = match(block + 1, int(tables.state_out[choice]), at + depth)
                if rest is not None:
                    return [choice, *rest]
            return None

        at = len(self._stem)
        found = match(0, 0, at) if wanted[:at] == self._stem and len(wanted) > at else None
        if found is None:
            layer = network.layers[min(furthest, len(network.layers) - 1)]
            raise GenotypeError(
                f"{self.name} does not hold this network: no choice gives its layer {furthest},"
                f" {layer.key}"
            )
        genotype: Genotypes = self.canonical(self.from_choices(np.array([found])))[0]
        return genotype

    def canonical(self, genotypes: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotype of each row, shape ``(n, n_decisions)``."""
        choices = self._choices(self._checked(genotypes, ndim=2))
        self._drop_idle_options(choices)
        moved = True
        while moved:  # each move takes one layer from an earlier block to a later one
            moved = False
            for block in reversed(range(len(self._merges))):
                before, after = choices[:, block], choices[:, block + 1]
                rows = np.flatnonzero(self._merges[block][before, after])
                if rows.size:
                    choices[rows, block] = self._blocks[block].shallower[before[rows]]
                    choices[rows, block + 1] = self._blocks[block + 1].deeper[after[rows]]
                    moved = True
            if moved:
                self._drop_idle_options(choices)
        return self.from_choices(choices)

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        uniform_over: Literal["genotypes", "networks"] = "genotypes",
    ) -> Genotypes:
        """Return ``n`` genotypes drawn with replacement, shape ``(n, n_decisions)``.

        Over networks, each network is as likely as any other and its canonical genotype returns.
        """
        if uniform_over == "genotypes":
            drawn: Genotypes = rng.integers(0, self._sizes, (n, len(self._sizes)), dtype=np.int8)
            return drawn
        choices = np.empty((n, len(self._blocks)), dtype=np.int64)
        weights = (self._starts * self._completions[0]).astype(float)
        choices[:, 0] = rng.choice(len(weights), size=n, p=weights / weights.sum())
        for block, cumulative in enumerate(self._cumulative):
            before = choices[:, block]
            at = np.searchsorted(cumulative, before + rng.random(n), side="right")
            choices[:, block + 1] = at - before * self._blocks[block + 1].n_choices
        return self.from_choices(choices)

    def neighbours(self, genotype: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotypes of all other networks one decision away."""
        own = self._checked(genotype, ndim=1)
        rows = []
        for decision, size in enumerate(self._sizes):
            for option in range(size):
                if option != own[decision]:
                    row = own.copy()
                    row[decision] = option
                    rows.append(row)
        near = np.unique(self.canonical(np.array(rows)), axis=0)
        others: Genotypes = near[np.any(near != self.canonical(own[None]), axis=1)]
        return others

    def enumerate(self) -> Iterator[Genotypes]:
        """Yield the canonical genotype of every network, each once."""

        def extend(choices: list[int]) -> Iterator[Genotypes]:
            block = len(choices)
            if block == len(self._blocks):
                yield self.from_choices(np.array([choices]))[0]
                return
            allowed = self._allowed[block - 1][choices[-1]] if block else self._starts
            for choice in np.flatnonzero(allowed).tolist():
                yield from extend([*choices, choice])

        return extend([])

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """The blocks as sums over all networks need them."""
        merged = [*self._merges, np.zeros((self._blocks[-1].n_choices, 0), dtype=bool)]
        return tuple(
            Link(block.state_out, block.canonical == np.arange(block.n_choices), pairs)
            for block, pairs in zip(self._blocks, merged, strict=True)
        )

    def from_choices(self, choices: Ints) -> Genotypes:
        """Return the genotypes of one choice a block each, shape ``(n, n_blocks)``."""
        digits = [t.digits[choices[:, i]] for i, t in enumerate(self._blocks)]
        return np.concatenate(digits, axis=1).astype(np.int8)

    def code_matrix(self) -> Ints:
        """Return the matrix that takes genotypes to codes, shape ``(n_decisions, n_blocks)``.

        ``genotypes @ code_matrix()`` indexes the tables of `block_prices`.
        """
        matrix = np.zeros((len(self.decisions), len(self._blocks)), dtype=np.int64)
        for block, tables in enumerate(self._blocks):
            matrix[self._columns[block], block] = tables.radix
            wide = self._blocks[block - 1].wide if block else None
            if wide is not None:
                matrix[self._columns[block - 1].start + wide, block] = tables.n_choices
        return matrix

    def block_prices(self, prices: npt.ArrayLike) -> list[Floats]:
        """Return one table a block, indexed by code, whose entries sum to a network's price.

        Args:
            prices: of each of ``layers``, shape ``(n_layers,)``. The stem counts to the first
                block, the head to the last.
        """
        price = np.asarray(prices, dtype=np.float64)
        tables = []
        for block in self._blocks:
            repeats = np.where(block.depth > 1, (block.depth - 1) * price[block.repeat], 0.0)
            tables.append(price[block.first] + repeats)
        tables[0] = tables[0] + price[self._stem].sum()
        heads = np.array([price[head].sum() for head in self._heads])
        tables[-1] = tables[-1] + heads[self._blocks[-1].state_out]
        return [np.ravel(table) for table in tables]

    def block_layers(self) -> list[tuple[Ints, Ints]]:
        """Return for each block which of ``layers`` it uses and how often, by code.

        Two arrays a block, shape ``(n_codes, k)``: numbers of layers, and how often each is used;
        a number may come twice. As in `block_prices`, the stem counts to the first block, the
        head to the last.
        """
        longest = max(map(len, self._heads))
        heads = np.array([[*head, *[-1] * (longest - len(head))] for head in self._heads])
        used = []
        for i, block in enumerate(self._blocks):
            repeat = np.broadcast_to(block.repeat, block.first.shape)
            numbers = np.stack([block.first, repeat], axis=-1).reshape(-1, 2)
            depth = np.tile(block.depth, block.n_states)
            counts = np.stack([np.ones_like(depth), depth - 1], axis=-1)
            fixed = np.empty((len(numbers), 0), np.int64)
            if i == 0:
                fixed = np.append(
                    fixed, np.tile(np.array(self._stem, np.int64), (len(numbers), 1)), axis=1
                )
            if i == len(self._blocks) - 1:
                ends = heads[np.tile(block.state_out, block.n_states)]
                fixed = np.append(fixed, ends, axis=1)
            counts = np.append(counts, fixed >= 0, axis=1)
            used.append((np.append(numbers, fixed, axis=1).clip(min=0), counts))
        return used

    def cheapest(self, prices: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotype of the network of least price, shape ``(n_decisions,)``.

        Args:
            prices: of each of ``layers``, shape ``(n_layers,)``.
        """
        shapes = [(block.n_states, block.n_choices) for block in self._blocks]
        tables = [t.reshape(s) for t, s in zip(self.block_prices(prices), shapes, strict=True)]
        rest = np.zeros(len(self._heads))
        best: list[Ints] = []
        for block, table in zip(reversed(self._blocks), reversed(tables), strict=True):
            total = table + rest[block.state_out]
            best.insert(0, total.argmin(axis=1))
            rest = total.min(axis=1)
        choices: list[int] = []
        state = 0
        for block, choice in zip(self._blocks, best, strict=True):
            choices.append(int(choice[state]))
            state = int(block.state_out[choices[-1]])
        genotype: Genotypes = self.canonical(self.from_choices(np.array([choices])))[0]
        return genotype

    def _refuse_long_merges(self) -> None:
        for i, (before, middle, after) in enumerate(
            zip(self._blocks, self._blocks[1:], self._blocks[2:], strict=False)
        ):
            # whether `before` can give its layer to `middle`, which may give it on to `after`
            gives = before.repeat[:, None] == middle.first[before.state_out]
            shared = set(np.ravel(middle.first)) & set(np.ravel(after.first))
            if gives[before.shallower >= 0].any() and shared:
                raise ShapeError(
                    f"{self.name}: blocks {i} to {i + 2} can hand equal layers on to each other, so"
                    " its networks cannot be counted exactly; use other strides or a larger width"
                )

    def _layer_ids(self, choices: Ints) -> list[int]:
        numbers, state = list(self._stem), 0
        for tables, choice in zip(self._blocks, choices.tolist(), strict=True):
            numbers.append(int(tables.first[state, choice]))
            numbers += [int(tables.repeat[choice])] * (int(tables.depth[choice]) - 1)
            state = int(tables.state_out[choice])
        return numbers + self._heads[state]

    def _checked(self, genotypes: npt.ArrayLike, *, ndim: int) -> Genotypes:
        return checked_genotypes(self.name, self.decisions, genotypes, ndim=ndim)

    def _choices(self, genotypes: Genotypes) -> Ints:
        wide = genotypes.astype(np.int64)
        return np.stack(
            [wide[:, c] @ t.radix for c, t in zip(self._columns, self._blocks, strict=True)], axis=1
        )

    def _drop_idle_options(self, choices: Ints) -> None:
        state = np.zeros(len(choices), dtype=np.int64)
        for block, tables in enumerate(self._blocks):
            choices[:, block] = tables.canonical[state, choices[:, block]]
            state = tables.state_out[choices[:, block]]

    @cached_property
    def _starts(self) -> Ints:
        """1 for each canonical choice of the first block, shape ``(n_choices,)``."""
        first = self._blocks[0]
        starts: Ints = (first.canonical[0] == np.arange(first.n_choices)).astype(self._count_type)
        return starts

    @cached_property
    def _allowed(self) -> list[npt.NDArray[np.bool_]]:
        """For each pair of neighbouring blocks, which canonical choices may follow which."""
        pairs = []
        for before, after, merge in zip(self._blocks, self._blocks[1:], self._merges, strict=False):
            canonical = after.canonical == np.arange(after.n_choices)
            pairs.append(canonical[before.state_out] & ~merge)
        return pairs

    @cached_property
    def _completions(self) -> list[Ints]:
        """For each block and choice, the number of ways to go on to the end, exactly."""
        ways: list[Ints] = [np.ones(self._blocks[-1].n_choices, dtype=self._count_type)]
        for allowed in reversed(self._allowed):
            ways.insert(0, allowed.astype(self._count_type) @ ways[0])
        return ways

    @cached_property
    def _cumulative(self) -> list[Floats]:
        """For each pair, row-wise cumulative probabilities with the row's number added, flat."""
        rows: list[Floats] = []
        for allowed, ways in zip(self._allowed, self._completions[1:], strict=True):
            cumulative = np.cumsum(allowed * ways.astype(float), axis=1)
            cumulative /= np.maximum(cumulative[:, -1:], 1.0)
            rows.append(np.ravel(cumulative + np.arange(len(allowed))[:, None]))
        return rows

    @property
    def _count_type(self) -> type:
        return np.int64 if self.n_genotypes < 2**63 else object
