"""DecisionSpace: decisions and nothing else; also what spaces with networks are built on.

An abstract space is a list of decisions for tabular studies: a CSV has one column a decision. Every
genotype is a network of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from networks.errors import GenotypeError, ShapeError
from networks.spaces.space import Decision, Genotypes

MOST_OPTIONS = 127  # a genotype's integers are int8


class DecisionSpace:
    """A space of these decisions; implements `networks.spaces.space.Space`.

    Raises:
        ShapeError: no decision, an empty or repeated one, or too many options.
    """

    def __init__(self, name: str, decisions: Sequence[Decision]) -> None:
        self.name, self.decisions = name, tuple(decisions)
        if not self.decisions:
            raise ShapeError(f"{name}: a space has at least one decision, found none")
        _check(name, self.decisions)
        self.sizes = np.array([len(decision.options) for decision in self.decisions])

    @property
    def n_genotypes(self) -> int:
        """Product of the numbers of options."""
        return prod(map(int, self.sizes))

    @property
    def n_networks(self) -> int:
        """Number of different networks, exactly."""
        return self.n_genotypes

    def canonical(self, genotypes: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotype of each row, shape ``(n, n_decisions)``."""
        return self.checked(genotypes, ndim=2)

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        uniform_over: Literal["genotypes", "networks"] = "genotypes",
    ) -> Genotypes:
        """Return ``n`` genotypes drawn with replacement, shape ``(n, n_decisions)``."""
        drawn: Genotypes = rng.integers(0, self.sizes, (n, len(self.sizes)), dtype=np.int8)
        return drawn

    def neighbours(self, genotype: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotypes of all other networks one decision away."""
        own = self.checked(genotype, ndim=1)
        rows = [
            np.concatenate([own[:place], [np.int8(option)], own[place + 1 :]])
            for place, size in enumerate(self.sizes)
            for option in range(size)
            if option != own[place]
        ]
        if not rows:
            return np.empty((0, len(own)), np.int8)
        near = np.unique(self.canonical(np.array(rows, np.int8)), axis=0)
        others: Genotypes = near[(near != self.canonical(own[None])).any(axis=1)]
        return others

    def enumerate(self) -> Iterator[Genotypes]:
        """Yield the canonical genotype of every network, each once."""
        for row in product(*map(range, self.sizes)):
            genotype = np.array(row, np.int8)
            if np.array_equal(self.canonical(genotype[None])[0], genotype):
                yield genotype

    def checked(self, genotypes: npt.ArrayLike, *, ndim: int) -> Genotypes:
        """Return genotypes as int8 once they are of this space; see `checked_genotypes`."""
        return checked_genotypes(self.name, self.decisions, genotypes, ndim=ndim)


def checked_genotypes(
    space: str, decisions: Sequence[Decision], genotypes: npt.ArrayLike, *, ndim: int
) -> Genotypes:
    """Return genotypes as int8 once they are of a space with these decisions.

    Raises:
        GenotypeError: another shape, or an option that does not exist.
    """
    array, sizes = np.asarray(genotypes), np.array([len(d.options) for d in decisions])
    fits = array.ndim == ndim and array.shape[-1] == len(sizes) and array.dtype.kind in "iu"
    if not fits:
        raise GenotypeError(
            f"a genotype of {space} has {len(sizes)} integers,"
            f" found {array.dtype} of shape {array.shape}"
        )
    outside = np.argwhere(np.atleast_2d((array < 0) | (array >= sizes)))
    if outside.size:
        row, column = outside[0]
        raise GenotypeError(
            f"{decisions[column].name} has options 0 to {sizes[column] - 1},"
            f" found {np.atleast_2d(array)[row, column]}"
        )
    return array.astype(np.int8)


def _check(space: str, decisions: Sequence[Decision]) -> None:
    names: set[str] = set()
    for decision in decisions:
        where = f"{space}: decision {decision.name!r}"
        if decision.name in names:
            raise ShapeError(f"{where} is there twice; give each a name of its own")
        names.add(decision.name)
        if not 1 <= len(decision.options) <= MOST_OPTIONS:
            raise ShapeError(
                f"{where}: expected 1 to {MOST_OPTIONS} options, found {len(decision.options)}"
            )
        twice = [o for o in decision.options if decision.options.count(o) > 1]
        if twice:
            raise ShapeError(f"{where} has the option {twice[0]!r} twice")
