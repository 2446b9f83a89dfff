"""Space: decisions, their options, and the network that each genotype decodes to.

A genotype is one option index a decision; batches are integer arrays of shape
``(n, n_decisions)``. Every genotype decodes. Genotypes that decode alike are one network, and
one of them is canonical: the space counts, samples and compares networks through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from networks.layers import Layer
from networks.network import Network

Genotypes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice: its name, such as ``block3.kernel``, and its options as text."""

    name: str
    options: tuple[str, ...]


class Space(Protocol):
    """What searchers, tables and evaluators need of a space."""

    @property
    def name(self) -> str:
        """The name with its parameters, such as ``mnasnet@224``."""
        ...

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions in genotype order."""
        ...

    @property
    def n_genotypes(self) -> int:
        """Product of the numbers of options."""
        ...

    @property
    def n_networks(self) -> int:
        """Number of different networks, exactly."""
        ...

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer that some network of the space has, each once."""
        ...

    def decode(self, genotype: npt.ArrayLike) -> Network:
        """Return the network of one genotype, shape ``(n_decisions,)``."""
        ...

    def encode(self, network: Network) -> Genotypes:
        """Return the canonical genotype of a network, shape ``(n_decisions,)``.

        Raises:
            GenotypeError: the space does not hold this network.
        """
        ...

    def canonical(self, genotypes: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotype of each row, shape ``(n, n_decisions)``."""
        ...

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        uniform_over: Literal["genotypes", "networks"] = "genotypes",
    ) -> Genotypes:
        """Return ``n`` genotypes drawn with replacement, shape ``(n, n_decisions)``."""
        ...

    def neighbours(self, genotype: npt.ArrayLike) -> Genotypes:
        """Return the canonical genotypes of all other networks one decision away."""
        ...

    def enumerate(self) -> Iterator[Genotypes]:
        """Yield the canonical genotype of every network, each once."""
        ...
