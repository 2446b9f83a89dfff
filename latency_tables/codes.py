"""Codes: from genotypes to places in tables of one entry a choice of a block, in two ways.

Packed, where no decision has over 4 options: eight bytes of a genotype are read as one 64-bit
integer, and one multiplication copies them to where the bits of a block's decisions lie side by
side at its top. Copies are 2 bits apart, options have 2 bits, so nothing overlaps or carries:

    bytes         .. d  c  b  a      a, b, c, d in 0 .. 3; a is read first
    copy 0        .. b......a......  shifted so that a is at the bottom of the window
    copy 1        .. d......c......  2 bits higher, so that c is next to a
    window        .. db      ca      its bits are the place; what is above it falls off

Matrix, for any space: codes are linear in the genotype, so they are one matrix product, exact in
float32 below 2^24. Packed is about twice as fast (``benchmarks/reward_speed.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes

Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Reader = Callable[[Genotypes], Iterator[Places]]

_LANE = 2  # bits of an option
_LANES = 8 // _LANE
_WORD = 8  # bytes


class Codes(Protocol):
    """One way from genotypes to places.

    ``orders`` gives for each block the code at each place, -1 where no genotype comes.
    """

    orders: list[Ints]

    def reader(self, size: int) -> Reader:
        """Return a function of at most ``size`` rows, C-ordered, of options that exist.

        It yields the places in each block, shape ``(n,)``, valid until it goes on.
        """
        ...


def make_codes(matrix: Ints, sizes: Ints) -> Codes:
    """Return the fastest way that this space allows.

    Args:
        matrix: genotypes @ matrix are the codes, shape ``(n_decisions, n_blocks)``.
        sizes: number of options of each decision.
    """
    return PackedCodes.build(matrix, sizes) or MatrixCodes(matrix, sizes)


class MatrixCodes:
    """Places are codes, from a matrix product."""

    def __init__(self, matrix: Ints, sizes: Ints) -> None:
        n_codes = ((sizes - 1) @ matrix + 1).tolist()
        self.orders = [np.arange(n) for n in n_codes]
        self._matrix = matrix.astype(np.float32 if max(n_codes) < 2**24 else np.float64)

    def reader(self, size: int) -> Reader:
        """See `Codes.reader`."""
        decisions, blocks = self._matrix.shape
        digits = np.empty((size, decisions), self._matrix.dtype)
        codes = np.empty((size, blocks), self._matrix.dtype)
        places = np.empty((blocks, size), np.intp)

        def read(rows: Genotypes) -> Iterator[Places]:
            n = len(rows)
            digits[:n] = rows
            np.matmul(digits[:n], self._matrix, out=codes[:n])
            places[:, :n] = codes[:n].T
            return iter(places[:, :n])

        return read


@dataclass(frozen=True, slots=True)
class Packing:
    """How one block's place is read: 8 bytes from ``start``, times ``multiplier``, top ``bits``.

    ``at`` gives for each decision of the block the position of its bits in the place.
    """

    start: int
    multiplier: int
    bits: int
    at: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, weights: Ints) -> Self | None:
        """Return the packing of the decisions with a weight, or None where they do not fit.

        Neighbouring decisions share a copy, 8 bits apart; a decision on its own comes in a later
        copy, so that its unwanted neighbour falls off the top.
        """
        needed = np.flatnonzero(weights).tolist()
        if not needed or len(weights) < _WORD:
            return None
        start = min(needed[0], len(weights) - _WORD)
        pairs, singles = [], []
        while needed:
            first = needed.pop(0)
            if needed[:1] == [first + 1]:
                needed.pop(0)
                pairs.append(first)
            else:
                singles.append(first)
        copies = pairs + singles
        bits = 8 + _LANE * len(pairs) if pairs else _LANE * len(singles)
        shifts = [
            8 * _WORD - bits + _LANE * lane - 8 * (first - start)
            for lane, first in enumerate(copies)
        ]
        at = [(first, _LANE * lane) for lane, first in enumerate(copies)]
        at += [(first + 1, 8 + _LANE * lane) for lane, first in enumerate(pairs)]
        last = max(decision for decision, _ in at)
        if len(copies) > _LANES or last - start >= _WORD or min(shifts) < 0:
            return None
        return cls(start, sum(1 << shift for shift in shifts), bits, tuple(at))

    def order(self, weights: Ints, sizes: Ints) -> Ints:
        """Return the code at each place, -1 where no genotype comes."""
        place, code = np.zeros(1, np.int64), np.zeros(1, np.int64)
        for decision, bit in self.at:
            options = np.arange(sizes[decision])
            place = np.add.outer(place, options << bit).ravel()
            code = np.add.outer(code, options * weights[decision]).ravel()
        codes = np.full(1 << self.bits, -1)
        codes[place] = code
        return codes


class PackedCodes:
    """Places are the options' bits, side by side."""

    def __init__(self, packings: Sequence[Packing], orders: list[Ints]) -> None:
        self.orders = orders
        self._packings = tuple(packings)

    @classmethod
    def build(cls, matrix: Ints, sizes: Ints) -> Self | None:
        """Return the packed codes, or None where the space or the processor does not allow it."""
        if sizes.max() > 1 << _LANE or sys.byteorder != "little":
            return None
        columns = list(matrix.T)
        packings = [packing for column in columns if (packing := Packing.of(column)) is not None]
        if len(packings) < len(columns):
            return None
        orders = [p.order(column, sizes) for p, column in zip(packings, columns, strict=True)]
        return cls(packings, orders)

    def reader(self, size: int) -> Reader:
        """See `Codes.reader`."""
        word = np.empty(size, np.uint64)
        place = word.view(np.intp)

        def read(rows: Genotypes) -> Iterator[Places]:
            n, decisions = rows.shape
            for packing in self._packings:
                words = np.ndarray(
                    (n,), np.uint64, rows.data, offset=packing.start, strides=(decisions,)
                )
                np.multiply(words, np.uint64(packing.multiplier), out=word[:n])
                np.right_shift(word[:n], np.uint64(64 - packing.bits), out=word[:n])
                yield place[:n]

        return read
