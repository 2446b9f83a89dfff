"""Anchors: a few models that tell drift of a device, and whether two specimens are alike.

One whole network and one layer of each kind, chosen from what is measured anyway, the middle one
by file size: neither so small that a clock's grain shows nor so large that it takes long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from device_agents.conditions.limits import LIMITS
from device_agents.errors import NoVisits
from device_agents.measurement import Condition, ModelFile, Outcome, Plan
from latency_tables.floors import floor_of, plan_of
from latency_tables.journal import Model

AGREE = LIMITS.anchor_target_share  # specimens share a table only within this

Floors = Mapping[str, float]
"""Latency in nanoseconds by sha256."""


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


def _kind(model: Model) -> str:
    return "network" if model.role == "network" else model.label.split("/")[1]
