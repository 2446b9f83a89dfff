"""Validation plot: predicted against measured, and the error of each network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latency_tables.figures import BLUE, GREY, VERMILION
from latency_tables.validation import Validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_validation(validation: Validation, *, title: str) -> Figure:
    """Return the figure: identity line and intervals left, errors and repeatability right.

    Bars are 90 % intervals of the table around its predictions; the two passes are the ends of a
    measured network's line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(title)
    _plot_latencies(left, validation)
    _plot_errors(right, validation)
    return figure


def _plot_latencies(axes: Axes, validation: Validation) -> None:
    points = validation.points
    measured = np.array([p.measured_ms for p in points])
    predicted = np.array([p.predicted_ms for p in points])
    ends = np.array([0, 1.06 * max(measured.max(), predicted.max())])
    band = validation.repeatability_pct / 100
    axes.fill_between(ends, ends * (1 - band), ends * (1 + band), color=GREY, alpha=0.25, lw=0)
    axes.plot(ends, ends, color=GREY, linewidth=1)
    axes.errorbar(
        measured, predicted, yerr=_reach(validation), fmt="o", markersize=4, color=BLUE, lw=1
    )
    axes.set(
        xlabel="measured end to end (ms)", ylabel="predicted by the table (ms)",
        xlim=ends, ylim=ends, aspect="equal",
    )  # fmt: skip
    axes.set_title(
        f"Spearman {validation.spearman:.3f}, MAPE {validation.mape_pct:.2f} %", fontsize=10
    )


def _plot_errors(axes: Axes, validation: Validation) -> None:
    points = validation.points
    measured = np.array([p.measured_ms for p in points])
    predicted = np.array([p.predicted_ms for p in points])
    passes = np.array([(p.first_ms, p.second_ms) for p in points])
    errors = 100 * (passes / predicted[:, None] - 1)
    band = validation.repeatability_pct
    axes.axhspan(-band, band, color=GREY, alpha=0.25, lw=0)
    axes.axhline(0, color=GREY, linewidth=1)
    reach = _reach(validation)
    axes.errorbar(
        measured, np.zeros(len(points)), yerr=None if reach is None else 100 * reach / predicted,
        fmt="none", ecolor=BLUE, elinewidth=1, capsize=2,
    )  # fmt: skip
    axes.vlines(measured, errors.min(axis=1), errors.max(axis=1), color=VERMILION, linewidth=1)
    for number, marker in enumerate("o^"):
        axes.plot(
            measured, errors[:, number], marker, color=VERMILION, markersize=4,
            label=f"pass {number + 1}",
        )  # fmt: skip
    axes.set(xlabel="measured end to end (ms)", ylabel="measured / predicted - 1 (%)")
    inside = validation.inside_pct
    axes.set_title(
        f"repeatability {band:.2f} % (grey)"
        + ("" if inside is None else f", {inside:.0f} % inside 90 % intervals"),
        fontsize=10,
    )
    axes.legend(frameon=False)


def _reach(validation: Validation) -> np.ndarray | None:
    """Return how far intervals reach below and above predictions, ``(2, n)``, if all are known."""
    known = [p.interval_ms for p in validation.points]
    predicted = np.array([p.predicted_ms for p in validation.points])
    intervals = [interval for interval in known if interval is not None]
    if len(intervals) < len(known):
        return None
    low, high = np.array(intervals).T
    return np.array([predicted - low, high - predicted])
