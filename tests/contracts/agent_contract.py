"""What every agent promises, as tests to inherit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from device_agents.floor import is_done
from device_agents.measurement import (
    Agent,
    Condition,
    FailedVisit,
    ModelFile,
    Outcome,
    ResidentPlan,
    Visit,
)


def visits_of(model: ModelFile, visits: Sequence[Outcome]) -> list[Visit]:
    """Return the visits to this model that gave samples."""
    return [v for v in visits if isinstance(v, Visit) and v.sha256 == model.sha256]


class AgentContract:
    """Inherit, and supply ``agent``, ``models`` (three or more) and ``refused_model``."""

    @pytest.fixture
    def agent(self) -> Agent:
        raise NotImplementedError

    @pytest.fixture
    def models(self) -> list[ModelFile]:
        raise NotImplementedError

    @pytest.fixture
    def refused_model(self) -> ModelFile:
        """A whole file that the device will not run under this condition."""
        raise NotImplementedError

    @pytest.fixture
    def plan(self) -> ResidentPlan:
        return ResidentPlan(hot=3, min_visits=4, max_visits=8, min_span_s=0.0)

    def test_its_condition_names_the_precision_and_the_rule(
        self, agent: Agent, plan: ResidentPlan
    ) -> None:
        condition = agent.condition(precision="float32", plan=plan)
        assert condition.precision == "float32"
        assert condition.summary == plan.summary
        assert condition == agent.condition(precision="float32", plan=plan)
        assert Condition.from_dict(condition.to_dict()) == condition
        assert all(value != "" for value in condition.to_dict().values())

    def test_every_model_is_visited_until_it_is_done(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan
    ) -> None:
        statistic = agent.condition(precision="float32").statistic
        visits = list(agent.measure(models, plan))
        for model in models:
            mine = visits_of(model, visits)
            assert is_done(mine, statistic, plan)
            assert not is_done(mine[:-1], statistic, plan)
            assert all(len(v.hot_wall_ns) == len(v.hot_cpu_ns) == plan.hot for v in mine)
            assert [v.started_unix_s for v in mine] == sorted(v.started_unix_s for v in mine)

    def test_visits_are_interleaved_in_rounds(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan
    ) -> None:
        size = len(models)
        first = [v.sha256 for v in islice(agent.measure(models, plan), size * plan.min_visits)]
        rounds = [first[i : i + size] for i in range(0, len(first), size)]
        assert all(Counter(r) == Counter(m.sha256 for m in models) for r in rounds)
        assert len({tuple(r) for r in rounds}) > 1

    def test_the_seed_decides_the_order(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan
    ) -> None:
        def order(seed: int) -> list[str]:
            visits = agent.measure(models, plan, seed=seed)
            return [v.sha256 for v in islice(visits, len(models) * plan.min_visits)]

        assert order(1) == order(1)
        assert order(1) != order(2)

    def test_earlier_visits_count(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan
    ) -> None:
        visits = list(agent.measure(models, plan))
        done = {model.sha256: visits_of(model, visits) for model in models}
        assert list(agent.measure(models, plan, done=done)) == []
        del done[models[0].sha256]
        assert {v.sha256 for v in agent.measure(models, plan, done=done)} == {models[0].sha256}

    def test_one_model_more_is_one_visit_after_another(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan
    ) -> None:
        visits = list(agent.measure(models, plan))
        mine = visits_of(models[0], visits)[: plan.max_visits - 1]
        last = replace(plan, min_visits=plan.max_visits)
        again = list(agent.measure(models[:1], last, done={models[0].sha256: mine}))
        assert len(again) == plan.max_visits - len(mine)

    def test_a_file_given_twice_is_one_model(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan
    ) -> None:
        first = islice(agent.measure([models[0], models[0], models[1]], plan), 2)
        assert {v.sha256 for v in first} == {models[0].sha256, models[1].sha256}

    def test_no_models_are_no_visits(self, agent: Agent, plan: ResidentPlan) -> None:
        assert list(agent.measure([], plan)) == []

    def test_a_refused_model_fails_once_and_the_others_go_on(
        self,
        agent: Agent,
        models: list[ModelFile],
        refused_model: ModelFile,
        plan: ResidentPlan,
    ) -> None:
        visits = list(agent.measure([*models, refused_model], plan))
        failed = [v for v in visits if isinstance(v, FailedVisit)]
        assert [(f.sha256, f.reason) for f in failed] == [(refused_model.sha256, "rejected")]
        assert all(len(visits_of(m, visits)) >= plan.min_visits for m in models)

    def test_a_missing_or_changed_file_is_unreadable(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan, tmp_path: Path
    ) -> None:
        changed = ModelFile(models[0].path, "0" * 64)
        missing = ModelFile(tmp_path / "gone.tflite", "1" * 64)
        visits = list(agent.measure([changed, missing, models[1]], plan))
        failed = {v.sha256: v for v in visits if isinstance(v, FailedVisit)}
        assert {f.reason for f in failed.values()} == {"unreadable"}
        assert models[0].sha256 in failed[changed.sha256].detail
        assert "gone.tflite" in failed[missing.sha256].detail
        assert len(visits_of(models[1], visits)) >= plan.min_visits

    def test_the_caller_may_stop_and_begin_again(
        self, agent: Agent, models: list[ModelFile], plan: ResidentPlan
    ) -> None:
        for _ in range(2):
            visits = agent.measure(models, plan)
            assert isinstance(next(visits), Visit)
            del visits

    def test_closing_again_is_harmless(self, agent: Agent) -> None:
        agent.close()
        agent.close()
