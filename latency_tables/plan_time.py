"""Plan time: how long a table takes before it is begun, and what fits into less.

clean processes   least visits x (warm-up, runs, pause), and an anchor every 20 visits
packed            deals x packs, and by clean processes 60 layers and the whole networks
resident          least visits x a few milliseconds, but no less than the plan's span

These are the methods' own numbers for models of some milliseconds, a device that stays cool, and
visits that agree at once: a lower bound to plan with, not a promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from device_agents.conditions.limits import LIMITS
from device_agents.measurement import Plan, ResidentPlan
from device_agents.packs import PackedPlan
from device_agents.processes import ProcessPlan

RESIDENT_VISIT_S = 0.0035  # benchmarks.table_repeatability: 1,630 models x 10.5 visits in a minute


@dataclass(frozen=True, slots=True)
class PlanTime:
    """What a plan comes to: the models that lack visits, the least visits, and the time of all."""

    layers: int
    networks: int
    visits: int
    wall_s: float
    method: str

    def __str__(self) -> str:
        what = f"{self.layers:,} layers and {self.networks} networks by {self.method}"
        return f"{what}: {self.visits:,} visits, about {format_duration(self.wall_s)}"


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan's time beside the budget.

    Where the budget is too small, ``layers_that_fit`` says for how many layers it is enough, and
    ``packed`` how long packed profiling takes, on devices that can. ``devices`` share the work.
    """

    time: PlanTime
    budget_s: float | None
    devices: int = 1
    layers_that_fit: int | None = None
    packed: PlanTime | None = None

    @property
    def fits(self) -> bool:
        """Whether the plan fits into the budget."""
        return self.layers_that_fit is None

    def __str__(self) -> str:
        lines = [str(self.time)]
        if self.devices > 1:
            lines[0] += f" on {self.devices} devices"
        if self.budget_s is not None and self.layers_that_fit is not None:
            lines.append(
                f"the budget of {format_duration(self.budget_s)} is enough for"
                f" {self.layers_that_fit:,} of the layers; what is measured becomes a partial table"
            )
        if self.packed is not None:
            lines.append(f"or {self.packed} (--method packed)")
        return "\n".join(lines)


Announce = Callable[[Forecast], None]
"""Told how long it will take before a device is asked for anything."""


def plan_time(layers: int, networks: int, plan: Plan) -> PlanTime:
    """Return the time of measuring so many layers and whole networks by this plan."""
    if isinstance(plan, ResidentPlan):
        visits = layers * plan.min_visits + networks * plan.of("network").min_visits
        span_s = plan.of("network").min_span_s if networks else plan.min_span_s
        wall_s = max(span_s, visits * RESIDENT_VISIT_S) if visits else 0.0
        return PlanTime(layers, networks, visits, wall_s, "visits of one resident process")
    if isinstance(plan, ProcessPlan):
        visits = (layers + networks) * plan.min_processes
        wall_s = visits * plan.visit_s * (1 + 1 / LIMITS.anchor_every_jobs)
        return PlanTime(layers, networks, visits, wall_s, "clean processes")
    packs = plan.shuffles * math.ceil(layers / plan.pack_size)
    clean = plan_time(min(layers, plan.clean_layers), networks, plan.clean)
    wall_s = packs * plan.visit_s + clean.wall_s
    return PlanTime(layers, networks, packs + clean.visits, wall_s, "packs")


def forecast(
    layers: int, networks: int, plan: Plan, *, budget_s: float | None = None, devices: int = 1
) -> Forecast:
    """Return the time of a plan on so many devices, and what fits where it exceeds the budget."""

    def time(count: int, other: Plan = plan) -> PlanTime:
        whole = plan_time(count, networks, other)
        return replace(whole, wall_s=whole.wall_s / devices)

    whole = time(layers)
    if budget_s is None or whole.wall_s <= budget_s:
        return Forecast(whole, budget_s, devices)
    fit = max((n for n in range(layers + 1) if time(n).wall_s <= budget_s), default=0)
    packed = time(layers, PackedPlan(clean=plan)) if isinstance(plan, ProcessPlan) else None
    if packed is not None and packed.wall_s >= whole.wall_s:
        packed = None
    return Forecast(whole, budget_s, devices, fit, packed)


def format_duration(seconds: float) -> str:
    """Return a time in words, such as ``9 h 27 min``, ``41 min`` or ``6 s``."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
