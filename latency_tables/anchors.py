"""Anchors: a few models that tell drift of a device, and whether two specimens are alike.

Within a session, and between specimens: one whole network and one layer of each kind, chosen from
what is measured anyway, the middle one by file size: neither so small that a clock's grain shows
nor so large that it takes long.

Between sessions, of a table: one whole network and, of each kind, layers that span its latencies,
``PER_KIND`` of them where a process holds many models (memory lies where it happens to in each
process, which alone makes one model some percent slower), one where each visit has a process of
its own. The reference is the median of what made their rows and of the first ``REFERENCES``
sessions that were within their bands: later ones are held against it and never become it, so that
a device which slowly changes is found to have changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TypeVar

from device_agents.conditions.limits import LIMITS
from device_agents.errors import NoVisits
from device_agents.measurement import Condition, ModelFile, Outcome, Plan, ResidentPlan
from latency_tables.campaigns import whole_campaigns
from latency_tables.drift import Noise, Readings, learn_noise
from latency_tables.drift_report import NETWORK
from latency_tables.errors import NotMeasured
from latency_tables.floors import clean_plan, floor_of, least_visits, plan_of, session_floor
from latency_tables.journal import Journal, Model
from latency_tables.table import Anchor, LatencyTable, Row

PER_KIND = 3
FRESH_PROCESSES = 3
REFERENCES = 6
AGREE = LIMITS.anchor_target_share  # specimens share a table only within this

Floors = Mapping[str, float]
"""Latency in nanoseconds by sha256."""
Outcomes = Mapping[str, Sequence[Outcome]]
"""By sha256 of the model."""
T = TypeVar("T")


def choose_anchors(models: Sequence[tuple[Model, ModelFile]]) -> tuple[ModelFile, ...]:
    """Return the anchors among these files, the network first; their role is ``anchor``."""
    kinds: dict[str, list[ModelFile]] = {}
    for model, file in models:
        if model.role in ("network", "layer"):
            kinds.setdefault(_kind(model), []).append(file)
    chosen = []
    for kind in sorted(kinds, key=lambda kind: (kind != "network", kind)):
        ranked = sorted(kinds[kind], key=lambda file: (file.path.stat().st_size, file.sha256))
        chosen.append(replace(ranked[len(ranked) // 2], role="anchor"))
    return tuple(chosen)


def mark_anchors(
    models: Sequence[tuple[Model, ModelFile]],
) -> list[ModelFile]:
    """Return all files, the anchors first and marked as such by their role."""
    anchors = {anchor.sha256: anchor for anchor in choose_anchors(models)}
    return [*anchors.values(), *(file for _, file in models if file.sha256 not in anchors)]


def anchor_floors(
    anchors: Iterable[ModelFile],
    outcomes: Mapping[str, Sequence[Outcome]],
    condition: Condition,
    plan: Plan,
) -> dict[str, float]:
    """Return the latency of each anchor that has visits among these, by sha256."""
    floors = {}
    for anchor in anchors:
        try:
            floor = floor_of(outcomes.get(anchor.sha256, ()), condition, plan_of(plan, "layer"))
        except NoVisits:
            continue
        floors[anchor.sha256] = floor.hot_ns
    return floors


def differ(first: Floors, second: Floors) -> float:
    """Return the largest relative difference of an anchor; infinite where they share none."""
    common = first.keys() & second.keys()
    ratios = [first[sha256] / second[sha256] for sha256 in common]
    return max((max(ratio, 1 / ratio) - 1 for ratio in ratios), default=math.inf)


def fresh_processes(plan: Plan) -> int:
    """Return how many sessions a look at the anchors takes: those whose visits share a process."""
    return FRESH_PROCESSES if isinstance(plan, ResidentPlan) else 1


def table_anchors(
    journal: Journal,
    table: LatencyTable,
    rows: Iterable[Row],
    visits: Outcomes,
    plan: Plan,
    *,
    pace_ns: int | None,
) -> tuple[Anchor, ...]:
    """Return the anchors of a table, the network first; their references and bands.

    Args:
        rows: of models by themselves, of which those that settled can be anchors.
        visits: all that rows could be made of, by sha256.
        pace_ns: what the table's floors are stated at.
    """
    kinds: dict[str, list[tuple[float, str, str]]] = {}
    for network in table.networks:
        if network.status == "ok":
            place = (network.latency_ms, network.label, network.sha256)
            kinds.setdefault(NETWORK, []).append(place)
    for row in rows:
        if row.status == "ok":
            kinds.setdefault(_kind_of(row.layer), []).append((row.hot_ms, row.layer, row.sha256))
    history = read_history(journal, table.condition, plan, pace_ns=pace_ns)
    noise = learn_noise(history)
    known = history[0].keys() if history else frozenset[str]()
    anchors = []
    for kind in sorted(kinds, key=lambda kind: (kind != NETWORK, kind)):
        n = PER_KIND if kind != NETWORK and isinstance(plan, ResidentPlan) else 1
        kept = sorted(place for place in kinds[kind] if place[1] in known)
        for _, label, sha256 in kept[:n] or _middles(sorted(kinds[kind]), n):
            first = whole_campaigns(visits[sha256], least_visits(clean_plan(plan)))[0]
            floor = floor_of(first, table.condition, plan, pace_ns=pace_ns)
            later = [session[label] for session in history if label in session]
            references = [floor.hot_ns / 1e6, *later[:REFERENCES]]
            band = noise.band(label, fresh_processes(plan), len(references))
            anchors.append(Anchor(kind, label, sha256, median(references), band))
    return tuple(anchors)


def read_session(
    outcomes: Outcomes,
    labels: Mapping[str, str],
    condition: Condition,
    plan: Plan,
    *,
    pace_ns: int | None,
) -> dict[str, float]:
    """Return the latency of each anchor that was measured in one session, in ms by label.

    Args:
        labels: of the anchors' files by sha256.
    """
    readings = {}
    for sha256, label in labels.items():
        try:
            floor = session_floor(
                outcomes.get(sha256, ()), condition, plan_of(plan, "layer"), pace_ns=pace_ns
            )
        except NotMeasured:
            continue
        readings[label] = floor.hot_ns / 1e6
    return readings


def read_history(
    journal: Journal, condition: Condition, plan: Plan, *, pace_ns: int | None
) -> list[Readings]:
    """Return what sessions that were found within their bands made of their anchors, in order."""
    labels = {m.sha256: m.label for m in journal.models() if m.role in ("layer", "network")}
    accepted: list[int] = []
    look: list[int] = []
    for session in journal.sessions():
        if session.condition != condition:
            continue
        if session.purpose == "anchors":
            look = [session.id] if session.seed == 0 else [*look, session.id]
        elif session.purpose == "anchors-within":
            accepted, look = [*accepted, *look], []
    found: list[Readings] = []
    for number in accepted:
        outcomes = journal.visits_of(number)
        mine = {sha256: labels[sha256] for sha256 in outcomes if sha256 in labels}
        found.append(read_session(outcomes, mine, condition, plan, pace_ns=pace_ns))
    return found


def table_noise(
    journal: Journal, condition: Condition, plan: Plan, *, pace_ns: int | None
) -> Noise:
    """Return the noise between sessions of this journal's device, see `drift.learn_noise`."""
    return learn_noise(read_history(journal, condition, plan, pace_ns=pace_ns))


def _middles(ranked: Sequence[T], n: int) -> list[T]:
    """Return at most ``n`` of these, at the middles of as many equal parts."""
    n = min(n, len(ranked))
    return [ranked[(2 * i + 1) * len(ranked) // (2 * n)] for i in range(n)]


def _kind(model: Model) -> str:
    return NETWORK if model.role == "network" else _kind_of(model.label)


def _kind_of(key: str) -> str:
    return key.split("/")[1]
