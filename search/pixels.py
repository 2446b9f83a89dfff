"""Pixels: images in arrays ``(n, channels, height, width)`` at another size, width or scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from search.errors import DatasetError

Images = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8] | Images

LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue, ITU-R BT.601: what a grey copy of a colour image is."""
_CHUNK = 4096


def resize(images: Images, resolution: int) -> Images:
    """Return images with ``resolution`` pixels a side, each the mean of the area that it covers.

    Images that are not square are stretched. To a whole fraction of the size this averages blocks,
    to a whole multiple it repeats pixels.

    Raises:
        DatasetError: the resolution is less than 1.
    """
    if resolution < 1:
        raise DatasetError(f"a resolution is 1 pixel or more, found {resolution}")
    height, width = images.shape[2:]
    if height != resolution:
        images = _area_weights(height, resolution) @ images
    if width != resolution:
        images = images @ _area_weights(width, resolution).T
    return images


def with_channels(images: Images, channels: int) -> Images:
    """Return images of ``channels``: grey repeated, or colour weighed to grey and repeated.

    Raises:
        DatasetError: the images have neither these channels, nor 1, nor 3.
    """
    found = images.shape[1]
    if found == channels:
        return images
    if found == 3:
        weights = np.array(LUMINANCE, np.float32)
        images = np.einsum("nchw,c->nhw", images, weights)[:, None]
    elif found != 1:
        raise DatasetError(f"expected images of {channels} channels, or 1, or 3, found {found}")
    return images.repeat(channels, axis=1)


def moments(images: Pixels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard deviation of each channel, 1 for a channel that does not vary.

    Raises:
        DatasetError: all pixels are the same, so there is nothing to learn from.
    """
    total = np.zeros((2, images.shape[1]))
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].astype(np.float64)
        total += part.sum(axis=(0, 2, 3)), np.square(part).sum(axis=(0, 2, 3))
    mean, square = total / (images.size / images.shape[1])
    std = np.sqrt(np.maximum(square - mean**2, 0))
    if not (std > 0).any():
        raise DatasetError("expected images, found the same value in every pixel of all of them")
    return mean, np.where(std > 0, std, 1.0)


def prepare(
    images: Pixels,
    resolution: int,
    channels: int,
    *,
    border: int,
    mean: npt.NDArray[np.float64],
    std: npt.NDArray[np.float64],
) -> Images:
    """Return images normalised, widened by ``border`` edge pixels, resized, with ``channels``.

    Args:
        mean, std: of each channel of ``images``, see `moments`.
    """
    prepared = np.empty((len(images), channels, resolution, resolution), np.float32)
    around = ((0, 0), (0, 0), (border, border), (border, border))
    shift, scale = (values.astype(np.float32)[:, None, None] for values in (mean, std))
    for start in range(0, len(images), _CHUNK):
        part = (images[start : start + _CHUNK].astype(np.float32) - shift) / scale
        part = resize(np.pad(part, around, mode="edge"), resolution)
        prepared[start : start + _CHUNK] = with_channels(part, channels)
    return prepared


def _area_weights(size: int, resolution: int) -> Images:
    """Return the share of each of ``size`` pixels in each new one, ``(resolution, size)``."""
    step = size / resolution
    low = np.arange(resolution)[:, None] * step
    pixel = np.arange(size)[None, :]
    overlap = np.minimum(low + step, pixel + 1) - np.maximum(low, pixel)
    weights: Images = (np.maximum(overlap, 0) / step).astype(np.float32)
    return weights
