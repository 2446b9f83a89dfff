"""Drift report: what a look at the anchors says of a device, its cause in words and for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from device_agents.conditions.limits import LIMITS
from latency_tables.table import Anchor

Cause = Literal["none", "os-build", "condition", "pace", "uniform", "kind", "mixed"]
NETWORK = "network"


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


def explained(report: DriftReport) -> DriftReport:
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
