"""End to end: the latency of one whole ``.tflite`` file, and where another session would put it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

from device_agents.measurement import (
    Agent,
    Condition,
    ModelFile,
    Outcome,
    Plan,
    Statistic,
)
from latency_tables.floors import default_plan, least_visits, plan_of, session_floor
from latency_tables.guards import require_same
from latency_tables.measuring import Progress, silent
from latency_tables.table import LatencyTable

LEVEL = 0.90
SESSIONS = 3


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """One file's latency: geometric mean of ``sessions_ms``, the floors of independent sessions.

    ``interval_ms`` holds the value of one more such session with 90 % probability.
    """

    latency_ms: float
    interval_ms: tuple[float, float]
    statistic: Statistic
    condition: Condition
    sessions_ms: tuple[float, ...]
    settled: bool


def measure_model(
    agent: Agent,
    model: ModelFile,
    *,
    precision: str = "float32",
    plan: Plan | None = None,
    sessions: int = SESSIONS,
    progress: Progress | None = None,
) -> EndToEnd:
    """Return the latency of a file, measured in that many sessions, each a process of its own.

    Raises:
        NotMeasured: the device refused the file or lost it in every attempt; says why.
        ValueError: fewer than 2 sessions, which tell nothing of another.
    """
    if sessions < 2:
        raise ValueError(f"an interval needs 2 sessions or more, found {sessions}")
    report = progress or silent
    plan = plan or agent.default_plan
    condition = agent.condition(precision=precision, plan=plan)
    least = least_visits(plan_of(plan, model.role))
    floors = []
    for session in range(sessions):
        outcomes: list[Outcome] = []
        for outcome in agent.measure([model], plan, seed=session):
            outcomes.append(outcome)
            part = min(len(outcomes), least - 1)
            report(session * least + part, sessions * least, "measuring")
        floors.append(session_floor(outcomes, condition, plan))
    report(sessions * least, sessions * least, "measured")
    sessions_ms = tuple(floor.hot_ns / 1e6 for floor in floors)
    latency_ms, interval_ms = prediction_interval(sessions_ms)
    settled = all(floor.settled for floor in floors)
    return EndToEnd(latency_ms, interval_ms, condition.statistic, condition, sessions_ms, settled)


def require_condition(
    agent: Agent, table: LatencyTable, *, precision: str, plan: Plan | None = None
) -> None:
    """Check that the agent measures models of this precision under the table's condition.

    Raises:
        ConditionMismatch: it does not; names the fields that differ.
    """
    condition = agent.condition(
        precision=precision, plan=plan or default_plan(agent, table.condition.method)
    )
    require_same(f"measure like {table.name!r}", table.condition, condition)


def prediction_interval(values_ms: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the geometric mean, and the interval that holds one more value with 90 %.

    Student's prediction interval on logarithms, ``m +- t s sqrt(1 + 1/n)``: it speaks of another
    session, where an interval of the mean would speak of infinitely many.
    """
    logs = [math.log(value) for value in values_ms]
    middle, n = fmean(logs), len(logs)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * stdev(logs) * math.sqrt(1 + 1 / n)
    return math.exp(middle), (math.exp(middle - reach), math.exp(middle + reach))
