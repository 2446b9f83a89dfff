"""Drift: whether a device is still the one that its table was measured on.

    d        ln(latency now / reference) of an anchor, now being the median of fresh processes
    uniform  median over kinds of their d       beyond its band: a factor of the whole device
    kind     d of a kind - uniform, d being the median of its anchors, weighted by 1 / var:
                                                beyond its band: one kind of operators
    anchor   d - uniform                        beyond its band: that row, not the device
    pace     fastest pace of the core now / then, for the device's own clock, of which anchors,
             stated at one pace, know nothing

    some sessions --judge--> within their bands: done
                             beyond: as many again, and all of them decide
                             the core slower than ever: on, until it is at its pace, or 3 minutes

A band is ``Z`` standard deviations of what an unchanged device shows, the reference's own error
included. Those of single anchors and of the whole come from sessions of the same table that were
within their bands, shrunk towards recorded ones (`benchmarks.drift`) while there are few:

    var = (PRIOR_SESSIONS prior^2 + sum over i of (x[i + APART] - x[i])^2 / 2)
          / (PRIOR_SESSIONS + n - APART)

Differences of sessions of two refreshes, not from a mean: a change that creeps does not widen the
band that is to find it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device_agents.timing_batch import PACE_QUANTILE
from latency_tables.drift_report import (
    NETWORK,
    AnchorReading,
    Difference,
    DriftReport,
    explained,
)
from latency_tables.table import Anchor

Floats = npt.NDArray[np.float64]
Readings = Mapping[str, float]
"""What one fresh process made of the anchors: latency in milliseconds by label."""

Z = 4.0
ANCHOR_STD = 0.01  # recorded: 0.6 to 0.9 % of most layers, 3 to 4 % of some beside other work
UNIFORM_STD = 0.004  # recorded: 0.2 to 0.3 %
PRIOR_SESSIONS = 8  # that the two count for
APART = 3  # sessions of one look, which are alike
PACE_BAND = 0.025  # half of what the core's two states differ by
PATIENCE_S = 180.0  # the core's fast state comes for some 20 s about once a minute
MEDIAN = math.pi / 2  # its variance, in variances of a mean of normal values
MANY = 3  # kinds, of which one that moves is an outlier
MOST_SESSIONS = 40


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative standard deviations of one session: of an anchor by label, and of all together."""

    anchors: Mapping[str, float]
    uniform: float

    def band(self, label: str, sessions: int, references: int = 1) -> float:
        """Return the band of one anchor, so many sessions now against so many then."""
        error = math.sqrt(_median_error(sessions) + _median_error(references))
        return Z * self.anchors.get(label, ANCHOR_STD) * error


def learn_noise(sessions: Sequence[Readings]) -> Noise:
    """Return the noise of sessions of an unchanged device; with none, the recorded one."""
    labels = sorted({label for session in sessions for label in session})
    if not labels:
        return Noise({}, UNIFORM_STD)
    logs = np.log([[session.get(label, np.nan) for label in labels] for session in sessions])
    logs -= np.nanmedian(logs, axis=0)  # what is left of an anchor is common to all, or its own
    common = np.nanmedian(logs, axis=1)
    anchors = [_shrunk(column, ANCHOR_STD) for column in (logs - common[:, None]).T]
    own = _median_variance(np.array(anchors))  # what a median moves by with nothing in common
    return Noise(dict(zip(labels, anchors, strict=True)), _shrunk(common, UNIFORM_STD, own))


@dataclass(frozen=True, slots=True)
class AnchorSession:
    """One session at the anchors: its readings, the paces of the core beside its visits, and when.

    ``paces_ns`` is empty where nobody takes them; ``load`` is the median load average, None where
    visits do not tell it.
    """

    readings: Readings
    paces_ns: tuple[int, ...]
    started_unix_s: float
    ended_unix_s: float
    load: float | None = None


def look_at_anchors(
    anchors: Sequence[Anchor],
    noise: Noise,
    take: Callable[[], AnchorSession | None],
    *,
    sessions: int,
    pace_ns: int | None,
) -> DriftReport | None:
    """Take sessions until the device can be judged, and judge it; None where there was no session.

    Args:
        take: measures the anchors in a fresh session; None: there is no time for another.
        sessions: how many make a look.
        pace_ns: that the anchors' references are stated at.
    """
    taken: list[AnchorSession] = []

    def look(n: int) -> bool:
        found = [session for _ in range(n) if (session := take()) is not None]
        taken.extend(found)
        return len(found) == n

    def report() -> DriftReport:
        pace = fastest_pace_ns([ns for session in taken for ns in session.paces_ns])
        slower = None if pace is None or pace_ns is None else pace / pace_ns - 1
        loads = [session.load for session in taken if session.load is not None]
        return judge(
            anchors, [session.readings for session in taken], noise, pace=slower,
            load=float(np.median(loads)) if loads else None,
        )  # fmt: skip

    more = look(sessions)
    if not taken:
        return None
    result = report()
    if result.is_drifted and more:
        more, result = look(sessions), report()
    while more and result.is_slow and _has_patience(taken):
        more, result = look(1), report()
    return result


def fastest_pace_ns(paces_ns: Sequence[int]) -> int | None:
    """Return the pace of the core at its fastest, as floors are stated at; None without any."""
    return sorted(paces_ns)[int(PACE_QUANTILE * len(paces_ns))] if paces_ns else None


def _has_patience(sessions: Sequence[AnchorSession]) -> bool:
    waited_s = sessions[-1].ended_unix_s - sessions[0].started_unix_s
    return waited_s < PATIENCE_S and len(sessions) < MOST_SESSIONS


def judge(
    anchors: Sequence[Anchor],
    sessions: Sequence[Readings],
    noise: Noise,
    *,
    pace: float | None = None,
    load: float | None = None,
) -> DriftReport:
    """Return what these sessions say of the device; anchors that none has read are left out.

    Args:
        sessions: one or more, each of a fresh process.
        pace: fastest pace now / reference - 1, positive where the core is slower now.
        load: of the machine meanwhile. Beside other work whole networks, whose weights do not fit
            into caches, are slower than by themselves, and layers are not: that is no drift.
    """
    seen = [anchor for anchor in anchors if any(anchor.label in s for s in sessions)]
    now_ms = np.array([np.median([s[a.label] for s in sessions if a.label in s]) for a in seen])
    d = np.log(now_ms / [anchor.latency_ms for anchor in seen])
    std = np.array([anchor.band / Z for anchor in seen])
    of_kind = {
        kind: [i for i, anchor in enumerate(seen) if anchor.kind == kind]
        for kind in dict.fromkeys(anchor.kind for anchor in seen)
    }
    weights = {kind: 1 / std[members] ** 2 for kind, members in of_kind.items()}
    of = {kind: _weighted_median(d[of_kind[kind]], weights[kind]) for kind in of_kind}
    kind_std = {
        kind: math.sqrt((MEDIAN if len(w) > 2 else 1) / w.sum()) for kind, w in weights.items()
    }
    # a network is made of layers of the other kinds, and has no vote of its own beside them
    votes = [kind for kind in of_kind if kind != NETWORK or len(of_kind) < MANY]
    middle = float(np.median([of[kind] for kind in votes]))
    uniform_std = _uniform_std(np.array([kind_std[kind] for kind in votes]), noise.uniform)
    uniform = Difference(_relative(middle), Z * uniform_std)
    kinds = {kind: Difference(_relative(of[kind] - middle), Z * kind_std[kind]) for kind in of_kind}
    readings = tuple(
        AnchorReading(anchor, float(ms), _relative(float(x)), _relative(float(x) - middle))
        for anchor, ms, x in zip(seen, now_ms, d, strict=True)
    )
    report = DriftReport(
        "none", "", len(sessions), uniform, kinds, readings,
        None if pace is None else Difference(pace, PACE_BAND), load=load,
    )  # fmt: skip
    return explained(report)


def _uniform_std(std: Floats, common: float) -> float:
    """Return that of the median of anchors: their own noise, and what they share, twice."""
    return float(np.sqrt(_median_variance(std) + 2 * common**2))


def _median_variance(std: Floats) -> float:
    """Return that of the median of normal values with these standard deviations, about."""
    return float(MEDIAN * (std**2).mean() / len(std))


def _weighted_median(values: Floats, weights: Floats) -> float:
    """Return where half of the weight is on either side, the mean of two where it is at both."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    low, high = np.searchsorted(shares, [0.5 - 1e-9, 0.5 + 1e-9])
    return float(values[order[[low, high]]].mean())


def _median_error(sessions: int) -> float:
    """Return the variance of the median of so many sessions, in variances of one, about."""
    return (MEDIAN if sessions > 2 else 1) / sessions


def _shrunk(values: Floats, prior: float, own: float = 0.0) -> float:
    """Return the standard deviation of values, of whose variance ``own`` is something else's."""
    steps = values[APART:] - values[:-APART]
    steps = steps[np.isfinite(steps)]
    squares = max(0.0, float((steps**2).sum()) / 2 - own * len(steps))
    return math.sqrt((PRIOR_SESSIONS * prior**2 + squares) / (PRIOR_SESSIONS + len(steps)))


def _relative(log: float) -> float:
    return float(np.expm1(log))
