"""Plots of tables: drift over versions, predicted against measured; the heat map is `block_plot`.

Each returns a figure; `figures.write_figure` makes a file of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latency_tables.difference import kind_of
from latency_tables.errors import TableError, Uncalibrated
from latency_tables.figures import COLOURS, GREY
from latency_tables.operator_pricing import predict_any
from latency_tables.table import LatencyTable
from latency_tables.validation import ValidatedNetwork
from networks.errors import NetworkError
from networks.names import find_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
_SPREAD = (5, 95)  # percentiles of rows that a version's bar spans


def plot_drift(versions: Mapping[str, LatencyTable]) -> Figure:
    """Return how rows of each version stand to those of the first: medians, and rows' spread.

    The grey band is the widest that an anchor of the first version has: what one session may
    differ by and still be no drift.

    Args:
        versions: at least two of one condition, oldest first, by what the axis calls them.

    Raises:
        TableError: fewer, or a version has no layer in common with the first.
    """
    from matplotlib.figure import Figure

    if len(versions) < 2:
        raise TableError(
            f"expected two versions of a table or more, found {len(versions)}; hilnas refresh, or"
            " hilnas profile again, makes one where a row has changed"
        )
    names, tables = list(versions), list(versions.values())
    places = np.arange(len(names))
    changes = [_changes(tables[0], table, name) for name, table in versions.items()]
    kinds = sorted({kind for layers, _ in changes for kind in np.unique(_kinds(layers)).tolist()})
    figure = Figure(figsize=(max(6.4, 1.5 + 0.55 * len(names)), 5.0), layout="constrained")
    ax = figure.subplots()
    bands = [anchor.band for anchor in tables[0].anchors]
    if bands:
        reach = 100 * max(bands)
        ax.axhspan(-reach, reach, color=GREY, alpha=0.15, lw=0, label="no drift (anchors' band)")
    ax.axhline(0, color=GREY, linewidth=1)
    for number, kind in enumerate(kinds):
        medians = [_median(change[_kinds(layers) == kind]) for layers, change in changes]
        ax.plot(
            places, medians, "o-", markersize=4, linewidth=1.2,
            color=COLOURS[(number + 1) % len(COLOURS)], label=kind,
        )  # fmt: skip
    low, middle, high = np.array(
        [np.percentile(change, [_SPREAD[0], 50, _SPREAD[1]]) for _, change in changes]
    ).T
    ax.errorbar(
        places, middle, yerr=[middle - low, high - middle], fmt="s-", color=COLOURS[0],
        linewidth=2, elinewidth=1, capsize=3, label="all layers, bars 5 % to 95 %", zorder=1,
    )  # fmt: skip
    ax.set_xticks(places, names, rotation=45 if len(names) > 6 else 0)
    ax.set_xlabel("version of the table")
    ax.set_ylabel(f"latency against version {names[0]} (%)")
    ax.set_title(f"{tables[-1].name}: drift over versions", fontsize=12)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _changes(first: LatencyTable, table: LatencyTable, name: str) -> tuple[list[str], Floats]:
    """Return the layers that both price, and by how many percent the second is slower."""
    layers = [layer for layer in table.rows["layer"].to_pylist() if layer in first]
    if not layers:
        raise TableError(f"version {name} has no layer in common with the first; compare others")
    return layers, 100 * (table.hot_ms(layers) / first.hot_ms(layers) - 1)


def _kinds(layers: Sequence[str]) -> npt.NDArray[np.str_]:
    return np.array([kind_of(layer) for layer in layers])


def _median(values: Floats) -> float:
    return float(np.median(values)) if values.size else float("nan")


def plot_networks(table: LatencyTable, validated: Sequence[ValidatedNetwork] = ()) -> Figure:
    """Return predicted against measured latencies of whole networks, and the errors below.

    Calibration networks tied the sums to the truth, so they look better than they are;
    ``validated`` ones were never seen. Bars are 90 % intervals where the table gives them.

    Raises:
        Uncalibrated: the table has no scale.
        TableError: it has no network to show.
    """
    from matplotlib.figure import Figure

    if table.calibration is None:
        raise Uncalibrated(table.name)
    seen = [_Point(p.measured_ms, p.predicted_ms, p.interval_ms) for p in validated]
    calibration = _calibration_points(table)
    if not calibration and not seen:
        raise TableError(f"table {table.name!r} has no network to show: run hilnas table validate")
    figure = Figure(figsize=(6.4, 7.0), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, gridspec_kw={"height_ratios": (2.2, 1)})
    top = 1.06 * max(max(p.measured_ms, p.predicted_ms) for p in (*calibration, *seen))
    upper.plot([0, top], [0, top], color=GREY, linewidth=1, zorder=1)
    lower.axhline(0, color=GREY, linewidth=1)
    for points, marker, colour, label in (
        (calibration, "^", COLOURS[1], "calibration network"),
        (seen, "o", COLOURS[0], "validated, never seen before"),
    ):
        if points:
            _draw_points(upper, lower, points, marker, colour, f"{label} ({len(points)})")
    upper.set(ylabel="predicted by the table (ms)", xlim=(0, top), ylim=(0, top))
    upper.legend(frameon=False)
    lower.set(ylabel="error of the prediction (%)", xlabel="measured end to end (ms)")
    figure.suptitle(f"{table.name}: whole networks", fontsize=12)
    return figure


@dataclass(frozen=True, slots=True)
class _Point:
    """One network; the interval is where the table expects another session's value."""

    measured_ms: float
    predicted_ms: float
    interval_ms: tuple[float, float] | None


def _calibration_points(table: LatencyTable) -> list[_Point]:
    points = []
    for network in table.networks:
        try:
            prediction = predict_any(table, find_network(network.label))
        except (NetworkError, TableError):  # no network's text, or a layer that is not priced
            continue
        points.append(_Point(network.latency_ms, prediction.latency_ms, prediction.interval()))
    return points


def _draw_points(
    upper: Axes, lower: Axes, points: Sequence[_Point], marker: str, colour: str, label: str
) -> None:
    measured = np.array([p.measured_ms for p in points])
    predicted = np.array([p.predicted_ms for p in points])
    ends = np.array([p.interval_ms or (p.predicted_ms, p.predicted_ms) for p in points]).T
    reach = np.abs(ends - predicted)
    relative = measured / 100
    for axes, values, scale in (
        (upper, predicted, np.ones(len(points))),
        (lower, (predicted - measured) / relative, relative),
    ):
        axes.errorbar(
            measured, values, yerr=reach / scale, fmt=marker, color=colour, markersize=5,
            elinewidth=1, label=label,
        )  # fmt: skip
