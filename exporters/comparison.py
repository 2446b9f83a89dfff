"""Comparison: two models of one network side by side: operators, numbers, size."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporters.delegation import read_delegation
from exporters.errors import DamagedModel
from exporters.model_file import read_operators
from exporters.runner import Runner
from networks.graph import Shape

IMAGES = 8


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models: its exporter, and what the file and the runtime say of it."""

    exporter: str
    operators: tuple[str, ...]
    size_bytes: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two models of one network have in common, and where they differ.

    Args:
        differences: operators that the second has otherwise, such as ``+ TRANSPOSE at 4``, those
            that widen constants left out; empty where the sequences are equal.
        max_error: largest |first - second| over all outputs of ``images`` images.
        rms_error: root of the mean squared difference, over the first's output range.
        output_range: largest minus smallest output of the first.
        same_argmax: share of images whose largest output has the same place in both.
    """

    first: Side
    second: Side
    differences: tuple[str, ...]
    max_error: float
    rms_error: float
    output_range: float
    same_argmax: float
    images: int


def compare_models(
    first: bytes,
    second: bytes,
    *,
    exporters: tuple[str, str],
    images: Sequence[npt.NDArray[np.float32]] | None = None,
    seed: int = 0,
) -> Comparison:
    """Run two models on the same images, by default standard normal ones, and compare them.

    Args:
        images: ``(n, h, w, c)`` an input.

    Raises:
        DamagedModel: one of them cannot be run, or they take different images.
    """
    one, other = Runner(first), Runner(second)
    if one.inputs != other.inputs:
        raise DamagedModel(
            "expected two models of the same images, found"
            f" {' and '.join(map(str, one.inputs))} beside {' and '.join(map(str, other.inputs))}"
        )
    batches = images if images is not None else random_images(one.inputs, IMAGES, seed)
    a, b = (_outputs(runner, batches) for runner in (one, other))
    span = float(a.max() - a.min())
    return Comparison(
        first=_side(exporters[0], first),
        second=_side(exporters[1], second),
        differences=operator_differences(
            *(read_operators(data, of_constants=False) for data in (first, second))
        ),
        max_error=float(np.abs(a - b).max()),
        rms_error=float(np.sqrt(np.mean((a - b) ** 2)) / (span or 1.0)),
        output_range=span,
        same_argmax=float(np.mean(a.argmax(axis=1) == b.argmax(axis=1))),
        images=len(a),
    )


def operator_differences(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Return the shortest edits from one sequence of operators to the other, in words."""
    edits = []
    matcher = difflib.SequenceMatcher(a=first, b=second, autojunk=False)
    for kind, low, high, start, end in matcher.get_opcodes():
        if kind != "equal":
            edits += [f"- {name} at {low + i}" for i, name in enumerate(first[low:high])]
            edits += [f"+ {name} at {start + i}" for i, name in enumerate(second[start:end])]
    return tuple(edits)


def random_images(
    shapes: Sequence[Shape], n: int, seed: int = 0
) -> tuple[npt.NDArray[np.float32], ...]:
    """Return ``n`` standard normal images ``(n, h, w, c)`` for each shape."""
    rng = np.random.default_rng(seed)
    return tuple(
        rng.standard_normal((n, shape.height, shape.width, shape.channels), dtype=np.float32)
        for shape in shapes
    )


def _outputs(runner: Runner, batches: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Return all outputs of each image in one row."""
    rows = []
    for images in zip(*batches, strict=True):
        outputs = runner.run(*(image[None] for image in images))
        rows.append(np.concatenate([output.ravel() for output in outputs]))
    return np.stack(rows).astype(np.float64)


def _side(exporter: str, data: bytes) -> Side:
    return Side(exporter, read_operators(data), len(data), read_delegation(data).is_whole)
