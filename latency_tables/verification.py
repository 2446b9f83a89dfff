"""Verification: one network through two exporters: operators, numbers, size and latency.

Verification
  comparison      both models run on the same images (exporters.comparison)
  latency         visits of both interleaved in one session, or why there is no number
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from device_agents.floor import hot_minimum_ns
from device_agents.measurement import DEFAULT_PLAN, Agent, ModelFile, Visit
from exporters.comparison import Comparison, compare_models
from exporters.model_file import read_model
from latency_tables.end_to_end import prediction_interval
from latency_tables.errors import NotMeasured
from latency_tables.floors import session_floor
from latency_tables.measuring import Progress, silent

SESSIONS = 5
PAIRS = 8
SPAN_S = 1.0
# Both exporters round alike in floating point, so only the order of sums differs; in int8 each
# chooses its own scales. Relative to the range of the output.
TOLERANCES: Mapping[str, float] = {"float32": 1e-4, "float16": 1e-3, "int8": 0.05}


@dataclass(frozen=True, slots=True)
class LatencyRatio:
    """How much slower the first file is than the second.

    A session is a process of its own, whose memory lies where it happens to: that alone can make
    one of two equal models some percent slower. ``ratio`` is the geometric mean over ``sessions``
    of the median of first / second in pairs of visits near in time; ``interval`` holds the ratio
    of one more session with 90 % probability. ``first_ms`` and ``second_ms`` are the least floors.
    """

    ratio: float
    interval: tuple[float, float]
    sessions: tuple[float, ...]
    first_ms: float
    second_ms: float


@dataclass(frozen=True, slots=True)
class Verification:
    """What comparing two exporters of one network and precision gave.

    ``latency`` is the reason in words where the device could not time one of the models.
    """

    precision: str
    comparison: Comparison
    latency: LatencyRatio | str

    @property
    def agrees(self) -> bool:
        """Whether the numbers agree: root mean square error within the precision's tolerance."""
        return self.comparison.rms_error <= TOLERANCES[self.precision]

    def to_dict(self) -> dict[str, object]:
        """Return everything by name, for JSON; ``latency`` or ``latency_error`` is None."""
        failed = isinstance(self.latency, str)
        return asdict(self.comparison) | {
            "precision": self.precision,
            "agrees": self.agrees,
            "latency": None if isinstance(self.latency, str) else asdict(self.latency),
            "latency_error": self.latency if failed else None,
        }


def verify_models(
    first: Path,
    second: Path,
    agent: Agent,
    *,
    exporters: tuple[str, str],
    precision: str,
    images: Sequence[npt.NDArray[np.float32]] | None = None,
    sessions: int = SESSIONS,
    progress: Progress | None = None,
) -> Verification:
    """Compare two files that two exporters made of one network.

    Args:
        exporters: their names.
        images: ``(n, h, w, c)`` an input; by default a few of standard normal numbers.

    Raises:
        DamagedModel: one of them cannot be read or run.
        DeviceError: the device as a whole cannot measure.
    """
    models = [read_model(path) for path in (first, second)]
    comparison = compare_models(models[0][0], models[1][0], exporters=exporters, images=images)
    files = [
        ModelFile(path, sha256) for path, (_, sha256) in zip((first, second), models, strict=True)
    ]
    latency: LatencyRatio | str
    if files[0].sha256 == files[1].sha256:
        latency = "the two files are the same, byte for byte"
    else:
        try:
            latency = compare_latency(
                agent, *files, precision=precision, sessions=sessions, progress=progress
            )
        except NotMeasured as error:
            latency = str(error)
    return Verification(precision, comparison, latency)


def compare_latency(
    agent: Agent,
    first: ModelFile,
    second: ModelFile,
    *,
    precision: str = "float32",
    sessions: int = SESSIONS,
    pairs: int = PAIRS,
    progress: Progress | None = None,
) -> LatencyRatio:
    """Return the ratio of two files' latencies, which a slow phase of the device hardly touches.

    Args:
        sessions: how many processes measure both, one after another.
        pairs: visits of each file in a session, interleaved.

    Raises:
        NotMeasured: the device refused a file or lost it; says why.
        ValueError: the two are one file, or fewer than 2 sessions, which have no interval.
    """
    if first.sha256 == second.sha256 or sessions < 2:
        raise ValueError(f"expected two files and 2 sessions, found {first}, {second}, {sessions}")
    report = progress or silent
    plan = replace(DEFAULT_PLAN, min_visits=pairs, max_visits=pairs, min_span_s=SPAN_S)
    condition = agent.condition(precision=precision, plan=plan)
    ratios, floors = [], []
    for session in range(sessions):
        outcomes = []
        for outcome in agent.measure([first, second], plan, seed=session):
            outcomes.append(outcome)
            report(2 * pairs * session + len(outcomes), 2 * pairs * sessions, "timing both models")
        sides = [[o for o in outcomes if o.sha256 == file.sha256] for file in (first, second)]
        floors.append([session_floor(side, condition, plan).hot_ns / 1e6 for side in sides])
        samples = [
            [hot_minimum_ns(o, condition.statistic) for o in side if isinstance(o, Visit)]
            for side in sides
        ]
        ratios.append(median(a / b for a, b in zip(*samples, strict=False)))
    ratio, interval = prediction_interval(ratios)
    first_ms, second_ms = map(min, zip(*floors, strict=True))
    return LatencyRatio(ratio, interval, tuple(ratios), first_ms, second_ms)
