"""Packed method: each visit is a process that profiles one file of many layers, by operator.

    pack (role "pack") --> timing tool with its op profile --> PackVisit: rows in order
    layers, networks   --> clean processes, as in the process method --> ProcessVisit

Starting a process and loading a model cost more than timing a layer, so 40 layers share one. The
profiler and cold caches make rows some percent too long: what is timed clean beside tells how
much (reference protocol, section 12). Whose rows they are is for the caller to say, who knows the
layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from device_agents.measurement import Origin
from device_agents.processes import ProcessPlan
from device_agents.tools.op_profile import OpProfile


@dataclass(frozen=True, slots=True)
class PackVisit:
    """What one profiled process said of one pack: the operators of its timed runs, in order.

    ``raw`` is everything that the tool printed, the profile included; ``origin`` as in a
    `ProcessVisit`.
    """

    sha256: str
    started_unix_s: float
    profile: OpProfile
    raw: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class PackedPlan:
    """How many layers share a pack, how often all are dealt anew, and how packs are profiled.

    Each deal is visited once, so that a layer has ``shuffles`` values, each among others. At
    least ``clean_layers`` layers, and all whole networks, are also timed by the ``clean`` plan.
    Above a median error of ``tolerance`` on them, after one scale, a table is unvalidated.
    Source: reference protocol, section 12, and section 4 for the warm-up and the pause.
    """

    pack_size: int = 40
    shuffles: int = 5
    warmup_s: float = 0.5
    runs: int = 30
    max_s: float = 60.0
    pause_s: float = 2.0
    load_allowance_s: float = 60.0
    clean_layers: int = 60
    tolerance: float = 0.05
    clean: ProcessPlan = field(default_factory=ProcessPlan)

    @property
    def summary(self) -> str:
        """The name of the rule that makes a value of visits, for a `Condition`."""
        return f"median-of-{self.shuffles}-packs-of-{self.pack_size}-scaled"

    @property
    def visit_s(self) -> float:
        """About how long a pack's visit takes, its pause included: some milliseconds a layer."""
        return self.warmup_s + 0.002 * self.pack_size * (self.runs + 1) + self.pause_s

    @property
    def deadline_s(self) -> float:
        """When a process that has not ended is given up: both phases may take ``max_s``."""
        return 2 * self.max_s + self.load_allowance_s
