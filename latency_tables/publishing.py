"""Publishing: a table is a function of its journal, in whatever order the visits came.

journal --visits under one condition--> floors --> rows, networks, invalid --> calibration
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from device_agents.floor import summarize
from device_agents.measurement import Condition, FailedVisit, Floor, ResidentPlan, Visit
from latency_tables.calibration import calibrate
from latency_tables.journal import Journal, Model
from latency_tables.table import LatencyTable, MeasuredNetwork, Provenance, Row, Status


@dataclass(frozen=True, slots=True)
class _Measured:
    floor: Floor
    status: Status
    last_unix_s: float


def build_table(
    name: str, journal: Journal, condition: Condition, plan: ResidentPlan, *, address: str
) -> LatencyTable:
    """Return the table that the journal's visits under this condition give.

    A layer has a row once it has ``plan.min_visits`` visits; it is ``unstable`` until they agree.
    A layer whose visits failed, and never settled, is invalid with its reason. Of two files of
    one layer, as two versions of an exporter write, the one visited last counts.
    """
    visits = journal.visits(condition)
    pace_ns = journal.pace_ns(condition)
    measured = {
        sha256: result
        for sha256, outcomes in visits.items()
        if (result := _measure(outcomes, condition, plan, pace_ns)) is not None
    }
    rows: dict[str, Row] = {}
    networks: list[MeasuredNetwork] = []
    invalid: dict[str, str] = {}
    for model in _in_order(journal.models(), measured):
        result = measured.get(model.sha256)
        if result is None:
            if model.role == "layer" and (reason := _failure(visits.get(model.sha256, ()))):
                invalid[model.label] = reason
        elif model.role == "layer":
            rows[model.label] = _row(model, result)
        elif model.role == "network":
            networks.append(_network(model, result))
    sessions = [s for s in journal.sessions() if s.condition == condition]
    return calibrate(
        LatencyTable.from_rows(
            name,
            condition,
            rows.values(),
            networks=networks,
            invalid={layer: invalid[layer] for layer in sorted(invalid) if layer not in rows},
            provenance=Provenance(
                address=address,
                tool_version=sessions[-1].tool_version if sessions else "",
                journal=journal.path.name,
                sessions=tuple(s.id for s in sessions if s.purpose != "validate"),
            ),
        )
    )


def _in_order(models: Iterable[Model], measured: dict[str, _Measured]) -> list[Model]:
    """Order models so that the last file of a layer is the one to believe."""

    def key(model: Model) -> tuple[float, str]:
        result = measured.get(model.sha256)
        return (0.0 if result is None else result.last_unix_s), model.sha256

    return sorted(models, key=key)


def _measure(
    outcomes: Sequence[Visit | FailedVisit],
    condition: Condition,
    plan: ResidentPlan,
    pace_ns: int | None,
) -> _Measured | None:
    visits = [outcome for outcome in outcomes if isinstance(outcome, Visit)]
    if len(visits) < plan.min_visits:
        return None
    floor = summarize(visits, condition.statistic, plan, pace_ns=pace_ns)
    if not floor.settled and len(visits) < len(outcomes):
        return None
    last_unix_s = max(visit.started_unix_s for visit in visits)
    return _Measured(floor, "ok" if floor.settled else "unstable", last_unix_s)


def _failure(outcomes: Iterable[Visit | FailedVisit]) -> str | None:
    """Return the reason of the last failure, if there was one."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, FailedVisit)]
    if not failures:
        return None
    last = max(failures, key=lambda failure: (failure.started_unix_s, failure.reason))
    return f"{last.reason}: {last.detail}"


def _row(model: Model, result: _Measured) -> Row:
    floor = result.floor
    assert floor.cold_ns is not None
    return Row(
        layer=model.label,
        hot_ms=floor.hot_ns / 1e6,
        cold_ms=floor.cold_ns / 1e6,
        visits=floor.visits,
        status=result.status,
        spread=floor.spread,
        measured_unix_s=result.last_unix_s,
        sha256=model.sha256,
    )


def _network(model: Model, result: _Measured) -> MeasuredNetwork:
    assert result.floor.cold_ns is not None
    return MeasuredNetwork(
        label=model.label,
        layers=model.layers,
        latency_ms=result.floor.hot_ns / 1e6,
        cold_ms=result.floor.cold_ns / 1e6,
        visits=result.floor.visits,
        status=result.status,
        measured_unix_s=result.last_unix_s,
        sha256=model.sha256,
    )
