"""The torch module of a graph: trained in torch, then folded into weights for an exporter.

    Graph  -->  GraphModule (NCHW, batch norm)  -->  folded_weights (TFLite's layout, no batch norm)
                GraphModule (NCHW, biases)      <--  module_of_weights

Submodules carry the operators' own names, so ``module.get_submodule("3.depthwise")`` is the
operator ``3.depthwise`` and its state is saved as ``3.depthwise.convolution.weight`` and so on.
torch is imported here and in no other module of this folder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from networks.errors import ShapeError
from networks.graph import (
    Activate,
    Activation,
    Add,
    AveragePool,
    Concatenate,
    Convolution,
    Dense,
    Function,
    GlobalAverage,
    Graph,
    MaxPool,
    Multiply,
    Operator,
    Shape,
    Shift,
)

BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.01


class GraphModule(nn.Module):
    """Computes a graph on batches, images NCHW.

    Gives ``(n, classes)`` where an output is 1 x 1 x classes, else ``(n, c, h, w)``. Memory format
    is channels-last throughout, which is the faster one on a CPU.

    Args:
        momentum: share of the new batch in batch norm's running statistics; MnasNet's 0.01
            suits long training, a short one wants more.
    """

    def __init__(self, graph: Graph, *, momentum: float = BATCH_NORM_MOMENTUM) -> None:
        super().__init__()
        self.graph = graph
        self._steps: list[tuple[nn.Module, tuple[int, ...]]] = []
        for operator in graph.operators:
            step = _module(graph, operator, momentum)
            if isinstance(operator, Convolution | Dense):
                self._insert(operator.name, step)
            self._steps.append((step, operator.inputs))
        self._last_use = {v: i for i, (_, inputs) in enumerate(self._steps) for v in inputs}
        self._last_use |= dict.fromkeys(graph.outputs, len(self._steps))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the only output; one argument of shape ``(n, c, h, w)`` a graph input.

        Raises:
            ShapeError: an image of another shape than the graph's.
        """
        (output,) = self.outputs(*inputs)
        return output

    def outputs(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return every output of the graph, in its order; else as `forward`."""
        values = {}
        for number, (value, shape) in enumerate(zip(inputs, self.graph.inputs, strict=True)):
            if value.shape[1:] != (shape.channels, shape.height, shape.width):
                raise ShapeError(f"expected {shape} images (NCHW), found {tuple(value.shape)}")
            values[number] = value.contiguous(memory_format=torch.channels_last)
        for index, (step, reads) in enumerate(self._steps):
            values[len(inputs) + index] = step(*(values[read] for read in reads))
            for read in reads:
                if self._last_use[read] == index:
                    values.pop(read, None)
        return tuple(
            value.flatten(1) if value.shape[2:] in ((), (1, 1)) else value
            for value in (values[number] for number in self.graph.outputs)
        )

    def step(self, operator: int) -> nn.Module:
        """Return the module of the graph's operator of this number."""
        return self._steps[operator][0]

    def _insert(self, name: str, module: nn.Module) -> None:
        """Add ``module`` under its dotted name."""
        *path, leaf = name.split(".")
        parent: nn.Module = self
        for part in path:
            if part not in dict(parent.named_children()):
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(leaf, module)


def folded_weights(
    module: GraphModule,
) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Return kernel and bias of every named operator, running batch norm folded into both.

    Kernels have TFLite's layout: OHWI, 1HWC (depthwise) or (out, in) (dense). Folding is done in
    float64; the result computes what the module does in eval mode.
    """
    return {
        operator.name: _folded(module.get_submodule(operator.name))
        for operator in module.graph.operators
        if isinstance(operator, Convolution | Dense)
    }


def module_of_weights(
    graph: Graph,
    weights: Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
) -> GraphModule:
    """Return a module in eval mode that computes the graph with folded weights.

    Every convolution has a bias and no batch norm; `folded_weights` gives the weights back.
    """
    operators = tuple(
        replace(operator, affine="bias") if isinstance(operator, Convolution) else operator
        for operator in graph.operators
    )
    module = GraphModule(replace(graph, operators=operators))
    for operator in operators:
        if isinstance(operator, Convolution | Dense):
            kernel, bias = (torch.from_numpy(array) for array in weights[operator.name])
            if isinstance(operator, Convolution):
                kernel = kernel.permute((3, 0, 1, 2) if operator.depthwise else (0, 3, 1, 2))
            part = module.get_submodule(operator.name)
            assert isinstance(part, _Convolution | _Dense)
            layer = part.convolution if isinstance(part, _Convolution) else part.dense
            assert layer.bias is not None
            with torch.no_grad():
                layer.weight.copy_(kernel)
                layer.bias.copy_(bias)
    return module.eval()


def _folded(
    module: nn.Module,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    if isinstance(module, _Dense):
        dense = module.dense
        return dense.weight.detach().numpy().copy(), dense.bias.detach().numpy().copy()
    assert isinstance(module, _Convolution)
    kernel = module.convolution.weight.detach().double()
    norm, bias = module.norm, module.convolution.bias
    if norm is None:
        offset = kernel.new_zeros(len(kernel)) if bias is None else bias.detach().double()
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
        offset = norm.bias.detach().double() - norm.running_mean.double() * scale
        kernel = kernel * scale[:, None, None, None]
    layout = (1, 2, 3, 0) if module.depthwise else (0, 2, 3, 1)
    return kernel.permute(layout).contiguous().float().numpy(), offset.float().numpy()


def _module(graph: Graph, operator: Operator, momentum: float) -> nn.Module:
    """Return the module of one operator, with fresh parameters if it has any."""
    match operator:
        case Convolution():
            return _Convolution(graph.shape(operator.inputs[0]), operator, momentum)
        case Dense():
            return _Dense(graph.shape(operator.inputs[0]).channels, operator)
        case AveragePool():
            return _AveragePool(graph.shape(operator.inputs[0]), operator.kernel, operator.stride)
        case MaxPool():
            return _MaxPool(graph.shape(operator.inputs[0]), operator.kernel, operator.stride)
        case GlobalAverage():
            return _GlobalAverage()
        case Add():
            return _Add()
        case Multiply():
            return _Multiply()
        case Concatenate():
            return _Concatenate()
        case Shift():
            return _Shift()
        case Activate():
            return _FUNCTIONS[operator.function]()
        case _:
            raise ShapeError(f"no torch module for the operator {type(operator).__name__}")


class _Convolution(nn.Module):
    """Convolution, batch norm or bias or neither, activation."""

    def __init__(self, shape: Shape, operator: Convolution, momentum: float) -> None:
        super().__init__()
        channels = operator.shape.channels
        self.depthwise = operator.depthwise
        self.pad, padding = (
            _same_padding(shape, operator.reach, operator.stride)
            if operator.padding == "same"
            else (None, (0, 0))
        )
        self.convolution = nn.Conv2d(
            shape.channels,
            channels,
            operator.kernel,
            operator.stride,
            padding,
            operator.dilation,
            groups=shape.channels if operator.depthwise else 1,
            bias=operator.affine == "bias",
        )
        self.norm = (
            nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=momentum)
            if operator.affine == "batch-norm"
            else None
        )
        self.activation = _ACTIVATIONS[operator.activation]()
        # He et al. 2015 by fan-out, as MobileNets are trained; a depthwise filter has one output
        fan_out = math.prod(operator.kernel) * (1 if operator.depthwise else channels)
        weight = self.convolution.weight
        nn.init.normal_(weight, std=math.sqrt(2 / fan_out))
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)

    def forward(self, value: Tensor) -> Tensor:
        value = self.convolution(value if self.pad is None else functional.pad(value, self.pad))
        if self.norm is not None:
            value = self.norm(value)
        activated: Tensor = self.activation(value)
        return activated


class _Dense(nn.Module):
    """Fully connected on ``(n, c, 1, 1)`` or ``(n, c)``; gives ``(n, units)``."""

    def __init__(self, channels: int, operator: Dense) -> None:
        super().__init__()
        units = operator.shape.channels
        self.dense = nn.Linear(channels, units)
        self.activation = _ACTIVATIONS[operator.activation]()
        # by fan-in: by fan-out, few classes would start with logits of several units
        bound = 1 / math.sqrt(channels)
        nn.init.uniform_(self.dense.weight, -bound, bound)
        nn.init.zeros_(self.dense.bias)

    def forward(self, value: Tensor) -> Tensor:
        activated: Tensor = self.activation(self.dense(value.flatten(1)))
        return activated


class _AveragePool(nn.Module):
    """SAME average pooling in which padding does not count."""

    def __init__(self, shape: Shape, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.pad, self.padding = _same_padding(shape, (kernel, kernel), stride)
        if self.pad is None and stride > 1:  # which litert-torch cannot express by itself
            (vertical, horizontal), self.padding = self.padding, (0, 0)
            self.pad = (horizontal, horizontal, vertical, vertical)
        if self.pad is not None:
            counted = self._zero_padded(torch.ones(1, 1, shape.height, shape.width))
            self.register_buffer("scale", 1 / counted, persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        if self.pad is None:
            return functional.avg_pool2d(
                value, self.kernel, self.stride, self.padding, count_include_pad=False
            )
        return self._zero_padded(value) * self.get_buffer("scale")

    def _zero_padded(self, value: Tensor) -> Tensor:
        assert self.pad is not None
        return functional.avg_pool2d(functional.pad(value, self.pad), self.kernel, self.stride)


class _MaxPool(nn.Module):
    """SAME max pooling."""

    def __init__(self, shape: Shape, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.pad, self.padding = _same_padding(shape, (kernel, kernel), stride)

    def forward(self, value: Tensor) -> Tensor:
        if self.pad is not None:
            value = functional.pad(value, self.pad, value=-math.inf)
        return functional.max_pool2d(value, self.kernel, self.stride, self.padding)


class _Concatenate(nn.Module):
    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, dim=1)


class _Shift(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return functional.pad(value, (0, 1, 0, 1))[:, :, 1:, 1:]


class _GlobalAverage(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return value.mean(dim=(2, 3), keepdim=True)


class _Add(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left + right


class _Multiply(nn.Module):
    def forward(self, value: Tensor, gate: Tensor) -> Tensor:
        return value * gate


# In place where batch norm's gradient does not need what is overwritten: less memory to train
_ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": functools.partial(nn.ReLU, inplace=True),
    "relu6": functools.partial(nn.ReLU6, inplace=True),
}
# Never in place: other operators may read the value too
_FUNCTIONS: Mapping[Function, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "hard-swish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "hard-sigmoid": nn.Hardsigmoid,
}


def _same_padding(
    shape: Shape, reach: tuple[int, int], stride: int
) -> tuple[tuple[int, int, int, int] | None, tuple[int, int]]:
    """Return TFLite's SAME padding: an explicit pad where it is lopsided, else the operator's own.

    The pad is (left, right, top, bottom), the padding (height, width); one of them does nothing.
    """
    (top, bottom), (left, right) = (
        _split(max((-(-size // stride) - 1) * stride + seen - size, 0))
        for size, seen in zip((shape.height, shape.width), reach, strict=True)
    )
    if top == bottom and left == right:
        return None, (top, left)
    return (left, right, top, bottom), (0, 0)


def _split(total: int) -> tuple[int, int]:
    """Return padding before and after: TFLite puts the odd pixel after."""
    return total // 2, total - total // 2
