"""DirectExporter: writes the flatbuffer of a graph itself, about a millisecond a layer.

One TFLite operator an operator of the graph, activations fused, but two for a hard-sigmoid (ADD
with a fused RELU6 and MUL) and for a shift (PAD and STRIDED_SLICE). With float16 weights, a
DEQUANTIZE before each kernel and bias, which the runtime does once, when it loads the model: it
computes in float32. The result is one whole-graph XNNPACK delegate.

History of ``version``, which changes whenever the same graph and weights give other bytes:

    1   first
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.builder import Builder

from exporters.errors import UnsupportedOperator, WeightsError
from exporters.model_file import METADATA_NAME
from exporters.relabel import SIGNATURE, AlignedBuffer, pack_model
from exporters.signature import flat_values, input_names, output_names
from exporters.weights import Weights, check_weights
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
    Padding,
    Shape,
    Shift,
)

_SCHEMA_VERSION = 3
_FUSED: Mapping[Activation, int] = {
    "linear": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int32): schema.TensorType.INT32,
}
_PADDING: Mapping[Padding, int] = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}
_ALONE: Mapping[Function, str] = {
    "relu": "RELU",
    "sigmoid": "LOGISTIC",
    "hard-swish": "HARD_SWISH",
}


class DirectExporter:
    """The production exporter: float32 or float16 weights, batch 1, no TensorFlow."""

    version = "1"

    def __init__(self, precision: Literal["float32", "float16"] = "float32") -> None:
        self.name = f"direct-{precision}"
        self._kind = np.dtype(precision)

    def export(
        self, graph: Graph, weights: Weights, *, labels: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the model: input ``image`` NHWC, output ``logits`` or, of a layer, ``features``.

        Of several inputs or outputs, names end in ``_0``, ``_1`` and so on. The same arguments
        give the same bytes in every process.

        Args:
            labels: travel in the model's metadata, beside this exporter's name and version.

        Raises:
            WeightsError: the weights do not fit the graph, are not finite, or are beyond the
                range of float16 weights.
            UnsupportedOperator: TFLite has no such operator.
        """
        writer = ModelWriter(graph, weights, weights_kind=self._kind)
        provenance = {**(labels or {}), "exporter": self.name, "exporter_version": self.version}
        return pack_model(writer.model(f"hilnas {self.name} {self.version}", provenance))


class _Packs(Protocol):
    """What the schema's object API asks of a part: to write itself and say where."""

    def Pack(self, builder: Builder) -> int: ...  # noqa: N802


class ModelWriter:
    """The model being written: its tensors, their data, and its operators so far.

    Args:
        weights_kind: float32, or float16 with a DEQUANTIZE behind each kernel and bias.
        quantizable: write a model that becomes a whole one in int8: every tensor has a name of
            its own, and a ReLU that stands alone is a pooling (see `relu`).

    Raises:
        WeightsError, UnsupportedOperator: see `DirectExporter.export`.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Weights,
        *,
        weights_kind: npt.DTypeLike = np.float32,
        quantizable: bool = False,
    ) -> None:
        check_weights(graph, weights)
        self.graph, self.weights, self.weights_kind = graph, weights, np.dtype(weights_kind)
        self.quantizable = quantizable
        self.buffers: list[_Packs] = [schema.BufferT()]  # number 0 means no data
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: dict[int, int] = {}
        self.flat = flat_values(graph)
        self.inputs = [
            self.tensor(name, _nhwc(shape))
            for name, shape in zip(input_names(graph), graph.inputs, strict=True)
        ]
        self.outputs: dict[int, int] = dict(enumerate(self.inputs))
        for index, operator in enumerate(graph.operators):
            self.append(operator, len(graph.inputs) + index)

    def append(self, operator: Operator, number: int) -> None:
        """Append what computes value ``number``."""
        reads = [self.outputs[value] for value in operator.inputs]
        shape = _nhwc(operator.shape)
        match operator:
            case Convolution():
                output = self.convolution(operator, reads, shape)
            case Dense():
                output = self.node(
                    "FULLY_CONNECTED",
                    [*reads, *self.parameters(operator)],
                    [1, operator.shape.channels],
                    schema.FullyConnectedOptionsT(
                        fusedActivationFunction=_fused(operator.activation, operator.name)
                    ),
                )
            case AveragePool() | MaxPool():
                output = self.node(
                    "MAX_POOL_2D" if isinstance(operator, MaxPool) else "AVERAGE_POOL_2D",
                    reads,
                    shape,
                    schema.Pool2DOptionsT(
                        padding=schema.Padding.SAME,
                        strideH=operator.stride,
                        strideW=operator.stride,
                        filterHeight=operator.kernel,
                        filterWidth=operator.kernel,
                    ),
                )
            case GlobalAverage():
                flat = number in self.flat
                axes = self.constant("axes", np.array([1, 2], np.int32))
                output = self.node(
                    "MEAN",
                    [*reads, axes],
                    [1, operator.shape.channels] if flat else shape,
                    schema.ReducerOptionsT(keepDims=not flat),
                )
            case Add():
                output = self.node("ADD", reads, shape, schema.AddOptionsT())
            case Multiply():
                output = self.node("MUL", reads, shape, schema.MulOptionsT())
            case Concatenate():
                output = self.node(
                    "CONCATENATION", reads, shape, schema.ConcatenationOptionsT(axis=3)
                )
            case Shift():
                output = self.shift(reads, shape)
            case Activate():
                output = self.activate(operator.function, reads)
            case _:
                raise UnsupportedOperator(
                    f"{type(operator).__name__} has no TFLite operator in the direct exporter"
                )
        self.outputs[number] = output

    def convolution(self, operator: Convolution, reads: list[int], shape: list[int]) -> int:
        options: dict[str, Any] = {
            "padding": _PADDING[operator.padding],
            "strideH": operator.stride,
            "strideW": operator.stride,
            "dilationHFactor": operator.dilation,
            "dilationWFactor": operator.dilation,
            "fusedActivationFunction": _fused(operator.activation, operator.name),
        }
        reads = [*reads, *self.parameters(operator)]
        if operator.depthwise:
            return self.node(
                "DEPTHWISE_CONV_2D",
                reads,
                shape,
                schema.DepthwiseConv2DOptionsT(depthMultiplier=1, **options),
            )
        return self.node("CONV_2D", reads, shape, schema.Conv2DOptionsT(**options))

    def activate(self, function: Function, reads: list[int]) -> int:
        shape = self.tensors[reads[0]].shape
        if function == "hard-sigmoid":
            three = self.constant("three", np.array(3, np.float32))
            sixth = self.constant("sixth", np.array(1 / 6, np.float32))
            relu6 = schema.AddOptionsT(fusedActivationFunction=_FUSED["relu6"])
            clipped = self.node("ADD", [*reads, three], shape, relu6)
            return self.node("MUL", [clipped, sixth], shape, schema.MulOptionsT())
        if function == "relu" and self.quantizable:
            return self.relu(reads, shape)
        if function not in _ALONE:
            raise UnsupportedOperator(f"activation {function!r} has no TFLite operator")
        options = schema.HardSwishOptionsT() if function == "hard-swish" else None
        return self.node(_ALONE[function], reads, shape, options)

    def relu(self, reads: list[int], shape: list[int]) -> int:
        """Append a ReLU as a pooling of single pixels with a fused ReLU.

        XNNPACK takes no RELU in int8, but runs this as the clamp that it is. Nothing is lost by
        input and output having one scale: a ReLU of int8 has at most 128 values.
        """
        options = schema.Pool2DOptionsT(
            strideH=1,
            strideW=1,
            filterHeight=1,
            filterWidth=1,
            fusedActivationFunction=_FUSED["relu"],
        )
        return self.node("MAX_POOL_2D", reads, shape, options)

    def shift(self, reads: list[int], shape: list[int]) -> int:
        """Append a pad by one pixel below and to the right, and the slice without the first."""
        _, height, width, channels = shape
        margins = np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32)
        padded = self.node(
            "PAD",
            [*reads, self.constant("margins", margins)],
            [1, height + 1, width + 1, channels],
            schema.PadOptionsT(),
        )
        limits = [
            self.constant(name, np.array(values, np.int32))
            for name, values in (
                ("begin", [0, 1, 1, 0]),
                ("end", [1, height + 1, width + 1, channels]),
                ("strides", [1, 1, 1, 1]),
            )
        ]
        return self.node("STRIDED_SLICE", [padded, *limits], shape, schema.StridedSliceOptionsT())

    def parameters(self, operator: Convolution | Dense) -> list[int]:
        return [
            self.parameter(operator.name, what, data)
            for what, data in zip(("kernel", "bias"), self.weights[operator.name], strict=True)
        ]

    def parameter(self, operator: str, what: str, data: npt.NDArray[np.float32]) -> int:
        name = f"{operator}/{what}"
        if self.weights_kind == np.float32:
            return self.constant(name, data)
        with np.errstate(over="ignore"):
            half = data.astype(np.float16)
        if np.isinf(half).any():
            raise WeightsError(
                f"{what} of {operator!r}: expected at most {np.finfo(np.float16).max:g} in"
                f" float16, found {np.abs(data).max():g}; export it in float32"
            )
        return self.node("DEQUANTIZE", [self.constant(name, half)], list(data.shape))

    def constant(self, name: str, data: npt.NDArray[Any]) -> int:
        self.buffers.append(AlignedBuffer(data))
        if self.quantizable:
            name = f"{name}_{len(self.buffers)}"
        return self.tensor(name, list(data.shape), data.dtype, buffer=len(self.buffers) - 1)

    def tensor(
        self, name: str, shape: list[int], dtype: npt.DTypeLike = np.float32, *, buffer: int = 0
    ) -> int:
        kind = _TENSOR_TYPES[np.dtype(dtype)]
        self.tensors.append(
            schema.TensorT(name=name.encode(), shape=shape, type=kind, buffer=buffer, hasRank=True)
        )
        return len(self.tensors) - 1

    def node(self, op: str, reads: list[int], shape: list[int], options: Any = None) -> int:
        """Append one TFLite operator and the tensor that it writes; returns that tensor."""
        code = getattr(schema.BuiltinOperator, op)
        output = self.tensor(f"{op.lower()}_{len(self.operators)}", shape)
        kind = type(options).__name__.removesuffix("T") if options is not None else "NONE"
        self.operators.append(
            schema.OperatorT(
                opcodeIndex=self.codes.setdefault(code, len(self.codes)),
                inputs=reads,
                outputs=[output],
                builtinOptionsType=getattr(schema.BuiltinOptions, kind),
                builtinOptions=options,
            )
        )
        return output

    def model(self, description: str, provenance: Mapping[str, str]) -> Any:
        """Return the whole model, unpacked (``ModelT``)."""
        if not self.operators:
            raise UnsupportedOperator("a graph without operators computes nothing to export")
        outputs = [self.outputs[value] for value in self.graph.outputs]
        for output, name in zip(outputs, output_names(self.graph), strict=True):
            self.tensors[output].name = name.encode()
        text = json.dumps(provenance, sort_keys=True).encode()
        self.buffers.append(AlignedBuffer(np.frombuffer(text, np.uint8)))
        return schema.ModelT(
            version=_SCHEMA_VERSION,
            description=description,
            operatorCodes=[
                schema.OperatorCodeT(
                    deprecatedBuiltinCode=min(c, 127),
                    builtinCode=c,
                    version=3 if c == schema.BuiltinOperator.DEQUANTIZE else 1,  # 3 reads float16
                )
                for c in self.codes
            ],
            subgraphs=[
                schema.SubGraphT(
                    name="main",
                    tensors=self.tensors,
                    inputs=self.inputs,
                    outputs=outputs,
                    operators=self.operators,
                )
            ],
            buffers=self.buffers,
            signatureDefs=[
                schema.SignatureDefT(
                    signatureKey=SIGNATURE,
                    inputs=[self._signature(tensor) for tensor in self.inputs],
                    outputs=[self._signature(tensor) for tensor in outputs],
                    subgraphIndex=0,
                )
            ],
            metadata=[schema.MetadataT(name=METADATA_NAME, buffer=len(self.buffers) - 1)],
        )

    def _signature(self, tensor: int) -> Any:
        return schema.TensorMapT(name=self.tensors[tensor].name, tensorIndex=tensor)


def _nhwc(shape: Shape) -> list[int]:
    return [1, shape.height, shape.width, shape.channels]


def _fused(activation: Activation, name: str) -> int:
    if activation not in _FUSED:
        raise UnsupportedOperator(f"{name!r}: TFLite does not fuse {activation!r}")
    return _FUSED[activation]
