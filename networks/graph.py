"""The operator graph: the one lowering that exporter, counter and torch module share.

A graph's values are numbered: its inputs first, then one output for each operator, in
order of execution. Any of them may be outputs of the graph. Batch is 1 and layout is HWC.

    value 0 .. n_inputs - 1            graph inputs
    value n_inputs + i                 output of operators[i]

An operator is what becomes one TFLite op, but for hard-sigmoid and shift (two each). Batch norm
belongs to its convolution: it is folded at export, counted as scale and shift, trained in torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from networks.errors import ShapeError

Activation = Literal["linear", "relu", "relu6", "hard-swish"]
Gate = Literal["sigmoid", "hard-sigmoid"]
Function = Literal["relu", "hard-swish", "sigmoid", "hard-sigmoid"]
Affine = Literal["batch-norm", "bias", "none"]
Padding = Literal["same", "valid"]


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

    def inside(self, kernel: tuple[int, int], stride: int, channels: int) -> Shape:
        """Return the shape after VALID padding: positions where all of ``kernel`` fits.

        Raises:
            ShapeError: it fits nowhere.
        """
        height, width = kernel
        if height > self.height or width > self.width:
            raise ShapeError(f"a {height}x{width} kernel without padding does not fit into {self}")
        return Shape(
            (self.height - height) // stride + 1, (self.width - width) // stride + 1, channels
        )


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: the values it reads and the shape it writes."""

    inputs: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Convolution(Operator):
    """Convolution, then batch norm or bias or neither, then a fused activation.

    ``name`` is the prefix of its parameters, unique in the graph; ``kernel`` is its height and
    width, and ``dilation`` the distance of its taps.
    """

    name: str
    kernel: tuple[int, int]
    stride: int
    dilation: int
    padding: Padding
    depthwise: bool
    affine: Affine
    activation: Activation

    @property
    def reach(self) -> tuple[int, int]:
        """Height and width of what one output sees: the kernel with its dilation."""
        height, width = self.kernel
        return (height - 1) * self.dilation + 1, (width - 1) * self.dilation + 1


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
class MaxPool(Operator):
    """SAME max pooling."""

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
class Concatenate(Operator):
    """Values of one height and width, joined along their channels in the order read."""


@dataclass(frozen=True, slots=True)
class Shift(Operator):
    """The value moved one pixel up and left, zeros moving in from below and right.

    A 1 x 1 convolution of stride 2 on it sees the pixels that one on the value skips: the
    second path of NASNet's factorized reduction.
    """


@dataclass(frozen=True, slots=True)
class Activate(Operator):
    """An activation that stands alone."""

    function: Function


@dataclass(frozen=True, slots=True)
class Graph:
    """Operators in order of execution; see the module's picture for the numbering of values.

    ``outputs`` are the numbers of the values that it gives.
    """

    inputs: tuple[Shape, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[int, ...]

    @property
    def output(self) -> Shape:
        """Shape of the only output."""
        (value,) = self.outputs
        return self.shape(value)

    def shape(self, value: int) -> Shape:
        """Shape of the value with this number."""
        n_inputs = len(self.inputs)
        return self.inputs[value] if value < n_inputs else self.operators[value - n_inputs].shape


class GraphBuilder:
    """Appends operators and hands back the numbers of their outputs.

    What equals an earlier operator is not computed again: the ReLU of one value, which has no
    parameters, is one operator for all who read it.

    ``prefix`` goes before the name of every parameter: a network sets it to ``"3."`` for its
    fourth layer, a layer on its own leaves it empty.
    """

    def __init__(self, *inputs: Shape) -> None:
        self.prefix = ""
        self._inputs = inputs
        self._operators: list[Operator] = []
        self._outputs: dict[Operator, int] = {}

    def build(self, *outputs: int) -> Graph:
        """Return the graph of what was appended so far; its output is the last value by default."""
        last = len(self._inputs) + len(self._operators) - 1
        return Graph(self._inputs, tuple(self._operators), outputs or (last,))

    def shape(self, value: int) -> Shape:
        """Shape of the value with this number."""
        n_inputs = len(self._inputs)
        return self._inputs[value] if value < n_inputs else self._operators[value - n_inputs].shape

    def convolution(
        self,
        value: int,
        channels: int,
        *,
        name: str,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        dilation: int = 1,
        padding: Padding = "same",
        depthwise: bool = False,
        affine: Affine = "batch-norm",
        activation: Activation = "linear",
    ) -> int:
        """Append a convolution and, for hard-swish, its separate activation."""
        source = self.shape(value)
        fused, after = _split(activation)
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        convolution = Convolution(
            (value,), source, self.prefix + name, kernel, stride, dilation, padding, depthwise,
            affine, fused,
        )  # fmt: skip
        if depthwise and channels != source.channels:
            raise ShapeError(f"a depthwise convolution keeps {source}, found {channels} channels")
        if dilation > 1 and stride > 1:
            raise ShapeError(f"stride {stride} and dilation {dilation} exclude each other")
        if padding == "same":
            shape = source.strided(stride, channels)
        else:
            shape = source.inside(convolution.reach, stride, channels)
        output = self._append(replace(convolution, shape=shape))
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

    def max_pool(self, value: int, *, kernel: int, stride: int = 1) -> int:
        """Append a SAME max pooling."""
        shape = self.shape(value)
        return self._append(
            MaxPool((value,), shape.strided(stride, shape.channels), kernel, stride)
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

    def concatenate(self, *values: int) -> int:
        """Append the values joined along their channels; of a single value, append nothing.

        XNNPACK joins five values at most: of more, those from the fifth on are joined first.
        """
        if len(values) > 5:
            return self.concatenate(*values[:4], self.concatenate(*values[4:]))
        first, *others = map(self.shape, values)
        for shape in others:
            if (shape.height, shape.width) != (first.height, first.width):
                raise ShapeError(f"cannot join {first} and {shape} along their channels")
        if not others:
            return values[0]
        channels = first.channels + sum(shape.channels for shape in others)
        return self._append(Concatenate(values, replace(first, channels=channels)))

    def shift(self, value: int) -> int:
        """Append the value moved one pixel up and left."""
        return self._append(Shift((value,), self.shape(value)))

    def activate(self, value: int, function: Function) -> int:
        """Append an activation that is an operator of its own."""
        return self._append(Activate((value,), self.shape(value), function))

    def _append(self, operator: Operator) -> int:
        if operator not in self._outputs:
            self._operators.append(operator)
            self._outputs[operator] = len(self._inputs) + len(self._operators) - 1
        return self._outputs[operator]


def _split(activation: Activation) -> tuple[Activation, bool]:
    return ("linear", True) if activation == "hard-swish" else (activation, False)
