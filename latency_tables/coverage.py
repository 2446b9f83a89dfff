"""Coverage: which layers of a space a table prices, and what is nearest to those it lacks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from latency_tables.errors import MissingLayers
from latency_tables.granularity import require_layers_table
from latency_tables.table import LatencyTable
from networks.layers import Classifier, Layer, parse_layer
from networks.operators import Unit


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of ``layers`` layers a table prices, and the keys of those it does not."""

    layers: int
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        """Priced layers / all layers, in [0, 1]; 1 where there are none to price."""
        return 1.0 - len(self.missing) / self.layers if self.layers else 1.0


def measure_coverage(table: LatencyTable, layers: Iterable[Unit]) -> Coverage:
    """Return how much of these layers the table prices."""
    keys = dict.fromkeys(layer.key for layer in layers)
    return Coverage(len(keys), tuple(key for key in keys if key not in table))


def require_layers(table: LatencyTable, layers: Iterable[Layer]) -> None:
    """Check that the table prices all of these.

    Raises:
        WrongGranularity: the table prices single operators.
        MissingLayers: names the first that it does not, and its nearest neighbours.
    """
    require_layers_table(table)
    missing = measure_coverage(table, layers).missing
    if missing:
        raise MissingLayers(table.name, missing, nearest_layers(table, missing[0]))


def nearest_layers(table: LatencyTable, layer: str, *, n: int = 3) -> tuple[str, ...]:
    """Return the keys of the ``n`` most similar layers of the same kind, nearest first.

    Distance is Euclidean in the logarithms of sizes; another activation, gate or skip counts as
    a factor of e.
    """
    kind = layer.split("/")[1]
    priced = [key for key in table.rows["layer"].to_pylist() if key.split("/")[1:2] == [kind]]
    wanted = parse_layer(layer)

    def distance(key: str) -> tuple[float, str]:
        sizes, words = _features(wanted)
        other_sizes, other_words = _features(parse_layer(key))
        differ = sum(a != b for a, b in zip(words, other_words, strict=True))
        return math.hypot(math.dist(sizes, other_sizes), differ), key

    return tuple(sorted(priced, key=distance)[:n])


def _features(layer: Layer) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return the logarithms of a layer's sizes, and what is not a size."""
    shape = layer.input
    if isinstance(layer, Classifier):
        sizes = (shape.height, shape.width, shape.channels, layer.classes, 1 + layer.hidden)
        return tuple(map(math.log, sizes)), (layer.activation,)
    squeeze = 1 + (layer.se.channels if layer.se else 0)
    expanded = getattr(layer, "expanded", 1)
    sizes_of_layer = (
        shape.height, shape.width, shape.channels, layer.channels, layer.kernel, layer.stride,
        expanded, squeeze,
    )  # fmt: skip
    gate = layer.se.gate if layer.se else "none"
    return tuple(map(math.log, sizes_of_layer)), (layer.activation, gate, layer.skip)
