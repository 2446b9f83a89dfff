"""Single operators: the smallest units that a latency table prices, their keys, and their graphs.

    conv          k x k convolution, bias, fused activation        depthwise     likewise
    dense         fully connected, bias, fused activation          mean          over height, width
    average-pool  SAME                                             max-pool      SAME
    add           two values of one shape                          multiply      value and gate
    concatenate   values along their channels                      shift         pad and slice
    relu          hard-swish   sigmoid   hard-sigmoid              activations that stand alone

A unit is what the runtime executes as one: a ReLU that alone reads a convolution, dense operator
or pooling is merged into it by XNNPACK (seen in profiles of ai-edge-litert 2.3.0, kept true by a
test that asks the runtime), so both are one unit, of activation ``linear-relu``. An addition and
its ReLU stay two. Shift and hard-sigmoid are two TFLite operators that only occur together.

Operator key, version 1 (permanent, as layer keys are; free of precision and of names):

    op1/conv/56x56x24/c144/k1x1/s1/d1/same/relu
    op1/depthwise/56x56x144/k5x5/s2/d1/same/relu6
    op1/dense/1x1x1280/c1000/linear
    op1/max-pool/28x28x44/k3/s2/linear-relu
    op1/add/28x28x44                        both values are
    op1/multiply/28x28x72                   the value; its gate is 1x1x72
    op1/concatenate/28x28x44+28x28x22       all values, in order
    op1/hard-swish/14x14x80                 likewise mean, shift, and the other activations
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias, cast, get_args

from networks.errors import OperatorKeyError, ShapeError
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
    GraphBuilder,
    MaxPool,
    Multiply,
    Operator,
    Padding,
    Shape,
    Shift,
)
from networks.layers import Layer, lower_layer
from networks.network import ImageNetwork

_NAME = "operator"
_KINDS: dict[type[Operator], str] = {
    Dense: "dense",
    AveragePool: "average-pool",
    MaxPool: "max-pool",
    GlobalAverage: "mean",
    Add: "add",
    Multiply: "multiply",
    Concatenate: "concatenate",
    Shift: "shift",
}
_MERGING = Convolution | Dense | AveragePool | MaxPool


@dataclass(frozen=True, slots=True)
class SingleOperator:
    """One operator by itself, see the module; made by `operators_of_graph` or `parse_operator`.

    ``operator`` reads values 0, 1, ..., whose shapes are ``inputs``, and has no name of its own;
    ``is_rectified``: with the ReLU that the runtime merges into it.
    """

    operator: Operator
    inputs: tuple[Shape, ...]
    is_rectified: bool = False

    @property
    def kind(self) -> str:
        """The first word of the key after its version."""
        match self.operator:
            case Convolution(depthwise=depthwise):
                return "depthwise" if depthwise else "conv"
            case Activate(function=function):
                return function
        return _KINDS[type(self.operator)]

    @property
    def key(self) -> str:
        """The permanent text of this operator; see the module."""
        head, source = f"op1/{self.kind}", self.inputs[0]
        relu = "-relu" if self.is_rectified else ""
        match self.operator:
            case Convolution() as c:
                channels = "" if c.depthwise else f"/c{c.shape.channels}"
                height, width = c.kernel
                return (
                    f"{head}/{source}{channels}/k{height}x{width}/s{c.stride}/d{c.dilation}"
                    f"/{c.padding}/{c.activation}{relu}"
                )
            case Dense(shape=shape, activation=activation):
                return f"{head}/{source}/c{shape.channels}/{activation}{relu}"
            case AveragePool(kernel=kernel, stride=stride) | MaxPool(kernel=kernel, stride=stride):
                return f"{head}/{source}/k{kernel}/s{stride}/linear{relu}"
            case Concatenate():
                return f"{head}/{'+'.join(map(str, self.inputs))}"
        return f"{head}/{source}"

    def graph(self) -> Graph:
        """Return its graph, with an input for each value that it reads."""
        operators: tuple[Operator, ...] = (self.operator,)
        value = len(self.inputs)
        if self.is_rectified:
            operators += (Activate((value,), self.operator.shape, "relu"),)
        return Graph(self.inputs, operators, (value + len(operators) - 1,))


Unit: TypeAlias = Layer | SingleOperator
"""What one row of a latency table prices."""


def lower_unit(unit: Unit) -> Graph:
    """Return the graph of a layer or of an operator on its own."""
    return unit.graph() if isinstance(unit, SingleOperator) else lower_layer(unit)


def operators_of(network: ImageNetwork) -> tuple[SingleOperator, ...]:
    """Return the operators of any network in order of execution, equal ones as often as they run.

    Those of a chain are those of its layers, one layer after the other.
    """
    return operators_of_graph(network.graph())


def operators_of_layers(layers: Iterable[Layer]) -> tuple[SingleOperator, ...]:
    """Return the different operators that these layers have, each once."""
    return tuple(
        dict.fromkeys(o for layer in layers for o in operators_of_graph(lower_layer(layer)))
    )


def operators_of_graph(graph: Graph) -> tuple[SingleOperator, ...]:
    """Return the operators of a graph as the runtime runs them, in order of execution."""
    readers = Counter(value for operator in graph.operators for value in operator.inputs)
    readers.update(graph.outputs)
    rectified = {
        operator.inputs[0]
        for operator in graph.operators
        if isinstance(operator, Activate)
        and operator.function == "relu"
        and readers[operator.inputs[0]] == 1
    }
    found: list[SingleOperator] = []
    merged: set[int] = set()
    for value, operator in enumerate(graph.operators, len(graph.inputs)):
        if isinstance(operator, Activate) and operator.inputs[0] in merged:
            continue
        merges = value in rectified and isinstance(operator, _MERGING)
        if merges:
            merged.add(value)
        inputs = tuple(graph.shape(read) for read in operator.inputs)
        found.append(SingleOperator(_nameless(operator), inputs, merges))
    return tuple(found)


def parse_operator(key: str) -> SingleOperator:
    """Return the operator whose ``key`` this is; the inverse of ``operator.key``.

    Raises:
        OperatorKeyError: the text is not a key of version 1, or its sizes cannot be.
    """
    match = next((m for m in (form.fullmatch(key) for form in _FORMS) if m is not None), None)
    if match is None:
        raise OperatorKeyError(f"not an operator key of version 1: {key!r}")
    found = match.groupdict()
    shapes = [Shape(*map(int, text.split("x"))) for text in match["inputs"].split("+")]
    kind = match["kind"]
    if kind == "add":
        shapes *= 2
    elif kind == "multiply":
        shapes.append(Shape(1, 1, shapes[0].channels))
    graph = GraphBuilder(*shapes)
    try:
        _append(graph, kind, found)
    except ShapeError as error:
        raise OperatorKeyError(f"{key!r}: {error}") from error
    operator = _nameless(graph.build().operators[0])
    return SingleOperator(operator, tuple(shapes), found.get("relu") is not None)


def is_operator_key(key: str) -> bool:
    """Return whether a text is the key of an operator, of this version or another, by its head."""
    return _HEAD.match(key) is not None


def _nameless(operator: Operator) -> Operator:
    """Return the operator reading 0, 1, ...; whatever is folded into its weights is a bias."""
    operator = replace(operator, inputs=tuple(range(len(operator.inputs))))
    if isinstance(operator, Convolution):
        return replace(operator, name=_NAME, affine="bias")
    return replace(operator, name=_NAME) if isinstance(operator, Dense) else operator


def _append(graph: GraphBuilder, kind: str, found: dict[str, str | None]) -> None:
    """Append the operator of a parsed key, which reads all of the graph's inputs."""

    def number(name: str) -> int:
        return int(found[name] or 0)

    match kind:
        case "conv" | "depthwise":
            height, width = (found["kernel"] or "").split("x")
            is_depthwise = kind == "depthwise"
            graph.convolution(
                0,
                graph.shape(0).channels if is_depthwise else number("channels"),
                name=_NAME,
                kernel=(int(height), int(width)),
                stride=number("stride"),
                dilation=number("dilation"),
                padding=cast(Padding, found["padding"]),
                depthwise=is_depthwise,
                activation=cast(Activation, found["activation"]),
            )
        case "dense":
            activation = cast(Activation, found["activation"])
            graph.dense(0, number("channels"), name=_NAME, activation=activation)
        case "average-pool":
            graph.average_pool(0, kernel=number("kernel"), stride=number("stride"))
        case "max-pool":
            graph.max_pool(0, kernel=number("kernel"), stride=number("stride"))
        case "concatenate":
            values = range(str(found["inputs"]).count("+") + 1)
            if not 2 <= len(values) <= 5:
                raise ShapeError(f"2 to 5 values are joined, found {len(values)}")
            graph.concatenate(*values)
        case "add":
            graph.add(0, 1)
        case "multiply":
            graph.multiply(0, 1)
        case "mean":
            graph.global_average(0)
        case "shift":
            graph.shift(0)
        case _:
            graph.activate(0, cast(Function, kind))


_HEAD = re.compile(r"op[1-9]\d*/")
_N = r"[1-9]\d*"
_SHAPE = rf"(?P<inputs>{_N}x{_N}x{_N})"
_FUSED = "|".join(name for name in get_args(Activation) if name != "hard-swish")
_ACTIVATION = rf"(?P<activation>{_FUSED})(?P<relu>-relu)?"
_FORMS = tuple(
    re.compile("op1/" + form)
    for form in (
        rf"(?P<kind>conv)/{_SHAPE}/c(?P<channels>{_N})/k(?P<kernel>{_N}x{_N})/s(?P<stride>{_N})"
        rf"/d(?P<dilation>{_N})/(?P<padding>{'|'.join(get_args(Padding))})/{_ACTIVATION}",
        rf"(?P<kind>depthwise)/{_SHAPE}/k(?P<kernel>{_N}x{_N})/s(?P<stride>{_N})"
        rf"/d(?P<dilation>{_N})/(?P<padding>{'|'.join(get_args(Padding))})/{_ACTIVATION}",
        rf"(?P<kind>dense)/{_SHAPE}/c(?P<channels>{_N})/{_ACTIVATION}",
        rf"(?P<kind>average-pool|max-pool)/{_SHAPE}/k(?P<kernel>{_N})/s(?P<stride>{_N})"
        rf"/linear(?P<relu>-relu)?",
        rf"(?P<kind>concatenate)/(?P<inputs>{_N}x{_N}x{_N}(?:\+{_N}x{_N}x{_N})+)",
        rf"(?P<kind>mean|add|multiply|shift|{'|'.join(get_args(Function))})/{_SHAPE}",
    )
)
