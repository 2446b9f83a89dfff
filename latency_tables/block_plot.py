"""Block plot: the heat map of what each choice of each block of a space costs by a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latency_tables.calibration import calibrated_ms
from latency_tables.errors import TableError
from latency_tables.table import LatencyTable
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Decision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Floats = npt.NDArray[np.float64]
_MISSING = "#DDDDDD"
_SIZES = ("filters", "channels", "layers")  # decisions that go down


def plot_blocks(table: LatencyTable, space: ChainSpace) -> Figure:
    """Return the heat map of what each choice of each block costs, in milliseconds.

    A panel a block: across, what its layers are (operator, kernel, ...); down, how many there are
    and how wide, or the last decision of a block that has neither. A cell is the sum of the block's
    layers, the mean over the widths that may come in; grey where the table lacks one. All panels
    share one logarithmic scale of colours. Stem and head, which are no choice, are left out.

    Raises:
        TableError: the table prices no block of the space at all.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    panels = _panels(table, space)
    values = np.concatenate([panel.ms.ravel() for panel in panels])
    known = values[np.isfinite(values)]
    if not known.size:
        raise TableError(
            f"table {table.name!r}: expected layers of {space.name} at {space.image}, found none of"
            " its blocks; name the space and resolution that the table is of"
        )
    rows = sum(len(panel.down) for panel in panels)
    columns = max(len(panel.across) for panel in panels)
    figure = Figure(
        figsize=(max(7.0, 2.6 + 0.22 * columns), 2.2 + 0.155 * rows + 0.2 * len(panels)),
        layout="constrained",
    )
    axes = figure.subplots(
        len(panels), squeeze=False,
        gridspec_kw={"height_ratios": [len(panel.down) for panel in panels]},
    )[:, 0]  # fmt: skip
    norm = LogNorm(known.min(), known.max())
    for panel, ax in zip(panels, axes, strict=True):
        image = _draw_panel(ax, panel, norm)
        alike = panel is not panels[-1] and panel.across == panels[-1].across
        labels = [] if alike else panel.across  # once below all, where all blocks choose alike
        ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
        if panel.across_names and not alike:
            ax.set_xlabel(f"{', '.join(panel.across_names)} of the block's layers", fontsize=8)
    scale = "calibrated" if table.calibration is not None else "not calibrated"
    missing = "; grey: a layer has no row" if known.size < values.size else ""
    label = f"latency of the block (ms, {scale}{missing})"
    bar = figure.colorbar(image, ax=list(axes), label=label)
    bar.ax.yaxis.set_major_formatter("{x:g}")
    figure.suptitle(f"{table.name}: latency by block and choice", fontsize=12)
    return figure


@dataclass(frozen=True, slots=True)
class _Panel:
    """One block: ``ms`` has the shape (down, across), labels in the same order.

    A step is how many rows or columns one option of the first decision has.
    """

    name: str
    ms: Floats
    across: list[str]
    down: list[str]
    across_names: list[str]
    down_names: list[str]
    step_across: int
    step_down: int


def _panels(table: LatencyTable, space: ChainSpace) -> list[_Panel]:
    keys = [layer.key for layer in space.layers]
    calibrated = table.calibration is not None
    prices = calibrated_ms(table, space.layers) if calibrated else table.hot_ms(keys)
    blocks: dict[str, list[Decision]] = {}
    for decision in space.decisions:
        blocks.setdefault(decision.name.split(".")[0], []).append(decision)
    panels = []
    for (name, decisions), (numbers, counts) in zip(
        blocks.items(), space.block_layers(), strict=True
    ):
        numbers, counts = numbers[:, :2], counts[:, :2]  # first and repeated layer; no stem, head
        used = np.where(counts > 0, prices[numbers], 0.0)
        by_code = (used * counts).sum(axis=1)
        sizes = [len(decision.options) for decision in decisions]
        by_choice = by_code.reshape(-1, *sizes).mean(axis=0)
        panels.append(_panel(name, by_choice, decisions))
    return panels


def _panel(name: str, by_choice: Floats, decisions: Sequence[Decision]) -> _Panel:
    """Return the panel with sizes (filters, layers) down and everything else across."""
    short = [decision.name.split(".")[-1] for decision in decisions]
    down = [i for i, text in enumerate(short) if text in _SIZES] or [len(short) - 1]
    across = [i for i in range(len(short)) if i not in down]
    options_across = [decisions[i].options for i in across]
    options_down = [decisions[i].options for i in down]
    labels_down = _labels(options_down)
    return _Panel(
        name,
        np.transpose(by_choice, (*down, *across)).reshape(len(labels_down), -1),
        _labels(options_across),
        labels_down,
        [short[i] for i in across],
        [short[i] for i in down],
        _step(options_across),
        _step(options_down),
    )


def _step(options: Sequence[Sequence[str]]) -> int:
    return math.prod(len(texts) for texts in options[1:])


def _labels(options: Sequence[Sequence[str]]) -> list[str]:
    return ["  ".join(texts) for texts in product(*options)]


def _draw_panel(ax: Axes, panel: _Panel, norm: Normalize) -> AxesImage:
    ax.set_facecolor(_MISSING)
    image = ax.imshow(panel.ms, cmap="viridis", norm=norm, aspect="auto", interpolation="nearest")
    ax.set_yticks(range(len(panel.down)), panel.down, fontsize=6)
    down = ", ".join(panel.down_names)
    ax.set_ylabel(panel.name if down == panel.name else f"{panel.name}\n{down}", fontsize=8)
    ax.tick_params(axis="x", length=0)
    # lines where the first decision of either axis takes its next option
    for place in range(panel.step_across, len(panel.across), panel.step_across):
        ax.axvline(place - 0.5, color="white", linewidth=1.2)
    for place in range(panel.step_down, len(panel.down), panel.step_down):
        ax.axhline(place - 0.5, color="white", linewidth=0.6)
    return image
