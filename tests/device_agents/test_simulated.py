from __future__ import annotations

from pathlib import Path

import pytest

from device_agents.floor import summarize
from device_agents.measurement import DEFAULT_PLAN, Agent, FailedVisit, ModelFile, Visit
from device_agents.simulated import START_UNIX_S, SimulatedAgent
from tests.contracts.agent_contract import AgentContract, visits_of
from tests.device_agents.models import store


@pytest.fixture
def models(tmp_path: Path) -> list[ModelFile]:
    return [store(tmp_path, f"model {i}".encode()) for i in range(4)]


class TestSimulatedAgent(AgentContract):
    @pytest.fixture
    def models(self, tmp_path: Path) -> list[ModelFile]:
        return [store(tmp_path, f"model {i}".encode()) for i in range(4)]

    @pytest.fixture
    def refused_model(self, tmp_path: Path) -> ModelFile:
        return store(tmp_path, b"refused")

    @pytest.fixture
    def agent(self, refused_model: ModelFile) -> Agent:
        return SimulatedAgent(faults={refused_model.sha256: ["rejected"]})


def test_the_floor_is_close_to_the_latency_it_was_given(models: list[ModelFile]) -> None:
    agent = SimulatedAgent(lambda sha256: 5e5, noise=0.005)
    visits = list(agent.measure(models, DEFAULT_PLAN))
    for model in models:
        floor = summarize(visits_of(model, visits), "thread-cpu-time", DEFAULT_PLAN)
        assert floor.settled
        assert 5e5 <= floor.hot_ns <= 5e5 * 1.02


def test_time_passes_without_waiting(models: list[ModelFile]) -> None:
    agent = SimulatedAgent()
    visits = list(agent.measure(models, DEFAULT_PLAN))
    assert agent.now_unix_s - START_UNIX_S >= DEFAULT_PLAN.min_span_s
    assert visits[-1].started_unix_s < agent.now_unix_s


@pytest.mark.parametrize("fault", ["crashed", "hung"])
def test_a_lost_model_is_tried_again_once(models: list[ModelFile], fault: str) -> None:
    script = {models[0].sha256: [fault], models[1].sha256: [fault, fault]}
    agent = SimulatedAgent(faults=script)  # type: ignore[arg-type]
    visits = list(agent.measure(models, DEFAULT_PLAN))
    failed = [v for v in visits if isinstance(v, FailedVisit)]
    assert sorted(f.sha256 for f in failed) == sorted([models[0].sha256] + 2 * [models[1].sha256])
    assert {f.reason for f in failed} == {fault}
    assert visits_of(models[0], visits)
    assert not visits_of(models[1], visits)
    assert agent.unused_faults == {}


def test_the_same_seed_gives_the_same_visits(models: list[ModelFile]) -> None:
    def visits() -> list[Visit | FailedVisit]:
        return list(SimulatedAgent(seed=3).measure(models, DEFAULT_PLAN, seed=4))

    assert visits() == visits()
