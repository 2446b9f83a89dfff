"""Calibration: the range of every activation, measured on images, as int8 arithmetic needs it.

    images -> samples -> interpreter, every tensor kept -> Range (low, high) -> widened

An activation of range ``low .. high``, zero included, has the scale ``(high - low) / 255``. The
runtime multiplies by ratios of scales and refuses a model where one of them is out of bounds, as
happens where an activation is dead or all but constant. So ranges are widened until

    convolution, dense      in * weight       <= out          no output finer than an accumulator
    add                     out / 2^9         <= in           and in <= out * 2^7
    multiply                out / 2^15        <= a * b        and a * b <= out * 2^7
    join                    out / 2^7         <= in           and in <= out * 2^6
    pool, pad, slice        in                 = out
    sigmoid                                       out  = 1 / 2^8, the only one that its kernel has

Bounds of XNNPACK (found by trying powers of two), with a factor of two to spare. None costs any
precision that the operator's result could have had.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from exporters.errors import CalibrationError

Array: TypeAlias = npt.NDArray[np.float32]
Statistics: TypeAlias = dict[str, dict[str, Array]]
"""By tensor name: ``min`` and ``max``, of an activation one each, of a kernel one a channel."""

_STEPS = 255.0
_LEAST_RANGE = 1e-6
_LARGEST_BIAS = 2.0**30  # of an int32 accumulator; the products get the other half
_LEAST_CHANNEL = 2.0**-20  # of the largest weight: a channel of zeros needs a scale as well
_PASSES = 16
_LOGISTIC_SCALE = 2.0**-8  # whatever was measured: the kernel has no other
_CODES = schema.BuiltinOperator
_CHANNELS_LAST = (_CODES.DEPTHWISE_CONV_2D,)
_WEIGHTED = (_CODES.CONV_2D, _CODES.DEPTHWISE_CONV_2D, _CODES.FULLY_CONNECTED)
_SAME_SCALE = (_CODES.MAX_POOL_2D, _CODES.PAD, _CODES.STRIDED_SLICE)


def measure_ranges(data: bytes, model: Any, samples: Iterable[Sequence[Array]]) -> Statistics:
    """Return what the quantizer needs to know of every activation and kernel of a float model.

    Args:
        data: the model.
        model: the same, unpacked (``ModelT``); tensors have names of their own.
        samples: each one NHWC image an input.

    Raises:
        CalibrationError: an activation is not finite on one of the samples.
    """
    ranges = _Ranges(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the memory that keeping takes
        interpreter = Interpreter(
            model_content=data, num_threads=1, experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    for sample in samples:
        for index, image in zip(ranges.inputs, sample, strict=True):
            interpreter.set_tensor(index, image)
        interpreter.invoke()
        ranges.include(interpreter.tensor)
    ranges.widen()
    return ranges.statistics()


class _Ranges:
    """Low and high of every activation, zero included, by its tensor's number."""

    def __init__(self, model: Any) -> None:
        graph = model.subgraphs[0]
        self.inputs: list[int] = [int(i) for i in graph.inputs]
        self._names = [tensor.name.decode() for tensor in graph.tensors]
        self._operators: list[tuple[int, list[int], int]] = [
            (
                model.operatorCodes[operator.opcodeIndex].builtinCode,
                [int(i) for i in operator.inputs],
                int(operator.outputs[0]),
            )
            for operator in graph.operators
        ]
        self._constants = {
            index: np.frombuffer(model.buffers[tensor.buffer].data, np.float32).reshape(
                tensor.shape if tensor.shape is not None else ()
            )
            for index, tensor in enumerate(graph.tensors)
            if tensor.buffer and tensor.type == schema.TensorType.FLOAT32
        }
        self._activations = [*self.inputs, *(output for _, _, output in self._operators)]
        self._ranges = {index: [0.0, 0.0] for index in self._activations}
        for code, inputs, _ in self._operators:
            for index in inputs if code not in _WEIGHTED else ():
                if index in self._constants:  # an operand is quantized as activations are
                    self._include(index, self._constants[index])
        self._fused = _fused_joins(self._operators, [int(i) for i in graph.outputs])
        self._changed = False

    def include(self, read: Callable[[int], Callable[[], Array]]) -> None:
        """Widen by what the interpreter's tensors hold now."""
        for index in self._activations:
            self._include(index, read(index)())

    def _include(self, index: int, values: Array) -> None:
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise CalibrationError(
                f"expected finite activations, found {low} to {high} in"
                f" {self._names[index]!r} on a calibration image"
            )
        bounds = self._ranges.setdefault(index, [0.0, 0.0])
        bounds[:] = min(low, bounds[0]), max(high, bounds[1])

    def widen(self) -> None:
        """Widen what is narrower than the runtime can use; see the module."""
        for index in self._ranges:
            self._raise(index, _LEAST_RANGE / _STEPS)
        for _ in range(_PASSES):
            self._changed = False
            for code, inputs, output in self._operators:
                self._widen(code, inputs, output)
            if not self._changed:
                return

    def statistics(self) -> Statistics:
        """Return the ranges of activations, and of kernels those that fit their input's."""
        found = {
            self._names[index]: {"min": _row(low), "max": _row(high)}
            for index, (low, high) in self._ranges.items()
        }
        for code, inputs, _ in self._operators:
            if code in _WEIGHTED:
                bound = self._kernel_bound(code, inputs)
                found[self._names[inputs[1]]] = {"min": -bound, "max": bound}
        return found

    def _widen(self, code: int, inputs: list[int], output: int) -> None:
        if code in _WEIGHTED:
            weight = float(self._kernel_bound(code, inputs).max()) / 127
            self._raise(output, self._scale(inputs[0]) * weight)
        elif code == _CODES.ADD:
            for index in inputs:
                self._raise(output, self._scale(index) / 2**7)
                self._raise(index, self._scale(output) / 2**9)
        elif code == _CODES.MUL:
            value, factor = inputs
            self._raise(output, self._scale(value) * self._scale(factor) / 2**7)
            self._raise(value, self._scale(output) / self._scale(factor) / 2**15)
        elif code == _CODES.CONCATENATION:
            for index in inputs:
                same = index in self._fused
                self._raise(output, self._scale(index) / (1 if same else 2**6))
                self._raise(index, self._scale(output) / (1 if same else 2**7))
        elif code == _CODES.LOGISTIC:
            self._raise(output, _LOGISTIC_SCALE)
        elif code in _SAME_SCALE:
            self._raise(output, self._scale(inputs[0]))
            self._raise(inputs[0], self._scale(output))

    def _scale(self, index: int) -> float:
        low, high = self._ranges[index]
        return (high - low) / _STEPS

    def _raise(self, index: int, scale: float) -> None:
        """Widen upwards to at least this scale."""
        if self._scale(index) < scale * (1 - 1e-6):
            self._ranges[index][1] = self._ranges[index][0] + scale * _STEPS
            self._changed = True

    def _kernel_bound(self, code: int, inputs: list[int]) -> Array:
        """Return the largest weight of each channel, at least what its bias needs as int32."""
        kernel, bias = self._constants[inputs[1]], self._constants[inputs[2]]
        axis = kernel.ndim - 1 if code in _CHANNELS_LAST else 0
        others = tuple(i for i in range(kernel.ndim) if i != axis)
        bound = np.maximum(kernel.max(others, keepdims=True), -kernel.min(others, keepdims=True))
        least = (float(bound.max()) or 1.0) * _LEAST_CHANNEL
        unit = self._scale(inputs[0]) / 127
        for_bias = np.abs(bias).reshape(bound.shape) / (unit * _LARGEST_BIAS)
        widened: Array = np.maximum(np.maximum(bound, least), for_bias).astype(np.float32)
        return widened


def _fused_joins(
    operators: Sequence[tuple[int, list[int], int]], outputs: Sequence[int]
) -> frozenset[int]:
    """Return the values that the quantizer gives the scale of the join that alone reads them."""
    readers: dict[int, set[int]] = {output: {-1} for output in outputs}
    for number, (_, inputs, _) in enumerate(operators):
        for index in inputs:
            readers.setdefault(index, set()).add(number)
    free = {output for code, _, output in operators if code not in (*_SAME_SCALE, _CODES.LOGISTIC)}
    return frozenset(
        index
        for number, (code, inputs, _) in enumerate(operators)
        if code == _CODES.CONCATENATION
        for index in inputs
        if index in free and readers[index] == {number}
    )


def _row(value: float) -> Array:
    return np.array([value], np.float32)
