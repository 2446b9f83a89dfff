"""Drift: whether a device is still the one that its table was measured on.

    d        ln(latency now / reference) of an anchor, now being the median of fresh processes
    uniform  median over kinds of their d       beyond its band: a factor of the whole device
    kind     d of a kind - uniform, d being the mean of its anchors, weighted by 1 / var:
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
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from device_agents.conditions.limits import LIMITS
from device_agents.timing_batch import PACE_QUANTILE
from latency_tables.table import Anchor

Floats = npt.NDArray[np.float64]
Readings = Mapping[str, float]
"""What one fresh process made of the anchors: latency in milliseconds by label."""
Cause = Literal["none", "os-build", "condition", "pace", "uniform", "kind", "mixed"]

Z = 4.0
ANCHOR_STD = 0.015
UNIFORM_STD = 0.004
PRIOR_SESSIONS = 8
APART = 3
PACE_BAND = 0.025
PATIENCE_S = 180.0  # the core's fast state comes for some 20 s about once a minute
NETWORK = "network"
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


@dataclass(frozen=True, slots=True)
class AnchorReading:
    """One anchor now and then; differences are relative, ``band`` is what ``excess`` may be.

    ``excess`` is the difference that is left when the uniform factor is taken out.
    """

    anchor: Anchor
    latency_ms: float
    difference: float
    excess: float

    @property
    def is_within(self) -> bool:
        """Whether it is in its band."""
        return abs(self.excess) <= self.anchor.band


@dataclass(frozen=True, slots=True)
class Difference:
    """A relative difference and the band that it may lie in."""

    value: float
    band: float

    @property
    def is_within(self) -> bool:
        """Whether it does."""
        return abs(self.value) <= self.band


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What the anchors say of a device, or, of one whose OS build changed, what need not be asked.

    ``kinds`` are differences beside the uniform one; ``pace`` is None where nobody takes one;
    ``thermal`` is what the device says of its heat, None where nobody asked or it cannot say;
    ``load`` the median load average beside the visits, where they tell it.
    """

    cause: Cause
    text: str
    sessions: int = 0
    uniform: Difference | None = None
    kinds: Mapping[str, Difference] = field(default_factory=dict)
    anchors: tuple[AnchorReading, ...] = ()
    pace: Difference | None = None
    thermal: str | None = None
    load: float | None = None

    @property
    def is_drifted(self) -> bool:
        """Whether the device is another than then."""
        return self.cause != "none"

    @property
    def beyond(self) -> dict[str, float]:
        """Anchors that moved by themselves, with how far: rows to measure again."""
        return {r.anchor.label: abs(r.excess) for r in self.anchors if not r.is_within}

    @property
    def is_busy(self) -> bool:
        """Whether other work ran beside the sessions."""
        return self.load is not None and self.load > LIMITS.load

    @property
    def are_networks_within(self) -> bool:
        """Whether whole networks are in their band, so that others can be measured now."""
        return NETWORK not in self.kinds or self.kinds[NETWORK].is_within

    @property
    def is_slow(self) -> bool:
        """Whether the core never came near its fastest pace."""
        return self.pace is not None and self.pace.value > self.pace.band

    def with_thermal(self, thermal: str | None) -> DriftReport:
        """Return the report with what the device says of its heat."""
        return replace(self, thermal=thermal)

    def to_dict(self) -> dict[str, object]:
        """Return everything by name, for JSON; differences in percent."""

        def percent(difference: Difference | None) -> dict[str, float] | None:
            if difference is None:
                return None
            return {"pct": 100 * difference.value, "band_pct": 100 * difference.band}

        return {
            "drifted": self.is_drifted, "cause": self.cause, "text": self.text,
            "sessions": self.sessions, "uniform": percent(self.uniform),
            "kinds": {kind: percent(value) for kind, value in self.kinds.items()},
            "anchors": [
                {
                    "kind": reading.anchor.kind, "label": reading.anchor.label,
                    "reference_ms": reading.anchor.latency_ms, "latency_ms": reading.latency_ms,
                    "pct": 100 * reading.difference, "excess_pct": 100 * reading.excess,
                    "band_pct": 100 * reading.anchor.band,
                }
                for reading in self.anchors
            ],
            "pace": percent(self.pace), "thermal": self.thermal,
            "load": self.load,
        }  # fmt: skip


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
    mean = {k: float(np.average(d[of_kind[k]], weights=weights[k])) for k in of_kind}
    mean_std = {kind: float(1 / np.sqrt(weights[kind].sum())) for kind in of_kind}
    # a network is made of layers of the other kinds, and has no vote of its own beside them
    votes = [kind for kind in of_kind if kind != NETWORK or len(of_kind) < MANY]
    middle = float(np.median([mean[kind] for kind in votes]))
    uniform_std = _uniform_std(np.array([mean_std[kind] for kind in votes]), noise.uniform)
    uniform = Difference(_relative(middle), Z * uniform_std)
    kinds = {
        kind: Difference(_relative(mean[kind] - middle), Z * mean_std[kind]) for kind in of_kind
    }
    readings = tuple(
        AnchorReading(anchor, float(ms), _relative(float(x)), _relative(float(x) - middle))
        for anchor, ms, x in zip(seen, now_ms, d, strict=True)
    )
    report = DriftReport(
        "none", "", len(sessions), uniform, kinds, readings,
        None if pace is None else Difference(pace, PACE_BAND), load=load,
    )  # fmt: skip
    return _explained(report)


def _explained(report: DriftReport) -> DriftReport:
    """Return the report with its cause, and that in words."""
    assert report.uniform is not None
    beyond = [kind for kind, difference in report.kinds.items() if not difference.is_within]
    if NETWORK in beyond and (report.is_busy or len(beyond) > 1):
        beyond.remove(NETWORK)  # it follows the layers that it is made of, and other work
    found: list[tuple[Cause, str]] = []
    beside = "" if report.load is None else f"load {report.load:.1f}"
    if report.pace is not None and report.is_slow:
        found.append(("pace", f"the core never came near its fastest pace: {_text(report.pace)}"))
    if not report.uniform.is_within:
        found.append(("uniform", f"all models by one factor: {_text(report.uniform)}"))
    found += [("kind", f"{_operators(kind)}: {_text(report.kinds[kind])}") for kind in beyond]
    if not found:
        singly = "".join(
            f"; by itself {r.anchor.label}: {_text(Difference(r.excess, r.anchor.band))}"
            for r in report.anchors
            if not r.is_within
        )
        text = f"within its bands, {_text(report.uniform)}{singly}"
        return replace(report, text=f"{text}; {beside}" if report.is_busy else text)
    causes = {cause for cause, _ in found}
    if causes == {"pace", "uniform"}:
        causes = {"uniform"}
    cause: Cause = causes.pop() if len(causes) == 1 else "mixed"
    texts = [text for _, text in found]
    if report.is_busy:
        texts.append(f"other work ran meanwhile ({beside}): look again when it does not")
    return replace(report, cause=cause, text="; ".join(texts))


def _operators(kind: str) -> str:
    return "whole networks" if kind == NETWORK else f"operators of {kind}"


def _text(difference: Difference) -> str:
    return f"{100 * difference.value:+.1f} % (band {100 * difference.band:.1f} %)"


def _uniform_std(std: Floats, common: float) -> float:
    """Return that of the median of anchors: their own noise, and what they share, twice."""
    return float(np.sqrt(_median_variance(std) + 2 * common**2))


def _median_variance(std: Floats) -> float:
    """Return that of the median of normal values with these standard deviations, about."""
    return float(np.pi / 2 * (std**2).mean() / len(std))


def _median_error(sessions: int) -> float:
    """Return the variance of the median of so many sessions, in variances of one, about."""
    return np.pi / 2 / sessions if sessions > 2 else 1 / sessions


def _shrunk(values: Floats, prior: float, own: float = 0.0) -> float:
    """Return the standard deviation of values, of whose variance ``own`` is something else's."""
    steps = values[APART:] - values[:-APART]
    steps = steps[np.isfinite(steps)]
    squares = max(0.0, float((steps**2).sum()) / 2 - own * len(steps))
    return math.sqrt((PRIOR_SESSIONS * prior**2 + squares) / (PRIOR_SESSIONS + len(steps)))


def _relative(log: float) -> float:
    return float(np.expm1(log))
