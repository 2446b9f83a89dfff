"""Watching a run: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hilnas.console import progress_bar

if TYPE_CHECKING:
    from search.run import Progress

LEAST_S = 0.5
SHARE = 0.05
"""Seconds between two tables at least, and the share of a search's time that they may take."""


@contextlib.contextmanager
def watch_run(run: Path) -> Iterator[Callable[[Progress], None]]:
    """Yield what a search in ``run`` calls with its progress."""
    if sys.stderr.isatty():
        with _live_table(run) as show:
            yield show
        return
    with progress_bar() as update:

        def plain(now: Progress) -> None:
            best = "none yet" if now.best_quality is None else f"{now.best_quality:.4f}"
            failed = f", {now.failed} failed" if now.failed else ""
            update(now.told, now.budget, f"searching, best within the target {best}{failed}")

        yield plain


@contextlib.contextmanager
def _live_table(run: Path) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.live import Live

    from search.status import status_of, status_table

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        due_s = 0.0

        def show(now: Progress) -> None:
            nonlocal due_s
            started_s = time.monotonic()
            if started_s < due_s:
                return
            live.update(status_table(status_of(run)), refresh=True)
            ended_s = time.monotonic()
            due_s = ended_s + max(LEAST_S, (ended_s - started_s) / SHARE)

        yield show
