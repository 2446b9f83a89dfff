"""KerasExporter: the graph as a Keras model, through the converter of TensorFlow Lite.

Graph --> keras.Model --> SavedModel --> TFLiteConverter --bytes--> relabel

A cross-check of the direct exporter: the same numbers and operators, some hundred times slower.
TensorFlow, the extra ``tensorflow``, is imported when the first model is exported.

What would vary between two processes is the names that Keras counts up and the converter's
metadata: here every part is named after its operator or number, and `relabel` drops the rest.

History of ``version``, beside TensorFlow's own:

    1   first
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from exporters.calibration_images import CalibrationImages
from exporters.errors import UnsupportedOperator
from exporters.extras import require_extra, version_of
from exporters.quiet import quiet
from exporters.relabel import relabel
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
    Shift,
)

Precision = Literal["float32", "float16", "int8"]

_EXTRA = "tensorflow"
_VERSION = "1"
_FUSED: Mapping[Activation, str | None] = {"linear": None, "relu": "relu", "relu6": "relu6"}


class KerasExporter:
    """Exports through Keras and TensorFlow Lite.

    Args:
        precision: ``float16`` is that of the weights; ``int8`` is full-integer, per channel.
        images: what int8 activations are calibrated on, see `CalibrationImages`.
        seed: of random images.

    Raises:
        CalibrationError: the images are none, of another rank or type, or not finite.
    """

    def __init__(
        self,
        precision: Precision = "float32",
        images: npt.NDArray[np.float32] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.name = f"keras-{precision}"
        self._precision = precision
        self._images = CalibrationImages(images, seed=seed)

    @property
    def version(self) -> str:
        """Version of this exporter and of TensorFlow, in int8 with what it is calibrated on.

        Raises:
            MissingExtra: TensorFlow is not installed.
        """
        version = f"{_VERSION}+tensorflow-{version_of(_EXTRA, 'tensorflow', 'tensorflow-cpu')}"
        return f"{version}+{self._images.digest}" if self._precision == "int8" else version

    def export(
        self, graph: Graph, weights: Weights, *, labels: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the model, named and labelled as `exporters.direct.DirectExporter` does it.

        Raises:
            MissingExtra: TensorFlow is not installed.
            WeightsError: the weights do not fit the graph or are not finite.
            UnsupportedOperator: there is no such operator in Keras.
            CalibrationError: the images do not fit the graph.
        """
        check_weights(graph, weights)
        origin = {"exporter": self.name, "exporter_version": self.version}
        if self._precision == "int8":
            origin |= self._images.labels
        with quiet():
            tensorflow, keras = require_extra(_EXTRA, "tensorflow", "keras")
            model = _KerasModel(keras, graph, weights).finish()
            data = self._convert(tensorflow, graph, model)
        outputs = output_names(graph)
        return relabel(
            data,
            labels={**(labels or {}), **origin},
            inputs={name: name for name in input_names(graph)},
            outputs={f"output_{number}": name for number, name in enumerate(outputs)},
            description=f"hilnas {self.name} {self.version}",
        )

    def _convert(self, tensorflow: Any, graph: Graph, model: Any) -> bytes:
        converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
        if self._precision != "float32":
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        if self._precision == "float16":
            converter.target_spec.supported_types = [tensorflow.float16]
        if self._precision == "int8":
            names, samples = input_names(graph), list(self._images.samples(graph))
            converter.representative_dataset = lambda: (
                dict(zip(names, sample, strict=True)) for sample in samples
            )
            converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tensorflow.int8
        data: bytes = converter.convert()
        return data


class _KerasModel:
    """The Keras model of a graph: a Keras tensor for each of its values."""

    def __init__(self, keras: Any, graph: Graph, weights: Weights) -> None:
        self.keras, self.graph, self.weights = keras, graph, weights
        self.flat = flat_values(graph)
        self.inputs = [
            keras.Input(batch_shape=(1, shape.height, shape.width, shape.channels), name=name)
            for shape, name in zip(graph.inputs, input_names(graph), strict=True)
        ]
        self.values: dict[int, Any] = dict(enumerate(self.inputs))
        for number, operator in enumerate(graph.operators, len(graph.inputs)):
            self.values[number] = self.append(operator, number)

    def finish(self) -> Any:
        """Return the model."""
        if not self.graph.operators:
            raise UnsupportedOperator("a graph without operators computes nothing to export")
        outputs = [self.values[value] for value in self.graph.outputs]
        return self.keras.Model(self.inputs, outputs, name="graph")

    def append(self, operator: Operator, number: int) -> Any:
        """Return the Keras tensor of value ``number``."""
        layers, name = self.keras.layers, f"{type(operator).__name__.lower()}_{number}"
        match operator:
            case Convolution():
                return self.convolution(operator)
            case Dense():
                layer = layers.Dense(
                    operator.shape.channels,
                    activation=_fused(operator),
                    name=_keras_name(operator.name),
                )
                output = layer(self.read(operator.inputs[0], flat=True))
                kernel, bias = self.weights[operator.name]
                layer.set_weights([kernel.T, bias])
                return output
            case GlobalAverage():
                is_flat = number in self.flat
                layer = layers.GlobalAveragePooling2D(keepdims=not is_flat, name=name)
            case AveragePool() | MaxPool():
                pool = (
                    layers.MaxPooling2D
                    if isinstance(operator, MaxPool)
                    else layers.AveragePooling2D
                )
                layer = pool(operator.kernel, operator.stride, padding="same", name=name)
            case Activate():
                layer = layers.Lambda(self.function(operator.function), name=name)
                return layer(self.values[operator.inputs[0]])
            case Add() | Multiply():
                kind = layers.Add if isinstance(operator, Add) else layers.Multiply
                return kind(name=name)([self.read(value) for value in operator.inputs])
            case Concatenate():
                layer = layers.Concatenate(axis=3, name=name)
                return layer([self.read(value) for value in operator.inputs])
            case Shift():
                padded = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")
                layer = layers.Cropping2D(((1, 0), (1, 0)), name=name)
                return layer(padded(self.read(operator.inputs[0])))
            case _:
                raise UnsupportedOperator(
                    f"{type(operator).__name__} has no layer in the Keras exporter"
                )
        return layer(self.read(operator.inputs[0]))

    def convolution(self, operator: Convolution) -> Any:
        kernel, bias = self.weights[operator.name]
        shared = {
            "strides": operator.stride,
            "padding": operator.padding,
            "dilation_rate": operator.dilation,
            "activation": _fused(operator),
            "name": _keras_name(operator.name),
        }
        if operator.depthwise:
            layer = self.keras.layers.DepthwiseConv2D(operator.kernel, **shared)
        else:
            layer = self.keras.layers.Conv2D(operator.shape.channels, operator.kernel, **shared)
        output = layer(self.read(operator.inputs[0]))
        layer.set_weights([kernel.transpose(1, 2, 3, 0), bias])  # OHWI to HWIO, 1HWC to HWC1
        return output

    def function(self, function: Function) -> Callable[[Any], Any]:
        ops = self.keras.ops
        functions: dict[str, Callable[[Any], Any]] = {
            "relu": ops.relu,
            "sigmoid": ops.sigmoid,
            "hard-sigmoid": lambda x: ops.relu6(x + 3.0) * (1 / 6),
            "hard-swish": lambda x: x * ops.relu6(x + 3.0) * (1 / 6),
        }
        if function not in functions:
            raise UnsupportedOperator(f"activation {function!r} has no TFLite operator")
        return functions[function]

    def read(self, value: int, *, flat: bool = False) -> Any:
        """Return a value as NHWC or as ``(1, channels)``, whichever it is."""
        if (value in self.flat) == flat:
            return self.values[value]
        channels = self.graph.shape(value).channels
        return self.keras.ops.reshape(
            self.values[value], (1, channels) if flat else (1, 1, 1, channels)
        )


def _fused(operator: Convolution | Dense) -> str | None:
    if operator.activation not in _FUSED:
        raise UnsupportedOperator(f"{operator.name!r}: Keras does not fuse {operator.activation!r}")
    return _FUSED[operator.activation]


def _keras_name(name: str) -> str:
    """Keras names no layer with a slash; the operators' dots are kept."""
    return name.replace("/", "_")
