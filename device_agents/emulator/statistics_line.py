"""Statistic: the tool's words for many runs, in whole microseconds.

count=N first=F curr=C min=m max=M avg=A std=S        avg has six significant digits
count=N curr=C(all same)        count=1 curr=C        count=0
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(runs_us: Sequence[int]) -> float:
    """Return their mean, 0 of none."""
    return sum(runs_us) / len(runs_us) if runs_us else 0.0


def deviation(runs_us: Sequence[int]) -> int:
    """Return the standard deviation of a whole population, cut to whole microseconds."""
    middle = mean(runs_us)
    return int(math.sqrt(mean([round(1e3 * (run - middle) ** 2) for run in runs_us]) / 1e3))


def percentile(runs_us: Sequence[int], percent: int) -> int:
    """Return the run below which so many percent lie, 0 of none."""
    ordered = sorted(runs_us)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0


def statistic(runs_us: Sequence[int]) -> str:
    """Return the line without percentiles, as profiles have it."""
    count = f"count={len(runs_us)}"
    if not runs_us:
        return count
    first, last, low, high = runs_us[0], runs_us[-1], min(runs_us), max(runs_us)
    if len(runs_us) == 1:
        return f"{count} curr={last}"
    if low == high:
        return f"{count} curr={last}(all same)"
    return (
        f"{count} first={first} curr={last} min={low} max={high} "
        f"avg={mean(runs_us):g} std={deviation(runs_us)}"
    )


def statistic_with_percentiles(runs_us: Sequence[int]) -> str:
    """Return the line of a phase."""
    low, middle, high = (percentile(runs_us, percent) for percent in (5, 50, 95))
    return f"{statistic(runs_us)} p5={low} median={middle} p95={high}"
