from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from networks.costs import COST_NAMES, count_costs
from networks.spaces import make_space
from search.costs import costs_of
from search.errors import RewardError
from search.objective import COSTS, Objective, Penalty
from search.rewards import make_reward
from tests.search.spaces import ConvSpace

ABSOLUTE = make_reward("absolute", target_ms=10.0)


def test_costs_of_a_chain_space_are_those_of_its_networks() -> None:
    space = make_space("mnasnet", resolution=32)
    genotypes = space.sample(20, np.random.default_rng(0))
    counted = costs_of(space, COST_NAMES)(genotypes)
    for row, genotype in enumerate(genotypes):
        wanted = count_costs(space.decode(genotype).graph())
        for name in COST_NAMES:
            assert counted[name][row] == getattr(wanted, name)


def test_costs_of_any_other_space() -> None:
    space = ConvSpace(3, 3)
    genotypes = space.sample(8, np.random.default_rng(0))
    counted = costs_of(space, ("params",))(genotypes)
    assert counted["params"].tolist() == [space.decode(g).params for g in genotypes]


class TestObjective:
    quality = np.array([0.7, 0.8, 0.9])
    costs: ClassVar[dict[str, np.ndarray]] = {
        "latency_ms": np.array([8.0, 10.0, 15.0]),
        "params": np.array([1e6, 3e6, 2e6]),
    }

    def test_without_limits_it_is_its_reward(self) -> None:
        judged = Objective(ABSOLUTE)(self.quality, self.costs)
        assert judged.rewards == pytest.approx(ABSOLUTE(self.quality, self.costs["latency_ms"]))
        assert judged.violations.tolist() == [0, 0, 0]
        assert judged.values[:, 1].tolist() == [-8, -10, -15]

    def test_any_network_within_limits_beats_any_outside(self) -> None:
        objective = Objective(ABSOLUTE, {"latency_ms": 12.0, "params": 2e6})
        judged = objective(self.quality, self.costs)
        assert judged.violations == pytest.approx([0, 0.5, 0.25])
        assert judged.rewards[0] > judged.rewards[2] > judged.rewards[1]
        assert judged.values[:, -1] == pytest.approx(judged.violations)

    def test_penalty_per_million(self) -> None:
        objective = Objective(Penalty(0.01, "params"), front=("params",))
        assert objective.costs == ("params",)
        judged = objective(self.quality, {"params": self.costs["params"]})
        assert judged.rewards == pytest.approx([0.69, 0.77, 0.88])

    def test_penalty_per_millisecond(self) -> None:
        judged = Objective(Penalty(0.01))(self.quality, self.costs)
        assert judged.rewards == pytest.approx([0.62, 0.7, 0.75])

    def test_a_penalty_that_swamps_the_quality_says_so(self) -> None:
        latency_ms = self.costs["latency_ms"]
        assert Penalty(0.001).swamps(self.quality, latency_ms) is None
        assert "below 0.5" in (Penalty(0.5).swamps(self.quality, latency_ms) or "")

    def test_needs_the_costs_that_it_names(self) -> None:
        objective = Objective(ABSOLUTE, {"memory_bytes": 1e6}, front=("madds",))
        assert objective.costs == ("latency_ms", "madds", "memory_bytes")
        assert set(objective.costs) <= set(COSTS)

    def test_refuses_what_cannot_be(self) -> None:
        with pytest.raises(RewardError, match="over 0"):
            Objective(ABSOLUTE, {"params": 0.0})
        with pytest.raises(RewardError, match="one of latency_ms"):
            Objective(ABSOLUTE, {"flops": 1.0})  # type: ignore[dict-item]
        with pytest.raises(RewardError, match="weight"):
            Penalty(0.0)
