"""Costs of a graph that need no device: multiply-adds, parameters, file size, peak memory.

madds, params   see `networks.network`
size_bytes      what an exported float32 file holds of it: weights with batch norm folded in, a
                bias each, and what describes an operator and its tensors
memory_bytes    the largest sum of values alive at once, float32, in the order of execution: a
                value lives from where it is written to where it is last read. A runtime's arena
                cannot be smaller; weights are not in it
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from networks.graph import Convolution, Dense, Graph
from networks.network import count_madds, count_params

CostName = Literal["madds", "params", "size_bytes", "memory_bytes"]
COST_NAMES: tuple[CostName, ...] = get_args(CostName)

_BYTES = 4  # of a float32
_OPERATOR_BYTES = 250
"""What a file says of an operator beside its weights: 229 to 312 in exported networks."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one image at batch 1; see the module."""

    madds: int
    params: int
    size_bytes: int
    memory_bytes: int


def count_costs(graph: Graph) -> Costs:
    """Return the costs of a graph."""
    return Costs(
        count_madds(graph),
        count_params(graph),
        _BYTES * _exported_weights(graph) + _OPERATOR_BYTES * len(graph.operators),
        _BYTES * peak_values(graph),
    )


def peak_values(graph: Graph) -> int:
    """Return the most numbers alive at once: inputs and output of an operator, and what waits."""
    first = len(graph.inputs)
    end = first + len(graph.operators)
    last_read = list(range(end))
    for written, operator in enumerate(graph.operators, start=first):
        for value in operator.inputs:
            last_read[value] = written
    for value in graph.outputs:
        last_read[value] = end
    sizes = [_size(graph, value) for value in range(end)]
    freed = [0] * (end + 1)
    for value, last in enumerate(last_read):
        freed[last] += sizes[value]
    alive = peak = sum(sizes[:first])
    for written in range(first, end):
        alive += sizes[written]
        peak = max(peak, alive)
        alive -= freed[written]
    return peak


def _size(graph: Graph, value: int) -> int:
    shape = graph.shape(value)
    return math.prod((shape.height, shape.width, shape.channels))


def _exported_weights(graph: Graph) -> int:
    total = 0
    for operator in graph.operators:
        channels = operator.shape.channels
        if isinstance(operator, Convolution):
            fan_in = 1 if operator.depthwise else graph.shape(operator.inputs[0]).channels
            total += math.prod(operator.kernel) * fan_in * channels + channels
        elif isinstance(operator, Dense):
            total += graph.shape(operator.inputs[0]).channels * channels + channels
    return total
