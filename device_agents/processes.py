"""Process method: each visit is a process of the official timing tool, as phones need it.

    plan --> tool in a fresh process: load, warm-up of half a second, runs --> ProcessVisit
    at least 5 of them, interleaved over all models           --> median of their medians

A phone's governor raises the clock only under load, so a visit warms up before it times; there is
no cold sample. The repeat unit is the process: memory layout and core placement vary between
processes more than within one (see the reference protocol, sections 2.7, 2.8 and 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from device_agents.errors import NoVisits
from device_agents.measurement import Floor, Origin


@dataclass(frozen=True, slots=True)
class ProcessVisit:
    """What one process of the timing tool said of one model, in nanoseconds of wall time.

    ``median_ns``, ``p5_ns`` and ``p95_ns`` are None of tools older than those figures; then the
    mean stands in for the median. ``raw`` is everything that the tool printed, ``origin`` the job
    on the device and the visit's number in it: the same one may arrive twice, and counts once.
    """

    sha256: str
    started_unix_s: float
    warmup_runs: int
    runs: int
    init_ns: int
    first_ns: int
    min_ns: int
    mean_ns: int
    max_ns: int
    median_ns: int | None = None
    p5_ns: int | None = None
    p95_ns: int | None = None
    raw: str = ""
    origin: Origin | None = None

    def __post_init__(self) -> None:
        times = [self.first_ns, self.min_ns, self.mean_ns, self.max_ns]
        times += [t for t in (self.median_ns, self.p5_ns, self.p95_ns) if t is not None]
        if min(times) <= 0 or self.runs < 1 or self.init_ns < 0:
            raise ValueError(f"a run is not a positive time: {self}")
        if not self.min_ns <= self.value_ns <= self.max_ns:
            raise ValueError(f"a median lies between the extremes: {self}")

    @property
    def value_ns(self) -> int:
        """The median of this process, or its mean where the tool gives no median."""
        return self.mean_ns if self.median_ns is None else self.median_ns


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """When a model has been visited enough, in the process method, and how long a visit is.

    A model is done with ``min_processes`` whose values span no more than ``tolerance`` of their
    median, or with ``max_processes``. Source: reference protocol, section 4, steps 7 and 10.
    """

    min_processes: int = 5
    max_processes: int = 10
    tolerance: float = 0.05
    warmup_runs: int = 10
    warmup_s: float = 0.5
    runs: int = 50
    min_s: float = 1.0
    max_s: float = 60.0
    pause_s: float = 2.0
    load_allowance_s: float = 60.0

    @property
    def summary(self) -> str:
        """The name of the rule that makes a floor of visits, for a `Condition`."""
        return f"median-of-processes-{100 * self.tolerance:g}%"

    @property
    def visit_s(self) -> float:
        """About how long one visit takes, its pause included, for a model of some milliseconds."""
        return self.warmup_s + self.min_s + self.pause_s

    @property
    def deadline_s(self) -> float:
        """When a process that has not ended is given up: both phases may take ``max_s``."""
        return 2 * self.max_s + self.load_allowance_s


def process_floor(visits: Sequence[ProcessVisit], plan: ProcessPlan) -> Floor:
    """Return the median of the processes' values; ``cold_ns`` is None.

    Raises:
        NoVisits: there are none.
    """
    if not visits:
        raise NoVisits("expected at least one visit, found none: measure the model first")
    values = [visit.value_ns for visit in visits]
    middle = median(values)
    spread = (max(values) - min(values)) / middle
    return Floor(
        hot_ns=middle,
        cold_ns=None,
        visits=len(visits),
        settled=len(visits) >= plan.min_processes and spread <= plan.tolerance,
        spread=spread,
    )


def is_measured(visits: Sequence[ProcessVisit], plan: ProcessPlan) -> bool:
    """Return whether a model with these visits needs no more: settled, or at the maximum."""
    if len(visits) < plan.min_processes:
        return False
    return len(visits) >= plan.max_processes or process_floor(visits, plan).settled
