from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.errors import DeviceUnusable
from device_agents.measurement import FailedVisit, ModelFile, ResidentPlan, Visit
from device_agents.resident import (
    MAX_LOSSES_IN_A_ROW,
    Rounds,
    resident_bytes,
    split_into_shards,
)
from device_agents.simulated import Fault, SimulatedAgent
from tests.device_agents.visits import visit

PLAN = ResidentPlan(min_visits=4, max_visits=6, min_span_s=0.0)


def model(number: int) -> ModelFile:
    return ModelFile(Path(f"{number}.tflite"), f"{number:064d}")


@given(st.lists(st.integers(0, 100)), st.integers(1, 150))
def test_shards_hold_everything_in_order_and_fit(sizes: list[int], capacity: int) -> None:
    sized = [(model(i), size) for i, size in enumerate(sizes)]
    shards = list(split_into_shards(sized, capacity))
    assert [m for shard in shards for m in shard] == [m for m, _ in sized]
    for shard in shards:
        assert len(shard) == 1 or sum(sizes[int(m.sha256)] for m in shard) <= capacity


@given(st.integers(0, 1 << 40))
def test_a_resident_model_takes_more_than_its_file(size: int) -> None:
    assert resident_bytes(size) > size


@given(st.integers(1, 8), st.integers(0, 100))
def test_models_that_agree_get_the_fewest_visits_and_others_the_most(count: int, seed: int) -> None:
    models = [model(i) for i in range(count)]
    rounds = Rounds(models, PLAN, "thread-cpu-time", done={}, order=random.Random(seed))
    noise = random.Random(seed + 1)
    steady = {m.sha256 for m in models if noise.random() < 0.5}
    visited = dict.fromkeys((m.sha256 for m in models), 0)
    now_s = 0.0
    while batch := rounds.next_round():
        assert len({m.sha256 for m in batch}) == len(batch)
        for m in batch:
            visited[m.sha256] += 1
            now_s += 1.0
            growing = 1.0 if m.sha256 in steady else 2.0 ** visited[m.sha256]
            rounds.add(visit(round(1000 * growing), sha256=m.sha256, started_unix_s=now_s))
    for sha256, number in visited.items():
        assert number == (PLAN.min_visits if sha256 in steady else PLAN.max_visits)


def test_a_model_is_dropped_when_refused_once_or_lost_twice() -> None:
    models = [model(0), model(1), model(2)]
    rounds = Rounds(models, PLAN, "thread-cpu-time", done={}, order=random.Random(0))
    rounds.add(FailedVisit(models[0].sha256, 0.0, "rejected", ""))
    rounds.add(FailedVisit(models[1].sha256, 0.0, "crashed", ""))
    assert {m.sha256 for m in rounds.next_round()} == {models[1].sha256, models[2].sha256}
    rounds.add(FailedVisit(models[1].sha256, 0.0, "hung", ""))
    assert rounds.next_round() == [models[2]]


def test_rounds_over_few_models_are_kept_apart() -> None:
    plan = ResidentPlan(min_visits=4, max_visits=6, min_span_s=9.0)
    agent = SimulatedAgent(check_files=False, noise=0.0)
    starts = [v.started_unix_s for v in agent.measure([model(0)], plan)]
    assert len(starts) == plan.min_visits
    assert starts[-1] - starts[0] >= plan.min_span_s
    gaps = [b - a for a, b in pairwise(starts)]
    assert all(plan.round_interval_s <= gap < plan.round_interval_s + 0.1 for gap in gaps)


def test_a_device_that_loses_every_worker_is_given_up() -> None:
    models = [model(i) for i in range(MAX_LOSSES_IN_A_ROW + 1)]
    script: dict[str, list[Fault]] = {m.sha256: ["crashed", "crashed"] for m in models}
    agent = SimulatedAgent(check_files=False, faults=script)
    with pytest.raises(DeviceUnusable, match="SIGSEGV"):
        list(agent.measure(models, PLAN))


@given(st.integers(0, 60), st.integers(0, 100))
def test_resuming_anywhere_ends_with_all_models_done(stop: int, seed: int) -> None:
    models = [model(i) for i in range(4)]
    agent = SimulatedAgent(check_files=False, noise=0.05, seed=seed)
    taken: dict[str, list[Visit]] = {m.sha256: [] for m in models}
    for number, found in enumerate(agent.measure(models, PLAN, seed=seed)):
        if number == stop:
            break
        assert isinstance(found, Visit)
        taken[found.sha256].append(found)
    for found in agent.measure(models, PLAN, seed=seed + 1, done=taken):
        assert isinstance(found, Visit)
        taken[found.sha256].append(found)
    assert all(PLAN.min_visits <= len(v) <= PLAN.max_visits for v in taken.values())
