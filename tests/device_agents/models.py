"""Tiny models, written as flatbuffers, that the tests of devices are run on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from numpy.typing import NDArray

from device_agents.measurement import ModelFile

Step = Literal["dense", "convolution", "cumulative-sum"]


def build_model(steps: tuple[Step, ...], *, width: int = 16, size: int = 8, seed: int = 0) -> bytes:
    """Return the bytes of a model of float32 ``(1, size, size, width)`` through these steps.

    ``dense`` and ``convolution`` (3 x 3) run in XNNPACK; ``cumulative-sum`` is an operator that
    it does not take, so that a model with one is not one whole-graph delegate.
    """
    return _Builder(width, size, seed).finish(steps)


def write_model(
    folder: Path, *steps: Step, width: int = 16, size: int = 8, seed: int = 0
) -> ModelFile:
    """Write such a model into ``folder`` and return it."""
    return store(folder, build_model(steps, width=width, size=size, seed=seed))


def store(folder: Path, content: bytes) -> ModelFile:
    """Write any bytes under their sha256."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{sha256[:16]}.tflite"
    path.write_bytes(content)
    return ModelFile(path, sha256)


class _Builder:
    def __init__(self, width: int, size: int, seed: int) -> None:
        self._shape = (1, size, size, width)
        self._width = width
        self._random = np.random.default_rng(seed)
        self._buffers: list[Any] = [tfl.BufferT()]
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: list[Any] = []

    def finish(self, steps: tuple[Step, ...]) -> bytes:
        first = last = self._tensor(self._shape)
        for step in steps:
            last = {
                "dense": self._dense,
                "convolution": self._convolution,
                "cumulative-sum": self._cumulative_sum,
            }[step](last)
        graph = tfl.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = [first], [last]
        model = tfl.ModelT()
        model.version, model.subgraphs = 3, [graph]
        model.operatorCodes, model.buffers = self._codes, self._buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, shape: tuple[int, ...], values: NDArray[Any] | None = None) -> int:
        tensor = tfl.TensorT()
        tensor.shape, tensor.name = list(shape), f"t{len(self._tensors)}"
        tensor.type = tfl.TensorType.FLOAT32
        if values is not None:
            if values.dtype == np.int32:
                tensor.type = tfl.TensorType.INT32
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _weights(self, *shape: int) -> int:
        scale = float(np.prod(shape[1:])) ** -0.5
        return self._tensor(shape, self._random.normal(0, scale, shape).astype(np.float32))

    def _operator(self, code: int, inputs: list[int], kind: int, options: Any) -> int:
        entry = tfl.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        operator = tfl.OperatorT()
        operator.opcodeIndex = len(self._codes)
        operator.inputs, operator.outputs = inputs, [self._tensor(self._shape)]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._codes.append(entry)
        self._operators.append(operator)
        return int(operator.outputs[0])

    def _dense(self, source: int) -> int:
        options = tfl.FullyConnectedOptionsT()
        options.keepNumDims = True
        inputs = [source, self._weights(self._width, self._width), self._bias()]
        code, kind = (
            tfl.BuiltinOperator.FULLY_CONNECTED,
            tfl.BuiltinOptions.FullyConnectedOptions,
        )
        return self._operator(code, inputs, kind, options)

    def _convolution(self, source: int) -> int:
        options = tfl.Conv2DOptionsT()
        options.padding = tfl.Padding.SAME
        options.strideH = options.strideW = 1
        options.dilationHFactor = options.dilationWFactor = 1
        inputs = [source, self._weights(self._width, 3, 3, self._width), self._bias()]
        code, kind = tfl.BuiltinOperator.CONV_2D, tfl.BuiltinOptions.Conv2DOptions
        return self._operator(code, inputs, kind, options)

    def _cumulative_sum(self, source: int) -> int:
        axis = self._tensor((), np.array(3, np.int32))
        code, kind = tfl.BuiltinOperator.CUMSUM, tfl.BuiltinOptions.CumsumOptions
        return self._operator(code, [source, axis], kind, tfl.CumsumOptionsT())

    def _bias(self) -> int:
        return self._tensor((self._width,), np.zeros(self._width, np.float32))
