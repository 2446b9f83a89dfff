"""Int8Exporter: full-integer models by post-training quantization, without TensorFlow.

    graph, weights -> float model -> ranges on calibration images -> litert-quantizer -> .tflite

Kernels have a scale a channel, activations a scale a tensor; inputs and outputs are int8. Three
operators XNNPACK does not take in int8, and each left to the runtime would split the delegate:

    RELU                a 1 x 1 max pooling with a fused ReLU, which it runs as a clamp
    AVERAGE_POOL_2D     stay float32, between a DEQUANTIZE and a QUANTIZE that it takes as well:
    HARD_SWISH          10 and 40 times faster than the runtime's own int8 kernels on x86

History of ``version``, which changes whenever the same arguments give other bytes:

    1   first
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exporters.calibration import Array, measure_ranges
from exporters.calibration_images import CalibrationImages
from exporters.direct import ModelWriter
from exporters.extras import require_extra
from exporters.relabel import pack_model, relabel_model
from exporters.signature import input_names, output_names
from exporters.weights import Weights
from networks.graph import Graph

_EXTRA = "int8"
_PACKAGE = "litert-quantizer"
_VERSION = "1"


class Int8Exporter:
    """The production exporter in int8.

    Args:
        images: what activations are calibrated on, float32 of shape ``(n, height, width,
            channels)``, prepared as the network will see them; without any, a few of standard
            normal numbers, which will do where only latency counts.
        seed: of the random images.

    Raises:
        MissingExtra: litert-quantizer is not installed.
        CalibrationError: the images are none, of another rank or type, or not finite.
    """

    name = "direct-int8"

    def __init__(self, images: Array | None = None, *, seed: int = 0) -> None:
        self._quantizer = _Quantizer()
        self._images = CalibrationImages(images, seed=seed)
        self.version = f"{_VERSION}+{_PACKAGE}-{self._quantizer.version}+{self._images.digest}"

    def export(
        self, graph: Graph, weights: Weights, *, labels: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the model, its inputs and outputs named as those of `DirectExporter`.

        Args:
            labels: travel in the model's metadata, beside this exporter's name and version, the
                quantizer's, and the sha256 of the calibration images.

        Raises:
            WeightsError: the weights do not fit the graph or are not finite.
            UnsupportedOperator: TFLite has no such operator.
            CalibrationError: the images do not fit the graph, or overflow in it.
        """
        samples = self._images.samples(graph)
        model = ModelWriter(graph, weights, quantizable=True).model("", {})
        origin = {
            **(labels or {}),
            "exporter": self.name,
            "exporter_version": self.version,
            "precision": "int8",
            "quantizer": f"{_PACKAGE} {self._quantizer.version}",
            **self._images.labels,
        }
        self._quantizer.quantize(model, samples)
        return relabel_model(
            model,
            labels=origin,
            inputs=input_names(graph),
            outputs=output_names(graph),
            description=f"hilnas {self.name} {self.version}",
        )


class _Quantizer:
    """litert-quantizer's parts, without the bars, the report and the packing between them."""

    def __init__(self) -> None:
        parameters, instructions, performer, recipes, algorithms, types = require_extra(
            _EXTRA,
            "litert_quantizer.params_generator",
            "litert_quantizer.transformation_instruction_generator",
            "litert_quantizer.transformation_performer",
            "litert_quantizer.recipe_manager",
            "litert_quantizer.algorithm_manager",
            "litert_quantizer.qtyping",
        )
        self.version = importlib.metadata.version(_PACKAGE)
        self._parameters = parameters.ParamsGenerator
        self._instructions = instructions.TransformationInstructionsGenerator()
        self._performer = performer.TransformationPerformer()
        operators, self._recipe = types.TFLOperationName, recipes.RecipeManager()
        self._recipe.add_static_config(
            ".*", operators.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
        )
        for operator in (operators.AVERAGE_POOL_2D, operators.HARD_SWISH):
            self._recipe.add_quantization_config(
                ".*", operator, algorithm_key=algorithms.AlgorithmName.NO_QUANTIZE
            )

    def quantize(self, model: Any, samples: Iterator[Sequence[Array]]) -> None:
        """Turn the float model (``ModelT``) into an int8 one, calibrated on the samples."""
        data = pack_model(model)
        statistics = measure_ranges(data, model, samples)
        parameters = self._parameters(model).generate_quantization_parameters(
            self._recipe, statistics, enable_progress_bar=False
        )
        instructions = self._instructions.quant_params_to_transformation_insts(parameters, model)
        self._performer.transform_graph(instructions, model, enable_progress_bar=False)
