"""Intervals: where an independent session's value of each row would lie, 90 %.

    visits of a row --> scatter of one visit, s, shrunk towards rows of like latency
    value x exp(+- t x r sqrt(1 + 1/m)),   r = SESSION x s where only one session is known

What makes one visit differ from the next (memory, neighbours, the core's state) is much the same
that makes one session differ from the next, and it does not average out over the visits of a
session: the error of a floor by jackknife is less than half of how sessions differ. So a
session's value is taken to scatter by ``SESSION`` times the scatter of one visit (less for whole
networks, whose visits differ more), with Student's distribution of ``FREEDOM`` degrees, as the
differences have heavier tails than normal ones. ``m`` sessions make up the value, hence 1/m; each
session beyond the first that is known adds a degree of freedom, and its value to the estimate of r.

The constants fit the differences of two profiles of 1,621 layers, and of two passes over 160
networks, on one machine. They have no unit, so that a restless device widens its own intervals;
`benchmarks.row_intervals` holds them against sessions and conditions that did not set them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from latency_tables.table import LEVEL, Floats

SESSION = 0.70
SESSION_OF_NETWORKS = 0.52
FREEDOM = 4
SHRINK_VISITS = 12  # rows of like latency weigh as much as so many visits of the row itself
ALIKE = 101  # how many rows are of like latency
LEAST_VISITS = 3  # that tell of a scatter
_QUARTILES = 1.349  # apart, in standard deviations of a normal distribution


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one row's value: all positive, in one unit.

    visits      the values of the visits that it is made of
    sessions    the values of all sessions that visited it enough, older ones too
    used        of how many sessions its own visits are
    """

    value: float
    visits: Sequence[float]
    sessions: Sequence[float] = ()
    used: int = 1


Interval = tuple[float, float]


def intervals(
    rows: Sequence[Evidence], *, session: float = SESSION, common_std: float = 0.0
) -> list[Interval | None]:
    """Return where another session's value of each row lies with 90 %, None where nothing tells.

    Args:
        rows: of one table and one kind of model, as they tell of each other.
        session: scatter of a session's value, in scatters of one visit.
        common_std: relative standard deviation, from session to session, of a factor of all rows.
    """
    from scipy.special import stdtrit

    if not rows:
        return []
    scatter = visit_scatter(rows)
    if scatter is None:
        return [None] * len(rows)
    more = np.array([max(0, len(row.sessions) - 1) for row in rows])
    between = np.array([_variance(row.sessions) for row in rows])
    variance = (FREEDOM * (session * scatter) ** 2 + more * between) / (FREEDOM + more)
    quantile = (1 + LEVEL) / 2
    student = stdtrit(FREEDOM + more, quantile)
    used = np.array([row.used for row in rows])
    reach = np.hypot(
        student * np.sqrt(variance * (1 + 1 / used)), NormalDist().inv_cdf(quantile) * common_std
    )
    values = np.array([row.value for row in rows])
    ends = zip(values * np.exp(-reach), values * np.exp(reach), strict=True)
    return [(float(low), float(high)) for low, high in ends]


def visit_scatter(rows: Sequence[Evidence]) -> Floats | None:
    """Return the relative standard deviation of one visit, shape ``(n,)``; None if nothing tells.

    From the quartiles of a row's visits, which a few disturbed ones do not move. Few visits say
    little: their variance is averaged with the median of the rows nearest in latency.
    """
    own, visits = np.zeros(len(rows)), np.zeros(len(rows))
    for place, row in enumerate(rows):
        if len(row.visits) >= LEAST_VISITS:
            low, high = np.quantile(np.log(row.visits), (0.25, 0.75))
            own[place], visits[place] = ((high - low) / _QUARTILES) ** 2, len(row.visits) - 1
    known = np.flatnonzero(visits)
    if not known.size:
        return None
    values = np.array([row.value for row in rows])
    known = known[np.argsort(values[known], kind="stable")]
    width = min(ALIKE, known.size)
    medians = np.median(sliding_window_view(own[known], width), axis=1)
    places = np.searchsorted(values[known], values) - width // 2
    alike = medians[np.clip(places, 0, len(medians) - 1)]
    shrunk: Floats = (SHRINK_VISITS * alike + visits * own) / (SHRINK_VISITS + visits)
    return np.sqrt(shrunk)


def _variance(values: Sequence[float]) -> float:
    return float(np.log(values).var(ddof=1)) if len(values) > 1 else 0.0
