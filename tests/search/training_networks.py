"""Networks and images small enough to train in a second."""

from __future__ import annotations

from networks.graph import Shape
from networks.layers import Bottleneck, Classifier, Conv, Layer, SqueezeExcite
from networks.network import Network
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
