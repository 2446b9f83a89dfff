"""Floors: what many visits to one model say its latency is, and whether they say it yet.

    minimum of a visit  x  reference pace / pace of that visit  -->  mean of the faster half

A core is 5 % slower for a second or so now and then (clock, neighbours, hypervisor), all models
alike: minima of few visits agree on a slow phase as readily as on a fast one. The pace tells them
apart. Measured on a busy two-core host, 200 layers, two sessions, one of which met no fast phase:
floors within 3 % of each other for 9 % of the layers without it, for 98.5 % with it.

A correction errs both ways, so what is corrected is averaged over the faster half, and of the
smallest, which must agree, one visit in twelve is passed over; what has no pace errs upwards only,
and the mean is over the ``agree`` smallest. A visit at less than 1 / 1.1 of the core's best pace is
set aside, since the correction no longer holds there. Measured on three sessions of 1,621 layers,
two at a time: without both, floors within 3 % of each other for 94-97 % of the layers, and 5-21 %
of the layers unsettled after 60 visits though they repeat as well as the others; with both, 97-98 %
and under 1 %, in two thirds of the visits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median

from device_agents.errors import NoVisits
from device_agents.measurement import Floor, ResidentPlan, Statistic, Visit
from device_agents.timing_batch import (
    PACE_QUANTILE,
    clean_minimum_ns,
    spread_of,
    steady_shares,
)


def reference_pace_ns(visits: Iterable[Visit]) -> int | None:
    """Return the pace of the core at its fastest, as seen by these visits to any models.

    ``None`` when no visit has a pace, or only some have.
    """
    return fastest_pace_ns(visit.pace_ns for visit in visits)


def fastest_pace_ns(paces_ns: Iterable[int | None]) -> int | None:
    """Return the `reference_pace_ns` of visits with these paces."""
    paces = list(paces_ns)
    known = sorted(pace for pace in paces if pace is not None)
    if not known or len(known) < len(paces):
        return None
    return known[int(PACE_QUANTILE * len(known))]


def hot_minimum_ns(visit: Visit, statistic: Statistic) -> int:
    """Return the smallest hot sample of this visit that nothing interrupted."""
    if statistic == "wall-time":
        return min(visit.hot_wall_ns)
    return clean_minimum_ns(visit.hot_wall_ns, visit.hot_cpu_ns)


def paced_minima(
    visits: Sequence[Visit],
    statistic: Statistic,
    plan: ResidentPlan,
    *,
    pace_ns: int | None = None,
) -> list[float]:
    """Return the minima of the visits that count, at one pace of the core, smallest first.

    Those of a slow phase are left out; without a pace, all are as they were measured.
    """
    own_ns = reference_pace_ns(visits)
    minima_ns = [hot_minimum_ns(visit, statistic) for visit in visits]
    if own_ns is None:
        return sorted(map(float, minima_ns))
    paces_ns = [visit.pace_ns or own_ns for visit in visits]
    shares = steady_shares(list(zip(minima_ns, paces_ns, strict=True)), own_ns, plan.agree)
    return sorted(share * (pace_ns or own_ns) for share in shares)


def summarize(
    visits: Sequence[Visit],
    statistic: Statistic,
    plan: ResidentPlan,
    *,
    pace_ns: int | None = None,
) -> Floor:
    """Return the floor of these visits to one model, in any order.

    ``pace_ns`` is the pace that the floor is stated at: the `reference_pace_ns` of everything
    that it will be compared with. Without it, it is that of these visits alone.

    Raises:
        NoVisits: there are none.
    """
    if not visits:
        raise NoVisits("expected at least one visit, found none: measure the model first")
    minima = paced_minima(visits, statistic, plan, pace_ns=pace_ns)
    own_ns = reference_pace_ns(visits)
    if own_ns is None:
        count, reference_ns = plan.agree, None
        spread = (minima[: plan.agree][-1] - minima[0]) / minima[0]
    else:
        count, reference_ns = max(plan.agree, len(minima) // 2), pace_ns or own_ns
        spread = spread_of(minima, plan.agree)
    return Floor(
        hot_ns=fmean(minima[:count]),
        cold_ns=median(_cold_ns(v, statistic) * _correction(v, reference_ns) for v in visits),
        visits=len(visits),
        settled=len(visits) >= max(plan.min_visits, plan.agree) and spread <= plan.tolerance,
        spread=spread,
    )


def is_done(visits: Sequence[Visit], statistic: Statistic, plan: ResidentPlan) -> bool:
    """Return whether a model with these visits needs no more: settled, or at the maximum."""
    if len(visits) < plan.min_visits:
        return False
    return len(visits) >= plan.max_visits or summarize(visits, statistic, plan).settled


def _cold_ns(visit: Visit, statistic: Statistic) -> int:
    return visit.cold_cpu_ns if statistic == "thread-cpu-time" else visit.cold_wall_ns


def _correction(visit: Visit, reference_ns: int | None) -> float:
    if reference_ns is None or visit.pace_ns is None:
        return 1.0
    return reference_ns / visit.pace_ns
