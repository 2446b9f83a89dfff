"""Plots of tables: drift over versions, predicted against measured; the heat map is `block_plot`.

Each returns a figure that belongs to no window; `write_figure` makes a file of it. matplotlib is
imported when one is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latency_tables.difference import kind_of
from latency_tables.errors import TableError, Uncalibrated
from latency_tables.operator_pricing import predict_any
from latency_tables.table import LatencyTable
from latency_tables.validation import ValidatedNetwork
from networks.errors import NetworkError
from networks.names import find_network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's palette, told apart by colour-blind readers too
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREY = "#666666"
_SPREAD = (5, 95)  # percentiles of rows that a version's bar spans


def require_suffix(path: Path) -> None:
    """Check, before anything is computed, that a figure can be written as this file.

    Raises:
        TableError: its suffix is none of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise TableError(f"{path}: expected a file of {', '.join(SUFFIXES)}, found {path.suffix!r}")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file, as the suffix says.

    Raises:
        TableError: another suffix, or it cannot be written.
    """
    require_suffix(path)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise TableError(f"{path}: cannot be written: {error.strerror}") from error


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
        raise TableError(f"expected two versions of a table or more, found {len(versions)}")
    names, tables = list(versions), list(versions.values())
    places = np.arange(len(names))
    changes = [_changes(tables[0], table, name) for name, table in versions.items()]
    kinds = sorted({kind for layers, _ in changes for kind in np.unique(_kinds(layers)).tolist()})
    figure = Figure(figsize=(max(6.4, 2.5 + 0.55 * len(names)), 4.4), layout="constrained")
    ax = figure.subplots()
    bands = [anchor.band for anchor in tables[0].anchors]
    if bands:
        reach = 100 * max(bands)
        ax.axhspan(-reach, reach, color=_GREY, alpha=0.15, lw=0, label="no drift (anchors' band)")
    ax.axhline(0, color=_GREY, linewidth=1)
    for number, kind in enumerate(kinds):
        medians = [_median(change[_kinds(layers) == kind]) for layers, change in changes]
        ax.plot(
            places, medians, "o-", markersize=4, linewidth=1.2,
            color=_COLOURS[(number + 1) % len(_COLOURS)], label=kind,
        )  # fmt: skip
    low, middle, high = np.array(
        [np.percentile(change, [_SPREAD[0], 50, _SPREAD[1]]) for _, change in changes]
    ).T
    ax.errorbar(
        places, middle, yerr=[middle - low, high - middle], fmt="s-", color=_COLOURS[0],
        linewidth=2, elinewidth=1, capsize=3, label="all layers (5 % to 95 % of them)", zorder=1,
    )  # fmt: skip
    ax.set_xticks(places, names, rotation=45 if len(names) > 6 else 0)
    ax.set_xlabel("version of the table")
    ax.set_ylabel(f"latency against version {names[0]} (%)")
    ax.set_title(f"{tables[-1].name}: drift over versions", fontsize=12)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
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
    calibration, std = _calibration_points(table)
    seen = np.array([[p.measured_ms, p.predicted_ms] for p in validated]).reshape(-1, 2).T
    if not calibration.size and not seen.size:
        raise TableError(f"table {table.name!r} has no network to show: run hilnas table validate")
    figure = Figure(figsize=(6.4, 7.0), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, gridspec_kw={"height_ratios": (2.2, 1)})
    top = 1.06 * max(calibration.max(initial=0), seen.max(initial=0))
    upper.plot([0, top], [0, top], color=_GREY, linewidth=1, zorder=1)
    lower.axhline(0, color=_GREY, linewidth=1)
    known = np.array([np.nan if p.std_ms is None else p.std_ms for p in validated])
    groups = [
        (calibration, std, "^", _COLOURS[1], "calibration network"),
        (seen, known, "o", _COLOURS[0], "validated, never seen before"),
    ]
    for (measured, predicted), std_ms, marker, colour, label in groups:
        if not measured.size:
            continue
        reach = 1.645 * std_ms
        upper.errorbar(
            measured, predicted, yerr=reach, fmt=marker, color=colour, markersize=5,
            elinewidth=1, label=f"{label} ({measured.size})",
        )  # fmt: skip
        lower.errorbar(
            measured, 100 * (predicted / measured - 1), yerr=100 * reach / measured, fmt=marker,
            color=colour, markersize=5, elinewidth=1,
        )  # fmt: skip
    upper.set_ylabel("predicted by the table (ms)")
    upper.set_ylim(0, top)
    upper.set_xlim(0, top)
    upper.legend(frameon=False)
    lower.set_ylabel("error of the prediction (%)")
    lower.set_xlabel("measured end to end (ms)")
    figure.suptitle(f"{table.name}: whole networks", fontsize=12)
    return figure


def _calibration_points(table: LatencyTable) -> tuple[Floats, Floats]:
    """Return measured and predicted latencies, shape (2, n), and standard deviations, (n,)."""
    points, std = [], []
    for network in table.networks:
        try:
            prediction = predict_any(table, find_network(network.label))
        except (NetworkError, TableError):  # not a network's text, or a layer that is not priced
            continue
        points.append((network.latency_ms, prediction.latency_ms))
        std.append(np.nan if prediction.std_ms is None else prediction.std_ms)
    return np.array(points, dtype=float).reshape(-1, 2).T, np.array(std, dtype=float)
