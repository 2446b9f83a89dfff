"""Plot of a space's latency distribution: the share of networks by latency, with a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latency_tables.exact_counts import Distribution
from latency_tables.figures import BLUE, SKY_BLUE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 160
_INSIDE, _OUTSIDE, _TARGET = BLUE, SKY_BLUE, VERMILION


def plot_distribution(
    networks: Distribution,
    target_ms: float,
    *,
    title: str,
    target_range_ms: tuple[float, float] | None = None,
) -> Figure:
    """Return the share of networks by latency, those within the target darker.

    Args:
        target_range_ms: what the target may mean by the scale's interval, drawn as a band.
    """
    from matplotlib.figure import Figure

    n_steps, step_ms = len(networks.counts), networks.grid.step_ms
    split = min(max(0, networks.grid.steps(target_ms) + 1), n_steps)
    edges = np.unique(np.append(np.linspace(0, n_steps, BINS + 1), split).round().astype(np.int64))
    upto = np.append(0, networks.cumulative)[edges].astype(np.float64) / networks.total
    width_ms = step_ms * max(1.0, n_steps / BINS)
    # of equal width but the two that meet at the target: each is drawn as if it had that width
    percent = 100 * np.diff(upto) * width_ms / (step_ms * np.diff(edges))
    share = networks.within(target_ms) / networks.total
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for part, colour in ((edges[1:] <= split, _INSIDE), (edges[1:] > split, _OUTSIDE)):
        left_ms, widths_ms = step_ms * edges[:-1][part], step_ms * np.diff(edges)[part]
        axes.bar(left_ms, percent[part], widths_ms, align="edge", color=colour)
    if target_range_ms is not None:
        axes.axvspan(*target_range_ms, color=_TARGET, alpha=0.25, linewidth=0)
    label = f"target {target_ms:g} ms: {100 * share:.3g} % of {networks.total:.3g} networks"
    axes.axvline(target_ms, color=_TARGET, label=label)
    axes.set_xlabel("mean latency by the table (ms)")
    axes.set_ylabel(f"% of networks in each {width_ms:.2g} ms")
    axes.set_xlim(0, max(step_ms * n_steps, 1.02 * target_ms))
    axes.set_title(title, loc="left", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, loc="best")
    return figure
