"""Measurements: what is asked of a device, under which condition, and what came back.

    ModelFile  -->  Agent.measure(models, plan)  -->  Visit, Visit, FailedVisit, Visit, ...
                                                       |
                                  summarize(visits, statistic) --> Floor (or None: too few)

A visit is one short stay at one model: a first invocation on cold caches and a few hot ones.
Raw samples are kept; a floor is computed. A failed visit is a value of its own and holds no
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from device_agents.packs import PackedPlan, PackVisit
    from device_agents.processes import ProcessPlan, ProcessVisit

Role = Literal["layer", "network", "anchor", "pack"]
Statistic = Literal["thread-cpu-time", "wall-time"]
Method = Literal["resident", "process", "packed"]
Origin: TypeAlias = tuple[str, int]
LossReason = Literal["crashed", "hung", "rejected", "unreadable", "invalid"]

PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file to time; ``sha256`` is its identity, ``role`` what it is measured for."""

    path: Path
    sha256: str
    role: Role = "layer"


@dataclass(frozen=True, slots=True)
class Condition:
    """Everything that makes two latencies comparable; one table holds one condition.

    History: protocol 1 is the resident method with 1 cold and 5 hot invocations a visit.
    """

    device: str
    soc: str
    os_build: str
    runtime: str
    delegate: str
    precision: str
    threads: int
    cores: str
    power_mode: str
    batch: int
    method: Method
    statistic: Statistic
    summary: str
    protocol: int = PROTOCOL_VERSION

    def to_dict(self) -> dict[str, str | int]:
        """Return the fields by name, for JSON and for a table's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Condition:
        """Return the condition of these fields; the inverse of ``to_dict``.

        Raises:
            ValueError: a field is missing or unknown (both named).
        """
        names = {f.name for f in fields(cls)}
        if names != set(values):
            missing, unknown = sorted(names - set(values)), sorted(set(values) - names)
            raise ValueError(f"not a condition: missing {missing}, unknown {unknown}")
        return cls(**values)  # type: ignore[arg-type]

    def differences(self, other: Condition) -> dict[str, tuple[object, object]]:
        """Return the fields in which two conditions differ, with both values."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {n: (mine[n], theirs[n]) for n in mine if mine[n] != theirs[n]}


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay at one model: samples in nanoseconds, in order, each wall beside thread CPU time.

    ``load`` is the one-minute load average, ``preemptions`` the involuntary context switches
    during the visit, ``steal`` the hypervisor's share of processor time lately. ``pace_ns`` is the
    CPU time of one small fixed computation beside the visit, which says how fast the core was at
    that moment; ``None`` where nobody took it. ``origin`` is the job of the device that made it
    and its number there, where there is such a job: it may arrive twice, and counts once.
    """

    sha256: str
    started_unix_s: float
    cold_wall_ns: int
    cold_cpu_ns: int
    hot_wall_ns: tuple[int, ...]
    hot_cpu_ns: tuple[int, ...]
    preemptions: int
    load: float
    steal: float
    pace_ns: int | None = None
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if not self.hot_wall_ns or len(self.hot_wall_ns) != len(self.hot_cpu_ns):
            raise ValueError("a visit has hot samples, as many of wall as of CPU time")
        if min(self.cold_wall_ns, self.cold_cpu_ns, *self.hot_wall_ns, *self.hot_cpu_ns) <= 0:
            raise ValueError(f"a sample is not a positive time: {self}")
        if self.pace_ns is not None and self.pace_ns <= 0:
            raise ValueError(f"a pace is a positive time or None, found {self.pace_ns}")


@dataclass(frozen=True, slots=True)
class FailedVisit:
    """A visit that gave no samples: what happened, in one line, and ``raw``, what was printed.

    ``invalid``: a tool ran to its end, but under a condition that makes its numbers worthless.
    ``origin`` is the job on the device and the visit's number in it, where there is such a job.
    """

    sha256: str
    started_unix_s: float
    reason: LossReason
    detail: str
    raw: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class ResidentPlan:
    """When a model has been visited enough, in the resident method.

    A model is done when it has at least ``min_visits`` visits in as many rounds and the ``agree``
    smallest visit minima, each at the core's pace of that moment, lie within ``tolerance`` of the
    smallest (of minima at a pace, one in twelve is passed over); or when it has ``max_visits``.
    The first rounds start ``round_interval_s`` apart or more, so that ``min_visits`` of a few
    models take ``min_span_s``, not one slow phase.
    Source: reference measurements, adaptive plan (10-11 visits a layer, two independent trials
    agree within 3 % for 94.7 % of layers).
    """

    hot: int = 5
    min_visits: int = 12
    agree: int = 3
    tolerance: float = 0.015
    min_span_s: float = 6.0
    max_visits: int = 60
    visit_timeout_s: float = 30.0

    def of(self, role: Role) -> ResidentPlan:
        """Return the plan for a model of this role: a whole network is visited twice as often.

        Sums of layers are tied to networks and judged by them, and there are few of them.
        """
        if role != "network":
            return self
        visits = min(2 * self.min_visits, self.max_visits)
        return replace(self, min_visits=visits, min_span_s=2 * self.min_span_s)

    @property
    def round_interval_s(self) -> float:
        """The least time from the start of one round to the next, in seconds."""
        return self.min_span_s / max(1, self.min_visits - 1)

    @property
    def summary(self) -> str:
        """The name of the rule that makes a floor of visits, for a `Condition`."""
        return f"paced-half-agree{self.agree}-{100 * self.tolerance:g}%"


DEFAULT_PLAN = ResidentPlan()


@dataclass(frozen=True, slots=True)
class Floor:
    """The summary of a model's visits, in nanoseconds of the chosen statistic.

    ``hot_ns`` is the mean of the faster half of the visit minima and ``cold_ns`` the median of the
    cold samples, both at one pace of the core; without a pace, ``hot_ns`` is the mean of the
    ``agree`` smallest minima. ``cold_ns`` is None where the method has no cold sample. ``spread``
    is (largest - smallest) / smallest of those ``agree``, ``settled`` says whether it is within
    the plan's tolerance.
    """

    hot_ns: float
    cold_ns: float | None
    visits: int
    settled: bool
    spread: float


Plan: TypeAlias = "ResidentPlan | ProcessPlan | PackedPlan"
Outcome: TypeAlias = "Visit | ProcessVisit | PackVisit | FailedVisit"


class Agent(Protocol):
    """A place where files run: this machine's CPU, a board, a phone.

    An agent measures by one method, that of its ``default_plan``.
    """

    @property
    def address(self) -> str:
        """The address this agent was opened with, such as ``local:cpu=1``."""
        ...

    @property
    def serial(self) -> str | None:
        """Which specimen this is, by its maker's serial number; None where there is none."""
        ...

    @property
    def default_plan(self) -> Plan:
        """The plan that this agent measures by unless it is given one."""
        ...

    def condition(self, *, precision: str, plan: Plan = ...) -> Condition:
        """Return the condition under which `measure` times models of this precision.

        Raises:
            DeviceError: the device does not answer, or does not measure by such a plan.
        """
        ...

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[Visit | ProcessVisit]] = ...,
        seed: int = 0,
    ) -> Iterator[Outcome]:
        """Yield visits of all models, interleaved at random, until each has enough.

        ``done`` holds earlier visits by sha256, which count. The caller may stop at any visit.

        Raises:
            DeviceError: the device as a whole cannot measure, or not by such a plan.
        """
        ...

    def close(self) -> None:
        """End whatever runs on the device."""
        ...
