"""Runner: a model in memory, run on images by the real LiteRT interpreter on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from exporters.errors import DamagedModel
from exporters.quiet import quiet
from networks.graph import Shape

Array = npt.NDArray[np.float32]


def load_interpreter(data: bytes) -> Interpreter:
    """Return a model ready to run, with the default XNNPACK delegate, on one thread.

    Raises:
        DamagedModel: the runtime refuses the model; says why.
    """
    try:
        with quiet():
            interpreter = Interpreter(model_content=data, num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise DamagedModel(f"the runtime cannot prepare the model: {text}") from error
    return interpreter


class Runner:
    """Gives float32 outputs for float32 NHWC images, whatever the model's own types are.

    A quantized input is given the image at its scale, a quantized output is brought back.

    Raises:
        DamagedModel: the runtime refuses the model; says why.
    """

    def __init__(self, data: bytes) -> None:
        self._interpreter = load_interpreter(data)
        self._inputs: list[dict[str, Any]] = self._interpreter.get_input_details()
        self._outputs: list[dict[str, Any]] = self._interpreter.get_output_details()

    @property
    def inputs(self) -> tuple[Shape, ...]:
        """Shapes of the images that it takes."""
        return tuple(Shape(*(int(side) for side in i["shape"][1:])) for i in self._inputs)

    def run(self, *images: Array) -> tuple[Array, ...]:
        """Return every output, its batch of one included; one image of shape (1, h, w, c) an input.

        Raises:
            ValueError: as many images as inputs, and of their shapes, were expected.
        """
        for tensor, image in zip(self._inputs, images, strict=True):
            self._interpreter.set_tensor(tensor["index"], _quantized(image, tensor))
        self._interpreter.invoke()
        return tuple(
            _restored(self._interpreter.get_tensor(tensor["index"]), tensor)
            for tensor in self._outputs
        )

    def run_batch(self, images: Array) -> Array:
        """Return the only output of each of ``(n, h, w, c)`` images, shape ``(n, ...)``."""
        rows = []
        for image in images:
            (output,) = self.run(image[None])
            rows.append(output[0])
        return np.stack(rows)


def _quantized(image: Array, tensor: Mapping[str, Any]) -> npt.NDArray[Any]:
    kind = np.dtype(tensor["dtype"])
    if kind.kind == "f":
        return image.astype(kind, copy=False)
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(kind)
    quantized = np.rint(image / np.float32(scale)) + zero_point
    clipped: npt.NDArray[Any] = np.clip(quantized, limits.min, limits.max).astype(kind)
    return clipped


def _restored(values: npt.NDArray[Any], tensor: Mapping[str, Any]) -> Array:
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    scale, zero_point = tensor["quantization"]
    restored: Array = (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return restored
