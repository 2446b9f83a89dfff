"""Networks and images small enough to train in a second."""

from __future__ import annotations

import numpy.typing as npt

from networks.errors import GenotypeError
from networks.graph import Shape
from networks.layers import Bottleneck, Classifier, Conv, Layer, SqueezeExcite
from networks.network import Network
from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision, Genotypes
from search.datasets import Dataset, load_dataset
from search.training import TrainingSettings

RESOLUTION = 8
SETTINGS = TrainingSettings(epochs=6, batch=32, learning_rate=0.1)


def small_network(width: int = 16, *, classes: int = 10) -> Network:
    """Return a stem, an inverted bottleneck with SE and skip, and a classifier."""
    stem = Conv(Shape(RESOLUTION, RESOLUTION, 1), width, kernel=3)
    middle = Bottleneck(
        stem.output, width, kernel=3, expanded=2 * width, se=SqueezeExcite(4), skip="identity"
    )
    layers: list[Layer] = [stem, middle, Classifier(middle.output, classes)]
    return Network(tuple(layers))


def digits() -> Dataset:
    """Return scikit-learn's digits at their own resolution."""
    return load_dataset("digits", resolution=RESOLUTION)


class WidthSpace(DecisionSpace):
    """Small networks by width and by a decision that changes nothing but the seed."""

    widths = (4, 8, 12, 16)

    def __init__(self) -> None:
        options = tuple(map(str, self.widths))
        super().__init__("widths", [Decision("width", options), Decision("copy", tuple("abcdef"))])

    def decode(self, genotype: npt.ArrayLike) -> Network:
        """Return the network of one genotype."""
        return small_network(self.widths[self.checked(genotype, ndim=1)[0]])

    def encode(self, network: Network) -> Genotypes:
        """Refuse: two genotypes are one network here."""
        raise GenotypeError(f"{self.name} does not tell {network} from its copies")
