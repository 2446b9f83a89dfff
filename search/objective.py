"""Objective: what a search is after, of a quality and several costs; whole batches at a time.

    reward      one number, for searchers that climb         absolute | hard | soft | penalty
    limits      what a network may cost at most, each        latency_ms, madds, params, ...
    values      quality, minus each cost of the front, the violation; for whole fronts

A network that breaks a limit has its reward less 1 + violation, so that any network within the
limits is better than any outside of them (qualities lie in [0, 1] and rewards near it), and the
nearer one is the better one. The violation is the sum over limits of (cost / limit - 1), where
positive.

The penalty is the guide's: quality - weight x cost, the cost in milliseconds or in millions of
multiply-adds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from networks.costs import CostName
from search.errors import RewardError
from search.rewards import Reward

Floats = npt.NDArray[np.float64]
Cost = Literal["latency_ms"] | CostName
COSTS: tuple[Cost, ...] = ("latency_ms", *get_args(CostName))


@dataclass(frozen=True, slots=True)
class Penalty:
    """``quality - weight x cost``, the cost in ms or in millions.

    Args:
        weight: of a millisecond, or of a million of anything else.
        cost: which one.

    Raises:
        RewardError: the weight is not a finite number above 0, or there is no such cost.
    """

    weight: float
    cost: Cost = "latency_ms"

    def __post_init__(self) -> None:
        if self.cost not in COSTS:
            raise RewardError(f"a cost is one of {', '.join(COSTS)}, found {self.cost!r}")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise RewardError(f"a penalty's weight is a finite number over 0, found {self.weight}")

    def __call__(self, quality: Floats, cost: Floats) -> Floats:
        """Return the reward of each network, shape ``(n,)``."""
        return quality - self.weight * (cost if self.cost == "latency_ms" else cost / 1e6)

    def swamps(self, quality: Floats, cost: Floats) -> str | None:
        """Return a warning where the penalty varies more over these networks than the quality."""
        spread = float(np.std(self(np.zeros_like(cost), cost)))
        if not spread > float(np.std(quality)):
            return None
        return (
            f"The penalty's standard deviation over these networks, {spread:.3g}, is larger than"
            f" the quality's, {float(np.std(quality)):.3g}: the search mostly looks for a small"
            f" {self.cost}; choose a weight below {self.weight:g}."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What an objective says of networks: rewards and violations ``(n,)``, values ``(n, k)``."""

    rewards: Floats
    violations: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class Objective:
    """See the module.

    Args:
        reward: of quality and latency, or a penalty.
        limits: the most that a network may cost, by name.
        front: the costs beside quality that searchers for whole fronts minimize.

    Raises:
        RewardError: a limit or a cost of an unknown name, or a limit that is not above 0.
    """

    reward: Reward | Penalty
    limits: Mapping[Cost, float] = field(default_factory=dict)
    front: tuple[Cost, ...] = ("latency_ms",)

    def __post_init__(self) -> None:
        for name in (*self.limits, *self.front):
            if name not in COSTS:
                raise RewardError(f"a cost is one of {', '.join(COSTS)}, found {name!r}")
        for name, limit in self.limits.items():
            if not (math.isfinite(limit) and limit > 0):
                raise RewardError(f"the limit of {name} is a number over 0, found {limit}")

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The costs that it needs, latency first if it does."""
        used = {*self.limits, *self.front}
        used.add(self.reward.cost if isinstance(self.reward, Penalty) else "latency_ms")
        return tuple(name for name in COSTS if name in used)

    def __call__(self, quality: Floats, costs: Mapping[str, Floats]) -> Judged:
        """Return what it says of each network.

        Args:
            quality: shape ``(n,)``.
            costs: each of `costs`, shape ``(n,)``.
        """
        if isinstance(self.reward, Penalty):
            rewards = self.reward(quality, costs[self.reward.cost])
        else:
            rewards = np.asarray(self.reward(quality, costs["latency_ms"]), np.float64)
        over = [costs[name] / limit - 1 for name, limit in self.limits.items()]
        violations: Floats = np.maximum(over, 0.0).sum(axis=0) if over else np.zeros(len(quality))
        columns = [quality, *(-costs[name] for name in self.front), violations]
        outside = violations > 0
        return Judged(
            rewards - np.where(outside, 1.0 + violations, 0.0),
            violations,
            np.stack(columns, axis=1),
        )
