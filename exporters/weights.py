"""Weights: kernel and bias of every named operator, in TFLite's layout, batch norm folded in.

convolution   kernel (out, height, width, in)       bias (out,)
depthwise     kernel (1, height, width, channels)   bias (channels,)
dense         kernel (out, in)                      bias (out,)

An operator with neither batch norm nor bias has a bias of zeros, as TFLite wants one.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from exporters.errors import WeightsError
from networks.graph import Convolution, Dense, Graph

Array: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = Mapping[str, tuple[Array, Array]]

_BLOCK_LENGTH = 1_048_573  # a prime, so that a wrapped kernel does not repeat its filters


def kernel_shape(graph: Graph, operator: Convolution | Dense) -> tuple[int, ...]:
    """Return the shape of the operator's kernel in TFLite's layout."""
    fan_in, channels = graph.shape(operator.inputs[0]).channels, operator.shape.channels
    if isinstance(operator, Dense):
        return channels, fan_in
    if operator.depthwise:
        return 1, *operator.kernel, channels
    return channels, *operator.kernel, fan_in


def random_weights(graph: Graph, seed: int = 0) -> dict[str, tuple[Array, Array]]:
    """Return weights under which activations keep their size through a whole network.

    Uniform with variance 2 / fan-in before a ReLU and 1 / fan-in elsewhere; biases are small and
    positive, those of squeeze-and-excitation large enough that no squeezed channel dies. Kernels
    are slices of one block of random numbers, placed by the operator's name: making them costs
    less than writing them, and one graph, seed and name give one kernel on every machine.
    """
    block = _random_block(seed)
    weights = {}
    for operator in graph.operators:
        if isinstance(operator, Convolution | Dense):
            shape, channels = kernel_shape(graph, operator), operator.shape.channels
            start = zlib.crc32(operator.name.encode()) % _BLOCK_LENGTH
            kernel = _wrapped(block, start, math.prod(shape)).reshape(shape)
            kernel *= np.float32(math.sqrt(3) * _deviation(operator, shape))
            bias = np.full(channels, _bias(operator), np.float32)
            weights[operator.name] = kernel, bias
    return weights


def check_weights(graph: Graph, weights: Weights) -> None:
    """Refuse weights that do not fit the graph.

    Raises:
        WeightsError: an operator without weights or weights without an operator, another shape
            or type, NaN or infinity; names the operator.
    """
    named = {o.name for o in graph.operators if isinstance(o, Convolution | Dense)}
    if unknown := sorted(weights.keys() - named):
        raise WeightsError(f"the graph has no operators {unknown}: weights of another network?")
    for operator in graph.operators:
        if not isinstance(operator, Convolution | Dense):
            continue
        if operator.name not in weights:
            raise WeightsError(f"operator {operator.name!r} has no weights")
        expected = kernel_shape(graph, operator), (operator.shape.channels,)
        for what, array, shape in zip(
            ("kernel", "bias"), weights[operator.name], expected, strict=True
        ):
            if array.shape != shape or array.dtype != np.float32:
                raise WeightsError(
                    f"{what} of {operator.name!r}: expected float32 {shape},"
                    f" found {array.dtype} {array.shape}"
                )
            if not np.isfinite(array).all():
                raise WeightsError(f"{what} of {operator.name!r} holds NaN or infinity")


@functools.lru_cache(maxsize=1)
def _random_block(seed: int) -> Array:
    """Return multiples of 2^-23, uniform in [-1, 1), shape ``(_BLOCK_LENGTH,)``.

    Made from raw bits, whose stream numpy never changes, by exact arithmetic.
    """
    bits = np.random.PCG64(seed).random_raw(_BLOCK_LENGTH) >> np.uint64(40)
    return bits.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def _wrapped(block: Array, start: int, length: int) -> Array:
    """Return ``length`` numbers from ``start`` on, going round the block, as a new array."""
    result = np.empty(length, np.float32)
    done = 0
    while done < length:
        piece = block[start : start + length - done]
        result[done : done + len(piece)] = piece
        done, start = done + len(piece), 0
    return result


def _bias(operator: Convolution | Dense) -> float:
    if isinstance(operator, Dense):
        return 0.1
    return {"batch-norm": 0.1, "bias": 1.0, "none": 0.0}[operator.affine]


def _deviation(operator: Convolution | Dense, shape: tuple[int, ...]) -> float:
    depthwise = isinstance(operator, Convolution) and operator.depthwise
    fan_in = math.prod(shape[1:3] if depthwise else shape[1:])
    return math.sqrt((1 if operator.activation == "linear" else 2) / fan_in)
