"""Plots: from plain numbers to SVG text, for reports. matplotlib is imported when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latency_tables.figures import COLOURS, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A whole network: what the table says beside what the device took."""

    name: str
    madds: int
    predicted_ms: float
    measured_ms: float


def plot_predictions(networks: Sequence[MeasuredNetwork]) -> str:
    """Return table against measurement beside MAdds against measurement."""
    measured = np.array([n.measured_ms for n in networks])
    with _figure(9.6, 4.2, columns=2) as (figure, (left, right)):
        panels: list[tuple[Axes, Floats, str]] = [
            (left, np.array([n.predicted_ms for n in networks]), "predicted by the table (ms)"),
            (right, np.array([n.madds / 1e6 for n in networks]), "multiply-adds (millions)"),
        ]
        for axes, values, label in panels:
            axes.scatter(values, measured, color=COLOURS[0], zorder=3)
            axes.set_xlabel(label)
            axes.set_ylabel("measured end to end (ms)")
            axes.set_xlim(0, values.max() * 1.18)
            axes.set_ylim(0, measured.max() * 1.12)
            for network, x, y in zip(networks, values, measured, strict=True):
                axes.annotate(
                    network.name, (x, y), xytext=(5, -3), textcoords="offset points", fontsize=7
                )
        top = float(measured.max())
        left.plot([0, top], [0, top], color=GREY, linewidth=1, zorder=1)
        return _svg(figure)


def plot_latencies(
    latencies_ms: Floats,
    counts: npt.NDArray[np.integer],
    *,
    target_ms: float,
    marks: Mapping[str, float] | None = None,
) -> str:
    """Return the distribution of a space's latencies, with the target and marked networks.

    Args:
        latencies_ms, counts: how many networks have which latency, shape ``(n,)`` each.
    """
    with _figure(9.6, 3.4) as (figure, (axes,)):
        weights = counts.astype(np.float64)
        axes.hist(latencies_ms, bins=120, weights=weights, color=COLOURS[5], density=True)
        axes.axvline(target_ms, color=COLOURS[1], label=f"target {target_ms:.2f} ms")
        for colour, (name, latency_ms) in zip(COLOURS[2:], (marks or {}).items(), strict=False):
            axes.axvline(latency_ms, color=colour, linestyle="--", label=name)
        axes.set_xlabel("predicted latency (ms)")
        axes.set_ylabel("density of networks")
        axes.set_xlim(0, None)
        axes.legend(frameon=False)
        return _svg(figure)


def plot_curves(curves: Mapping[str, Sequence[Floats]], *, quality: str) -> str:
    """Return the best quality within the target over distinct evaluations.

    Args:
        curves: by searcher, one curve a seed; element i is the best after i + 1 distinct
            networks, NaN while none met the target. Several seeds give a mean and a band; a seed
            that never met the target is left out, and counted beside the name.
    """
    with _figure(9.6, 4.2) as (figure, (axes,)):
        finals = []
        for colour, (name, runs) in zip(COLOURS, curves.items(), strict=False):
            met = [run for run in runs if np.isfinite(run).any()]
            if not met:
                axes.plot([], [], color=colour, label=f"{name}: none within the target")
                continue
            length = min(map(len, met))
            stacked = np.stack([run[:length] for run in met])
            label = name if len(met) == len(runs) else f"{name} ({len(met)} of {len(runs)} seeds)"
            known = np.isfinite(stacked).all(axis=0)
            steps, stacked = np.flatnonzero(known) + 1, stacked[:, known]
            axes.plot(
                steps, stacked.mean(axis=0), color=colour, label=label, drawstyle="steps-post"
            )
            if len(met) > 1:
                axes.fill_between(
                    steps, stacked.min(axis=0), stacked.max(axis=0), color=colour, alpha=0.15,
                    step="post", linewidth=0,
                )  # fmt: skip
            if steps.size:
                finals.append(stacked[:, steps.size // 20 :].min())
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("distinct networks evaluated")
        axes.set_ylabel(f"best {quality} within the target")
        if finals:
            axes.set_ylim(bottom=min(finals))
        axes.legend(frameon=False, loc="lower right")
        return _svg(figure)


def plot_front(
    clouds: Mapping[str, tuple[Floats, Floats]],
    fronts: Mapping[str, tuple[Floats, Floats]],
    *,
    target_ms: float | None,
    quality: str,
    latency: str = "predicted latency (ms)",
    best: tuple[float, float] | None = None,
    reaches_ms: Mapping[str, Floats] | None = None,
) -> str:
    """Return all evaluated networks and the fronts, as latency against quality.

    Args:
        clouds, fronts: by searcher, latencies in ms and qualities, shape ``(n,)`` each.
        latency: what the latency is, for its axis.
        best: latency in ms and quality of the run's best network, if there is one.
        reaches_ms: half of the interval of each latency of a front, by searcher.
    """
    with _figure(9.6, 4.6) as (figure, (axes,)):
        for colour, (name, (latency_ms, value)) in zip(COLOURS, clouds.items(), strict=False):
            axes.scatter(
                latency_ms, value, s=4, color=colour, alpha=0.12, linewidth=0, rasterized=True
            )
            if name in fronts:
                axes.plot(*fronts[name], color=colour, marker="o", markersize=3, label=name)
                if reaches_ms is not None and name in reaches_ms:
                    axes.errorbar(
                        *fronts[name], xerr=reaches_ms[name], color=colour, fmt="none",
                        elinewidth=0.8, capsize=1.5, alpha=0.7,
                    )  # fmt: skip
        if target_ms is not None:
            axes.axvline(target_ms, color=GREY, linestyle="--", label=f"target {target_ms:.2f} ms")
        if best is not None:
            axes.scatter(*best, marker="*", s=180, color="black", zorder=5, label="best")
        axes.set_xlabel(latency)
        axes.set_ylabel(quality)
        axes.legend(frameon=False, loc="lower right")
        return _svg(figure)


def plot_progress(panels: Mapping[str, tuple[Floats, Floats]], *, steps: str) -> str:
    """Return a small plot a number, side by side, over one kind of step.

    Args:
        panels: by what is shown, steps and values, shape ``(n,)`` each.
        steps: what the steps count.
    """
    with _figure(9.6, 2.6, columns=len(panels)) as (figure, all_axes):
        for axes, (name, (x, y)) in zip(all_axes, panels.items(), strict=True):
            axes.plot(x, y, color=COLOURS[0], linewidth=1.2)
            axes.set_xlabel(steps)
            axes.set_title(name, fontsize=9)
        return _svg(figure)


def plot_intervals(rows: Sequence[tuple[str, Sequence[float], float, float, float]]) -> str:
    """Return one line a network: each seed's accuracy, the mean and its interval.

    Args:
        rows: name, accuracies of the seeds, mean, low and high end, all in [0, 1].
    """
    with _figure(9.6, 0.9 + 0.5 * len(rows)) as (figure, (axes,)):
        for y, (_, seeds, mean, low, high) in enumerate(reversed(rows)):
            axes.plot([100 * low, 100 * high], [y, y], color=COLOURS[0], linewidth=2)
            axes.scatter([100 * s for s in seeds], [y] * len(seeds), s=14, color=GREY, zorder=3)
            axes.scatter([100 * mean], [y], s=50, marker="D", color=COLOURS[0], zorder=4)
        axes.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel("test accuracy (%): seeds, mean and interval")
        return _svg(figure)


def plot_layers(layers: Sequence[tuple[str, float]]) -> str:
    """Return a bar a layer, in order of execution: its key's text and its milliseconds."""
    with _figure(9.6, 0.9 + 0.24 * len(layers)) as (figure, (axes,)):
        names, times = [name for name, _ in layers], [time for _, time in layers]
        axes.barh(range(len(layers)), times, color=COLOURS[0])
        axes.set_yticks(range(len(layers)), names, fontsize=7)
        axes.invert_yaxis()
        axes.set_xlabel("predicted time (ms)")
        return _svg(figure)


@contextmanager
def _figure(
    width: float, height: float, *, columns: int = 1
) -> Iterator[tuple[object, tuple[Axes, ...]]]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "axes.axisbelow": True,
        "svg.fonttype": "none",
        "svg.hashsalt": "hilnas",
    }
    with rc_context(style):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, columns, squeeze=False)
        yield figure, tuple(axes[0])


def _svg(figure: object) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})  # type: ignore[attr-defined]
    return text.getvalue()[text.getvalue().index("<svg") :]
