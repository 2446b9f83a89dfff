"""Figures of tables and their files: which endings, which colours, written whole or refused.

A figure belongs to no window; matplotlib is imported when one is drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from latency_tables.errors import TableError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's palette, told apart by colour-blind readers too
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE = COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
)  # fmt: skip
GREY = "#666666"


def require_plottable(path: Path) -> None:
    """Check, before anything is measured or computed, that a figure can be written there.

    Raises:
        TableError: its suffix is none of ``SUFFIXES``, or there is no such folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise TableError(f"{path}: expected a file of {', '.join(SUFFIXES)}, found {path.suffix!r}")
    if not path.parent.is_dir():
        raise TableError(f"{path}: expected an existing folder, found none; make it first")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file, as the suffix says.

    Raises:
        TableError: another suffix, or it cannot be written.
    """
    require_plottable(path)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise TableError(f"{path}: cannot be written: {error.strerror}") from error
