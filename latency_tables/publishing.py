"""Publishing: a table is a function of its journal, in whatever order the visits came.

journal --visits under one condition--> floors --> rows, networks, invalid --> calibration
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from device_agents.measurement import Condition, FailedVisit, Floor, Outcome, Plan
from device_agents.packs import PackedPlan
from latency_tables.anchors import table_anchors
from latency_tables.calibration import calibrate
from latency_tables.campaigns import newest_campaign
from latency_tables.floors import floor_of, least_visits, measured
from latency_tables.granularity import granularity_of
from latency_tables.journal import Journal, Model
from latency_tables.operator_pricing import calibrate_operators
from latency_tables.packed import price_packs
from latency_tables.table import LatencyTable, MeasuredNetwork, Provenance, Row, Status


@dataclass(frozen=True, slots=True)
class _Measured:
    floor: Floor
    status: Status
    last_unix_s: float


def build_table(
    name: str, journal: Journal, condition: Condition, plan: Plan, *, address: str
) -> LatencyTable:
    """Return the table that the journal's visits under this condition give.

    A layer has a row once it has the least visits of the plan; it is ``unstable`` until they
    agree. A layer whose visits failed, and never settled, is invalid with its reason; visits that
    the device spoiled are not the layer's failures. Of two files of one layer, as two versions of
    an exporter write, the one visited last counts. Of the packed method all this holds for what
    was timed clean; `packed.price_packs` makes the table of it.
    """
    visits = journal.visits(condition)
    pace_ns = journal.pace_ns(condition)
    results = {
        sha256: result
        for sha256, outcomes in visits.items()
        if (result := _measure(_newest(outcomes, plan), condition, plan, pace_ns)) is not None
    }
    rows: dict[str, Row] = {}
    networks: list[MeasuredNetwork] = []
    invalid: dict[str, str] = {}
    for model in _in_order(journal.models(), results):
        result = results.get(model.sha256)
        if result is None:
            if model.role == "layer" and (reason := _failure(visits.get(model.sha256, ()))):
                invalid[model.label] = reason
        elif model.role == "layer":
            rows[model.label] = _row(model, result)
        elif model.role == "network":
            networks.append(_network(model, result))
    sessions = [s for s in journal.sessions() if s.condition == condition]
    serials = {session.serial for session in sessions}
    table = LatencyTable.from_rows(
        name,
        condition,
        rows.values(),
        networks=networks,
        invalid={layer: invalid[layer] for layer in sorted(invalid) if layer not in rows},
        provenance=Provenance(
            address=address,
            tool_version=sessions[-1].tool_version if sessions else "",
            journal=journal.path.name,
            sessions=tuple(s.id for s in sessions if s.purpose in ("profile", "refresh")),
            serial=serials.pop() if len(serials) == 1 else None,
        ),
    )
    anchors = table_anchors(journal, table, rows.values(), visits, plan, pace_ns=pace_ns)
    table = replace(table, anchors=anchors)
    if isinstance(plan, PackedPlan):
        return replace(price_packs(table, journal.models(), visits, plan), anchors=anchors)
    by_operators = granularity_of(table) == "operator"
    return calibrate_operators(table) if by_operators else calibrate(table)


def _newest(outcomes: Sequence[Outcome], plan: Plan) -> Sequence[Outcome]:
    """Return the visits that count: a model that was measured again is what it is now."""
    return newest_campaign(outcomes, least_visits(plan))


def _in_order(models: Iterable[Model], results: dict[str, _Measured]) -> list[Model]:
    """Order models so that the last file of a layer is the one to believe."""

    def key(model: Model) -> tuple[float, str]:
        result = results.get(model.sha256)
        return (0.0 if result is None else result.last_unix_s), model.sha256

    return sorted(models, key=key)


def _measure(
    outcomes: Sequence[Outcome], condition: Condition, plan: Plan, pace_ns: int | None
) -> _Measured | None:
    visits = measured(outcomes)
    if len(visits) < least_visits(plan):
        return None
    floor = floor_of(visits, condition, plan, pace_ns=pace_ns)
    if not floor.settled and any(failure.reason != "invalid" for failure in _failures(outcomes)):
        return None
    last_unix_s = max(visit.started_unix_s for visit in visits)
    return _Measured(floor, "ok" if floor.settled else "unstable", last_unix_s)


def _failures(outcomes: Iterable[Outcome]) -> list[FailedVisit]:
    return [outcome for outcome in outcomes if isinstance(outcome, FailedVisit)]


def _failure(outcomes: Iterable[Outcome]) -> str | None:
    """Return the reason of the last failure, if there was one."""
    failures = _failures(outcomes)
    if not failures:
        return None
    last = max(failures, key=lambda failure: (failure.started_unix_s, failure.reason))
    return f"{last.reason}: {last.detail}"


def _row(model: Model, result: _Measured) -> Row:
    floor = result.floor
    return Row(
        layer=model.label,
        hot_ms=floor.hot_ns / 1e6,
        cold_ms=_cold_ms(floor),
        visits=floor.visits,
        status=result.status,
        spread=floor.spread,
        measured_unix_s=result.last_unix_s,
        sha256=model.sha256,
    )


def _network(model: Model, result: _Measured) -> MeasuredNetwork:
    return MeasuredNetwork(
        label=model.label,
        layers=model.layers,
        latency_ms=result.floor.hot_ns / 1e6,
        cold_ms=_cold_ms(result.floor),
        visits=result.floor.visits,
        status=result.status,
        measured_unix_s=result.last_unix_s,
        sha256=model.sha256,
    )


def _cold_ms(floor: Floor) -> float | None:
    return None if floor.cold_ns is None else floor.cold_ns / 1e6
