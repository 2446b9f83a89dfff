"""Publishing: a table is a function of its journal, in whatever order the visits came.

journal --visits under one condition--> floors --> rows, networks, invalid --> calibration
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from device_agents.measurement import Condition, Floor, Plan
from device_agents.packs import PackedPlan
from latency_tables.anchors import table_anchors
from latency_tables.calibration import calibrate
from latency_tables.granularity import granularity_of
from latency_tables.intervals import SESSION, SESSION_OF_NETWORKS, Interval, intervals
from latency_tables.journal import Entry, Journal, Model, outcomes_of
from latency_tables.operator_pricing import calibrate_operators
from latency_tables.packed import price_packs
from latency_tables.summaries import Summary, last_failure, serial_of, summarize_entries
from latency_tables.table import LatencyTable, MeasuredNetwork, Provenance, Row


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
    entries = journal.entries(condition)
    visits = outcomes_of(entries)
    sessions = [s for s in journal.sessions() if s.condition == condition]
    serials = {session.id: session.serial for session in sessions}
    pace_ns = journal.pace_ns(condition)
    results = _summaries(entries, condition, plan, pace_ns)
    models = _in_order(journal.models(), results)
    reach = {
        "layer": _intervals("layer", SESSION, models, results),
        "network": _intervals("network", SESSION_OF_NETWORKS, models, results),
    }
    rows: dict[str, Row] = {}
    networks: list[MeasuredNetwork] = []
    invalid: dict[str, str] = {}
    for model in models:
        result = results.get(model.sha256)
        if result is None:
            if model.role == "layer" and (reason := last_failure(visits.get(model.sha256, ()))):
                invalid[model.label] = reason
        elif model.role == "layer":
            serial = serial_of(result.entries, serials)
            rows[model.label] = _row(model, result, reach["layer"][model.sha256], serial)
        elif model.role == "network":
            networks.append(_network(model, result, reach["network"][model.sha256]))
    specimens = set(serials.values())
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
            serial=specimens.pop() if len(specimens) == 1 else None,
        ),
    )
    anchors = table_anchors(journal, table, rows.values(), visits, plan, pace_ns=pace_ns)
    table = replace(table, anchors=anchors)
    if isinstance(plan, PackedPlan):
        return replace(
            price_packs(table, journal.models(), entries, plan, serials), anchors=anchors
        )
    by_operators = granularity_of(table) == "operator"
    return calibrate_operators(table) if by_operators else calibrate(table)


def _summaries(
    entries: Mapping[str, Sequence[Entry]], condition: Condition, plan: Plan, pace_ns: int | None
) -> dict[str, Summary]:
    """Return what the visits of each model say, by sha256, where that is enough for a value."""
    found = {
        sha256: summarize_entries(some, condition, plan, pace_ns=pace_ns)
        for sha256, some in entries.items()
    }
    return {sha256: summary for sha256, summary in found.items() if summary is not None}


def _in_order(models: Iterable[Model], results: Mapping[str, Summary]) -> list[Model]:
    """Order models so that the last file of a layer is the one to believe."""

    def key(model: Model) -> tuple[int, str]:
        result = results.get(model.sha256)
        return (0 if result is None else result.last_id), model.sha256

    return sorted(models, key=key)


def _intervals(
    role: str, session: float, models: Iterable[Model], results: Mapping[str, Summary]
) -> dict[str, Interval | None]:
    """Return the intervals in nanoseconds of all models of one role, by sha256."""
    found = {m.sha256: results[m.sha256] for m in models if m.role == role and m.sha256 in results}
    evidence = [summary.evidence for summary in found.values()]
    return dict(zip(found, intervals(evidence, session=session), strict=True))


def _row(model: Model, result: Summary, interval: Interval | None, serial: str | None) -> Row:
    floor = result.floor
    low_ms, high_ms = _ends_ms(interval)
    return Row(
        layer=model.label,
        hot_ms=floor.hot_ns / 1e6,
        cold_ms=_cold_ms(floor),
        visits=floor.visits,
        status=result.status,
        spread=floor.spread,
        measured_unix_s=result.last_unix_s,
        sha256=model.sha256,
        low_ms=low_ms,
        high_ms=high_ms,
        p90_ms=None if result.p90_ns is None else result.p90_ns / 1e6,
        samples=result.samples,
        reason=result.reason,
        serial=serial,
        journal_rows=result.ids,
    )


def _network(model: Model, result: Summary, interval: Interval | None) -> MeasuredNetwork:
    low_ms, high_ms = _ends_ms(interval)
    return MeasuredNetwork(
        label=model.label,
        layers=model.layers,
        latency_ms=result.floor.hot_ns / 1e6,
        cold_ms=_cold_ms(result.floor),
        visits=result.floor.visits,
        status=result.status,
        measured_unix_s=result.last_unix_s,
        sha256=model.sha256,
        low_ms=low_ms,
        high_ms=high_ms,
    )


def _ends_ms(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval[0] / 1e6, interval[1] / 1e6)


def _cold_ms(floor: Floor) -> float | None:
    return None if floor.cold_ns is None else floor.cold_ns / 1e6
