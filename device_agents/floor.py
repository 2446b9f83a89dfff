"""Floors: what many visits to one model say its latency is, and whether they say it yet."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from device_agents.errors import NoVisits
from device_agents.measurement import Floor, ResidentPlan, Statistic, Visit


def hot_minimum_ns(visit: Visit, statistic: Statistic) -> int:
    """Return the smallest hot sample of this visit."""
    return min(visit.hot_cpu_ns if statistic == "thread-cpu-time" else visit.hot_wall_ns)


def cold_ns(visit: Visit, statistic: Statistic) -> int:
    """Return the first sample of this visit, on whatever the caches held."""
    return visit.cold_cpu_ns if statistic == "thread-cpu-time" else visit.cold_wall_ns


def summarize(visits: Sequence[Visit], statistic: Statistic, plan: ResidentPlan) -> Floor:
    """Return the floor of these visits to one model, in any order.

    Noise only ever adds time, and comes in phases of seconds, so the smallest minima of visits
    spread over time are the ones that met none; that several agree makes it likely.

    Raises:
        NoVisits: there are none.
    """
    if not visits:
        raise NoVisits("expected at least one visit, found none: measure the model first")
    best = sorted(visits, key=lambda v: hot_minimum_ns(v, statistic))[: plan.agree]
    minima = [hot_minimum_ns(visit, statistic) for visit in best]
    spread = (minima[-1] - minima[0]) / minima[0]
    starts = [visit.started_unix_s for visit in best]
    return Floor(
        hot_ns=fmean(minima),
        cold_ns=median(cold_ns(visit, statistic) for visit in visits),
        visits=len(visits),
        settled=len(visits) >= max(plan.min_visits, plan.agree)
        and spread <= plan.tolerance
        and max(starts) - min(starts) >= plan.min_span_s,
        spread=spread,
    )


def is_done(visits: Sequence[Visit], statistic: Statistic, plan: ResidentPlan) -> bool:
    """Return whether a model with these visits needs no more: settled, or at the maximum."""
    if len(visits) < plan.min_visits:
        return False
    return len(visits) >= plan.max_visits or summarize(visits, statistic, plan).settled
