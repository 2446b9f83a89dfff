"""Space: decisions, their options, and the network that each genotype decodes to.

A genotype is one option index a decision; batches are integer arrays of shape
``(n, n_decisions)``. Every genotype is valid. Genotypes that decode alike are one network, and
one of them is canonical: the space counts, samples and compares networks through it.

    Space            decisions: all that a searcher needs; abstract spaces of a table are no more
    NetworkSpace     each genotype decodes to a network: what is trained, exported and measured
    LayerSpace       its networks are chains of layers, which a latency table prices
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from networks.layers import Layer
from networks.network import ImageNetwork, Network

Genotypes = npt.NDArray[np.int8]
AnyNetwork = TypeVar("AnyNetwork", bound=ImageNetwork)


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice: its name, such as ``block3.kernel``, and its options as text."""

    name: str
    options: tuple[str, ...]


class Space(Protocol):
    """What searchers need of a space."""

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


class NetworkSpace(Space, Protocol[AnyNetwork]):
    """A space whose genotypes decode to networks of one kind."""

    def decode(self, genotype: npt.ArrayLike) -> AnyNetwork:
        """Return the network of one genotype, shape ``(n_decisions,)``."""
        ...

    def encode(self, network: AnyNetwork) -> Genotypes:
        """Return the canonical genotype of a network, shape ``(n_decisions,)``.

        Raises:
            GenotypeError: the space does not hold this network.
        """
        ...


class LayerSpace(NetworkSpace[Network], Protocol):
    """A space of chains of layers."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer that some network of the space has, each once."""
        ...
