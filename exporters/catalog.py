"""Catalog: exporters by the names that the command line has for them."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from exporters.errors import UnknownExporter
from exporters.exporter import Exporter

Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
EXPORTERS = ("direct", "keras", "litert-torch")


def make_exporter(
    name: str = "direct",
    precision: str = "float32",
    *,
    images: npt.NDArray[np.float32] | None = None,
    seed: int = 0,
) -> Exporter:
    """Return the exporter of this name and precision.

    Args:
        name: ``direct`` writes the file itself; ``keras`` and ``litert-torch`` are the official
            converters, extras of their own, hundreds of times slower.
        images: what int8 is calibrated on, ``(n, height, width, channels)``; without any, random
            ones of ``seed``, which will do where only latency counts.

    Raises:
        UnknownExporter: no exporter has that name or that precision.
        CalibrationError: the images are none, of another rank or type, or not finite.
        MissingExtra: an optional dependency is not installed.
    """
    match name, precision:
        case "direct", "float32":
            from exporters.direct import DirectExporter

            return DirectExporter()
        case "direct", "float16":
            from exporters.direct import DirectExporter

            return DirectExporter("float16")
        case "direct", "int8":
            from exporters.int8 import Int8Exporter

            return Int8Exporter(images, seed=seed)
        case "keras", "float32" | "float16" | "int8":
            from exporters.keras_converter import KerasExporter

            return _installed(KerasExporter(precision, images, seed=seed))
        case "litert-torch", "float32":
            from exporters.litert_torch_converter import LitertTorchExporter

            return _installed(LitertTorchExporter())
    raise UnknownExporter(
        f"expected an exporter of {', '.join(EXPORTERS)} and a precision of"
        f" {', '.join(PRECISIONS)} (litert-torch: float32 only), found {name!r} and {precision!r}"
    )


def _installed(exporter: Exporter) -> Exporter:
    """Return an exporter that imports its libraries late, having found that they are there."""
    _ = exporter.version
    return exporter
