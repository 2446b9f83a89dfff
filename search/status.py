"""RunStatus: where a run stands, read from its directory while another process may write to it.

    running     a process holds the run's lock
    stopped     none does, and some of the budget is left: it was interrupted, or gave up
    finished    every proposal of the budget has its result

What is read is what is committed: results are at most `search.trials.COMMIT_EVERY_S` older than the
run. Runs of format 1 are read too; they do not tell when networks were asked for, so have no rate.
"""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Literal

from search.aims import describe_bounds, latency_unit
from search.config import RunConfig
from search.run_directory import RunDirectory
from search.trials import FailedTrial, Trial, TrialStore

if TYPE_CHECKING:
    from rich.console import RenderableType

LEADERS = 5
RATED_BATCHES = 50
"""Batches whose pace is the run's; of the last ones."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a run stands.

    told            proposals that have a result, of ``budget``
    distinct        different networks among the proposals; ``failed`` of them have no quality
    last_failure    why the last of those failed
    per_minute      proposals a minute, of late; None while that is not known
    left_s          seconds until the budget is spent at that pace; None where nothing runs
    leaders         the best networks within the target and all limits, best first
    last            the last proposal that has a result
    """

    run: Path
    config: RunConfig
    state: Literal["running", "stopped", "finished"]
    told: int
    distinct: int
    failed: int
    last_failure: str | None
    per_minute: float | None
    leaders: tuple[Trial, ...]
    last: Trial | FailedTrial | None

    @property
    def best(self) -> Trial | None:
        """The best network within the target and all limits, None while none is."""
        return self.leaders[0] if self.leaders else None

    @property
    def left_s(self) -> float | None:
        """See the class."""
        if self.state != "running" or not self.per_minute:
            return None
        return (self.config.budget - self.told) / self.per_minute * 60

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON's values."""
        return {
            "run": str(self.run),
            "state": self.state,
            "trials": self.told,
            "budget": self.config.budget,
            "distinct": self.distinct,
            "failed": self.failed,
            "last_failure": self.last_failure,
            "per_minute": self.per_minute,
            "left_s": self.left_s,
            "target_ms": self.config.target_ms,
            "meets_target": self.best is not None,
            "best": None if self.best is None else _values(self.best),
            "last": None if self.last is None else _values(self.last),
        }


def status_of(run: Path) -> RunStatus:
    """Return where a run stands.

    Raises:
        NotARun, StoreError: it cannot be read.
    """
    directory = RunDirectory(run)
    config, _ = directory.config()
    is_held = _is_held(run / "lock")  # before the trials: a run that ends meanwhile has them all
    with closing(directory.trials(writable=False)) as store:
        told, distinct = store.select(
            "SELECT count(*), count(*) FILTER (WHERE number = first) FROM trial"
        )[0]
        failures = store.select("SELECT reason FROM result WHERE status != 'ok' ORDER BY rowid")
        is_done = told >= config.budget
        return RunStatus(
            run=run,
            config=config,
            state="finished" if is_done else "running" if is_held else "stopped",
            told=told,
            distinct=distinct,
            failed=len(failures),
            last_failure=failures[-1][0] if failures else None,
            per_minute=_per_minute(store),
            leaders=_leaders(store, config),
            last=next(iter(store.trials("ORDER BY number DESC LIMIT 1")), None),
        )


def format_status(status: RunStatus) -> str:
    """Return it in a few lines of text."""
    lines = [f"{status.run}: {_headline(status)}", _counts(status)]
    if status.best is None:
        lines.append(f"best: none yet within {describe_bounds(status.config) or 'the limits'}")
    else:
        lines.append(f"best: {_words(status.best, status.config)}, trial {status.best.number}")
    if status.last is not None:
        lines.append(f"last: {_words(status.last, status.config)}, trial {status.last.number}")
    return "\n".join(lines)


def status_table(status: RunStatus) -> RenderableType:
    """Return it as a picture for a terminal: a bar, counts, and the best networks so far."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="left")
    for name in ("trial", "quality", f"latency, {latency_unit(status.config)}", "reward"):
        table.add_column(name, justify="right")
    rows = [(f"{place}", trial) for place, trial in enumerate(status.leaders, start=1)]
    for label, trial in (*rows, *([("last", status.last)] if status.last else [])):
        if isinstance(trial, Trial):
            cells: list[str | Text] = [
                f"{trial.quality:.4f}",
                _latency(trial),
                f"{trial.reward:.4f}",
            ]
        else:
            cells = [Text("failed: " + trial.reason, overflow="ellipsis", no_wrap=True)]
        table.add_row(label, str(trial.number), *cells)
    bar = ProgressBar(total=status.config.budget, completed=status.told, width=40)
    note = (
        []
        if status.leaders
        else [Text(f"none yet within {describe_bounds(status.config) or 'the limits'}")]
    )
    return Group(Text(_headline(status)), bar, Text(_counts(status)), *note, table)


def _headline(status: RunStatus) -> str:
    words = [status.state, f"{status.told} of {status.config.budget} proposals"]
    if status.state != "finished" and status.per_minute:
        words.append(f"{status.per_minute:.3g} a minute")
    if status.left_s is not None:
        words.append(f"{_duration(status.left_s)} left")
    return ", ".join(words)


def _counts(status: RunStatus) -> str:
    failed = f"{status.failed} failed"
    if status.last_failure is not None:
        failed += f", the last one: {status.last_failure}"
    return f"{status.distinct} networks, {failed}"


def _words(trial: Trial | FailedTrial, config: RunConfig) -> str:
    if isinstance(trial, FailedTrial):
        return f"failed: {trial.reason}"
    unit = latency_unit(config)
    return f"quality {trial.quality:.4f} at {_latency(trial)} {unit}, reward {trial.reward:.4f}"


def _latency(trial: Trial) -> str:
    """Return milliseconds, with half of the 90 % interval where it is known."""
    if trial.interval_ms is None:
        return f"{trial.latency_ms:.3f}"
    return f"{trial.latency_ms:.3f} ± {trial.interval_ms[1] - trial.latency_ms:.3f}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _values(trial: Trial | FailedTrial) -> dict[str, object]:
    about: dict[str, object] = {"number": trial.number, "genotype": list(trial.genotype)}
    if isinstance(trial, FailedTrial):
        return {**about, "status": "failed", "reason": trial.reason}
    return {
        **about,
        "status": "ok",
        "quality": trial.quality,
        "latency_ms": trial.latency_ms,
        "latency_std_ms": trial.latency_std_ms,
        "reward": trial.reward,
    }


def _leaders(store: TrialStore, config: RunConfig) -> tuple[Trial, ...]:
    clause, values = "WHERE number = first AND status = 'ok' AND violation = 0", list[object]()
    order = "reward"
    if config.target_ms is not None:
        clause, order = clause + " AND latency_ms <= ?", "quality"
        values.append(config.target_ms)
    found = store.trials(
        f"{clause} ORDER BY {order} DESC, latency_ms, number LIMIT {LEADERS}", values
    )
    return tuple(trial for trial in found if isinstance(trial, Trial))


def _per_minute(store: TrialStore) -> float | None:
    """Return the pace of the last batches; the time that a run stood still does not count."""
    batches: Sequence[tuple[float | None, int]] = store.select(
        "SELECT min(asked_unix_s), count(*) FROM proposal GROUP BY batch ORDER BY batch DESC"
        f" LIMIT {RATED_BATCHES}"
    )
    asked_s = [at_s for at_s, _ in reversed(batches) if at_s is not None]
    gaps_s = [later - before for before, later in pairwise(asked_s)]
    if not gaps_s or (typical_s := median(gaps_s)) <= 0:
        return None
    return 60 * mean(count for _, count in batches[1:]) / typical_s


def _is_held(lock: Path) -> bool:
    """Return whether a process writes to the run; its lock is shared for a moment to find out."""
    try:
        stream = lock.open(encoding="utf-8")
    except OSError:
        return False
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
