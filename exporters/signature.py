"""Signature: what the inputs and outputs of a graph's model are called, and which are flat.

image, or image_0, image_1, ...          the inputs, NHWC
features or logits, numbered likewise    the outputs: NHWC, or flat: (1, channels)

Flat are what dense operators write, the global averages that they read, and activations of these.
"""

from __future__ import annotations

from networks.graph import Activate, Dense, GlobalAverage, Graph


def input_names(graph: Graph) -> tuple[str, ...]:
    """Return the names of the graph's inputs, in its order."""
    return tuple(_numbered("image", i, len(graph.inputs)) for i in range(len(graph.inputs)))


def output_names(graph: Graph) -> tuple[str, ...]:
    """Return the names of the graph's outputs, in its order."""
    flat = flat_values(graph)
    return tuple(
        _numbered("logits" if value in flat else "features", i, len(graph.outputs))
        for i, value in enumerate(graph.outputs)
    )


def flat_values(graph: Graph) -> frozenset[int]:
    """Return the numbers of the values that are ``(1, channels)`` and not NHWC."""
    dense_reads = {o.inputs[0] for o in graph.operators if isinstance(o, Dense)}
    flat: set[int] = set()
    for number, operator in enumerate(graph.operators, len(graph.inputs)):
        match operator:
            case Dense():
                flat.add(number)
            case GlobalAverage() if number in dense_reads:
                flat.add(number)
            case Activate() if operator.inputs[0] in flat:
                flat.add(number)
    return frozenset(flat)


def _numbered(name: str, number: int, of: int) -> str:
    return name if of == 1 else f"{name}_{number}"
