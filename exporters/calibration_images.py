"""CalibrationImages: what the activations of a quantized model are measured on.

Given ones, prepared as the network will see them, or, where only latency counts, a few of
standard normal numbers, which fit any graph and are the same in every process.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from exporters.errors import CalibrationError
from networks.graph import Graph, Shape

Array: TypeAlias = npt.NDArray[np.float32]

_RANDOM_IMAGES = 2
_BLOCK_LENGTH = 1_048_573  # a prime, so that no image repeats the one before


class CalibrationImages:
    """Images for any graph that they fit.

    Args:
        images: float32 of shape ``(n, height, width, channels)``; without any, random ones.
        seed: of the random images.

    Raises:
        CalibrationError: the images are none, of another rank or type, or not finite.
    """

    def __init__(self, images: Array | None = None, *, seed: int = 0) -> None:
        self._images, self._seed = images, seed
        if images is not None:
            _check_images(images)

    @functools.cached_property
    def labels(self) -> Mapping[str, str]:
        """What a model that was calibrated on them says of it."""
        if self._images is None:
            return {"calibration": f"random {self._seed}"}
        sha256 = hashlib.sha256(np.ascontiguousarray(self._images).data).hexdigest()
        return {"calibration": f"{len(self._images)} images", "calibration_sha256": sha256}

    @property
    def digest(self) -> str:
        """A short text that tells them apart, for an exporter's version."""
        if self._images is None:
            return f"random-{self._seed}"
        return f"images-{self.labels['calibration_sha256'][:12]}"

    def samples(self, graph: Graph) -> Iterator[Sequence[Array]]:
        """Return the samples, each one NHWC image an input of the graph.

        Raises:
            CalibrationError: the images do not fit the graph.
        """
        if self._images is not None:
            _check_fit(self._images, graph)
            return ((image[None],) for image in self._images)
        block = _random_block(self._seed)
        return (
            [_random_image(block, shape, (number, i)) for i, shape in enumerate(graph.inputs)]
            for number in range(_RANDOM_IMAGES)
        )


def _check_images(images: Array) -> None:
    expected = "expected calibration images of shape (n, height, width, channels), float32, "
    if images.ndim != 4 or images.dtype != np.float32:
        raise CalibrationError(f"{expected}found {images.dtype} {images.shape}")
    if images.size == 0:
        raise CalibrationError(f"{expected}at least one, found none: {images.shape}")
    if not np.isfinite(images).all():
        first = int(np.argmin(np.isfinite(images).all((1, 2, 3))))
        raise CalibrationError(f"{expected}found NaN or infinity in image {first}")


def _check_fit(images: Array, graph: Graph) -> None:
    if len(graph.inputs) != 1:
        raise CalibrationError(
            f"expected a graph of one input to calibrate on images, found {len(graph.inputs)}"
            " inputs; calibrate it on random ones"
        )
    found = Shape(*images.shape[1:])
    if found != graph.inputs[0]:
        raise CalibrationError(
            f"expected calibration images of {graph.inputs[0]} for input 'image', found {found}"
        )


@functools.lru_cache(maxsize=1)
def _random_block(seed: int) -> Array:
    """Return standard normal numbers, shape ``(_BLOCK_LENGTH,)``."""
    return np.random.default_rng(seed).standard_normal(_BLOCK_LENGTH, np.float32)


def _random_image(block: Array, shape: Shape, place: tuple[int, int]) -> Array:
    size = shape.height * shape.width * shape.channels
    number, of_input = place
    start = (number * 524_287 + of_input * 65_537) % _BLOCK_LENGTH
    values = np.take(block, np.arange(start, start + size), mode="wrap")
    return values.reshape(1, shape.height, shape.width, shape.channels)
