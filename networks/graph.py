"""The operator graph: the one lowering that exporter, counter and torch module share.

A graph's values are numbered: its inputs first, then one output for each operator, in
order of execution. The last value is the graph's output. Batch is 1 and layout is HWC.

    value 0 .. n_inputs - 1            graph inputs
    value n_inputs + i                 output of operators[i]

An operator is what becomes one TFLite op, but for hard-sigmoid (two). Batch norm belongs to its
convolution: it is folded at export, counted as scale and shift, trained in torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from networks.errors import ShapeError

Activation = Literal["linear", "relu", "relu6", "hard-swish"]
Gate = Literal["sigmoid", "hard-sigmoid"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Height, width and channels of one image-like value; a vector is 1 x 1 x channels."""

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels) < 1:
            raise ShapeError(f"every side of a shape starts at 1, found {self}")

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"

    def strided(self, stride: int, channels: int) -> Shape:
        """Return the shape after SAME padding and ``stride``, with ``channels``."""
        return Shape(-(-self.height // stride), -(-self.width // stride), channels)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: the values it reads and the shape it writes."""

    inputs: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Convolution(Operator):
    """SAME-padded convolution, then batch norm or bias, then a fused activation.

    ``name`` is the prefix of its parameters, unique in the graph.
    """

    name: str
    kernel: int
    stride: int
    depthwise: bool
    batch_norm: bool
    activation: Activation


@dataclass(frozen=True, slots=True)
class Dense(Operator):
    """Fully connected, with bias, then a fused activation, on a 1 x 1 x channels value."""

    name: str
    activation: Activation


@dataclass(frozen=True, slots=True)
class AveragePool(Operator):
    """SAME average pooling; padding does not count into the average (as in TFLite)."""

    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class GlobalAverage(Operator):
    """Mean over height and width; the result is 1 x 1 x channels."""


@dataclass(frozen=True, slots=True)
class Add(Operator):
    """Sum of two values of one shape."""


@dataclass(frozen=True, slots=True)
class Multiply(Operator):
    """Product of a value and a 1 x 1 x channels gate, or of two values of one shape."""


@dataclass(frozen=True, slots=True)
class Activate(Operator):
    """An activation that TFLite does not fuse into a convolution."""

    function: Literal["hard-swish", "sigmoid", "hard-sigmoid"]


@dataclass(frozen=True, slots=True)
class Graph:
    """Operators in order of execution; see the module's picture for the numbering of values."""

    inputs: tuple[Shape, ...]
    operators: tuple[Operator, ...]

    @property
    def output(self) -> Shape:
        """Shape of the last value."""
        return self.operators[-1].shape if self.operators else self.inputs[-1]

    def shape(self, value: int) -> Shape:
        """Shape of the value with this number."""
        n_inputs = len(self.inputs)
        return self.inputs[value] if value < n_inputs else self.operators[value - n_inputs].shape


class GraphBuilder:
    """Appends operators and hands back the numbers of their outputs.

    ``prefix`` goes before the name of every parameter: a network sets it to ``"3."`` for its
    fourth layer, a layer on its own leaves it empty.
    """

    def __init__(self, *inputs: Shape) -> None:
        self.prefix = ""
        self._inputs = inputs
        self._operators: list[Operator] = []

    def build(self) -> Graph:
        """Return the graph of everything appended so far."""
        return Graph(self._inputs, tuple(self._operators))

    def shape(self, value: int) -> Shape:
        """Shape of the value with this number."""
        return (
            self.build().shape(value)
            if value < len(self._inputs)
            else self._operators[value - len(self._inputs)].shape
        )

    def convolution(
        self,
        value: int,
        channels: int,
        *,
        name: str,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        batch_norm: bool = True,
        activation: Activation = "linear",
    ) -> int:
        """Append a convolution and, for hard-swish, its separate activation."""
        shape = self.shape(value).strided(stride, channels)
        fused, after = _split(activation)
        output = self._append(
            Convolution(
                (value,), shape, self.prefix + name, kernel, stride, depthwise, batch_norm, fused
            )
        )
        return self.activate(output, "hard-swish") if after else output

    def dense(
        self, value: int, channels: int, *, name: str, activation: Activation = "linear"
    ) -> int:
        """Append a fully connected operator on a 1 x 1 x channels value."""
        shape = self.shape(value)
        if (shape.height, shape.width) != (1, 1):
            raise ShapeError(f"a dense operator needs a 1x1xC value, found {shape}")
        fused, after = _split(activation)
        output = self._append(Dense((value,), Shape(1, 1, channels), self.prefix + name, fused))
        return self.activate(output, "hard-swish") if after else output

    def average_pool(self, value: int, *, kernel: int, stride: int = 1) -> int:
        """Append a SAME average pooling."""
        shape = self.shape(value)
        return self._append(
            AveragePool((value,), shape.strided(stride, shape.channels), kernel, stride)
        )

    def global_average(self, value: int) -> int:
        """Append the mean over height and width."""
        return self._append(GlobalAverage((value,), Shape(1, 1, self.shape(value).channels)))

    def add(self, left: int, right: int) -> int:
        """Append the sum of two values of one shape."""
        if self.shape(left) != self.shape(right):
            raise ShapeError(f"cannot add {self.shape(left)} and {self.shape(right)}")
        return self._append(Add((left, right), self.shape(left)))

    def multiply(self, value: int, gate: int) -> int:
        """Append the product of a value and its 1 x 1 x channels gate."""
        if self.shape(gate) != Shape(1, 1, self.shape(value).channels):
            raise ShapeError(f"cannot gate {self.shape(value)} with {self.shape(gate)}")
        return self._append(Multiply((value, gate), self.shape(value)))

    def activate(
        self, value: int, function: Literal["hard-swish", "sigmoid", "hard-sigmoid"]
    ) -> int:
        """Append an activation that is an operator of its own."""
        return self._append(Activate((value,), self.shape(value), function))

    def _append(self, operator: Operator) -> int:
        self._operators.append(operator)
        return len(self._inputs) + len(self._operators) - 1


def _split(activation: Activation) -> tuple[Activation, bool]:
    return ("linear", True) if activation == "hard-swish" else (activation, False)
