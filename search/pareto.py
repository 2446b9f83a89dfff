"""Pareto front: the networks that no other one beats in both quality and latency."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def pareto_front(quality: npt.ArrayLike, latency_ms: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Return the indices of the non-dominated points, fastest first; n log n.

    A point dominates another if it is at least as good in both and better in one. Of equal
    points the first is kept.

    Args:
        quality: higher is better, shape ``(n,)``.
        latency_ms: lower is better, shape ``(n,)``.
    """
    quality, latency_ms = np.asarray(quality, float), np.asarray(latency_ms, float)
    if not quality.size:
        return np.empty(0, np.intp)
    order = np.lexsort((-quality, latency_ms))
    best_so_far = np.maximum.accumulate(quality[order])
    better = np.concatenate(([True], quality[order][1:] > best_so_far[:-1]))
    return order[better]


def hypervolume(
    quality: npt.ArrayLike, latency_ms: npt.ArrayLike, *, floor: float, ceiling_ms: float
) -> float:
    """Return the area dominated by the points within quality > floor, latency < ceiling.

    In units of quality times milliseconds; a larger area is a better front.
    """
    quality, latency_ms = np.asarray(quality, float), np.asarray(latency_ms, float)
    inside = np.flatnonzero((quality > floor) & (latency_ms < ceiling_ms))
    front = inside[pareto_front(quality[inside], latency_ms[inside])]
    widths = np.diff(latency_ms[front], append=ceiling_ms)
    return float(np.sum(widths * (quality[front] - floor)))
