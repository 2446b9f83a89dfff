"""Pack plan: which layers share a file, so that all packs are alike and each fits a phone.

Layers are ranked by memory and dealt: each pack gets one of the largest, one of the next largest
and so on, so that packs differ little in size though layers differ by a factor of a thousand.
Which pack gets which layer of a rank, and the order inside a pack, are drawn from the seed: packs
of another seed give every layer other neighbours. Only classifiers come last: XNNPACK makes more
rows of a profile of them than they have nodes, and so shifts the rows of no other layer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from exporters.weights import kernel_shape
from networks.graph import Convolution, Dense, Graph, Shape
from networks.layers import Classifier, Layer, lower_layer

PACK_SIZE = 40
PACK_BYTES = 256 * 2**20
_FLOAT_BYTES = 4


def plan_packs(
    layers: Iterable[Layer], size: int = PACK_SIZE, *, max_bytes: int = PACK_BYTES, seed: int = 0
) -> tuple[tuple[Layer, ...], ...]:
    """Return packs of at most ``size`` layers; each layer is in one pack, whatever their order.

    Args:
        size: 30 to 60 make the start of a process cheap against what it measures.
        max_bytes: what `layer_bytes` of a pack's layers sum to at most; a layer that needs more
            than half of it has a pack of its own.

    Raises:
        ValueError: ``size`` or ``max_bytes`` is below 1.
    """
    if size < 1 or max_bytes < 1:
        raise ValueError(f"expected a size and bytes of 1 or more, found {size} and {max_bytes}")
    need = {layer: layer_bytes(layer) for layer in layers}
    ranked = sorted(need, key=lambda layer: (-need[layer], layer.key))
    alone = [layer for layer in ranked if need[layer] > max_bytes / 2]
    shared = ranked[len(alone) :]
    # A rank's largest is at most the mean of the rank before it, so that a pack's sum is at most
    # its largest layer, half of max_bytes, and the mean sum of all packs: the other half.
    total = sum(need[layer] for layer in shared)
    n_packs = max(math.ceil(len(shared) / size), math.ceil(2 * total / max_bytes))

    def draw(layer: Layer) -> tuple[bool, bytes]:
        drawn = hashlib.sha256(f"{seed}:{layer.key}".encode()).digest()
        return isinstance(layer, Classifier), drawn

    packs: list[list[Layer]] = [[] for _ in range(n_packs)]
    for start in range(0, len(shared), n_packs or 1):
        rank = sorted(shared[start : start + n_packs], key=draw)
        for pack, layer in zip(packs, rank, strict=False):
            pack.append(layer)
    return tuple(
        tuple(sorted(pack, key=draw)) for pack in [[layer] for layer in alone] + packs if pack
    )


def layer_bytes(layer: Layer) -> int:
    """Return the memory that a layer adds to a loaded pack, in bytes, as float32 needs it.

    Its weights twice, in the file and as the runtime packs them, and its input and output, which
    a branch holds all the time. Values in between share one buffer and count for nothing.
    """
    graph = lower_layer(layer)
    values = _FLOAT_BYTES * (_size(graph.inputs[0]) + _size(graph.output))
    return 2 * _weights_bytes(graph) + values


def _weights_bytes(graph: Graph) -> int:
    return _FLOAT_BYTES * sum(
        math.prod(kernel_shape(graph, operator)) + operator.shape.channels
        for operator in graph.operators
        if isinstance(operator, Convolution | Dense)
    )


def _size(shape: Shape) -> int:
    return shape.height * shape.width * shape.channels
