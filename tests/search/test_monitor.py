"""What a run shows while it goes on, against the trials that it stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.book import meets
from search.monitor import FIRST, Curves, Stopwatch
from search.pareto import hypervolume
from search.run import resume, run_search
from search.run_directory import RunDirectory
from search.searchers import make_searcher
from search.trials import Failed, FailedTrial, Proposal, Scored, Trial
from tests.search.spaces import Additive, ConvSpace, config

SPACE = ConvSpace(4, 3, 4)


def events(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each curve, as the steps and values that were written."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((run / "tensorboard").iterdir()):
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_the_curves_of_a_run_are_those_of_its_trials(tmp_path: Path) -> None:
    evaluator = Additive(SPACE, fails=frozenset({5}))
    result = run_search(
        config("ppo"), SPACE, evaluator.latency_ms, evaluator, make_searcher("ppo", SPACE, seed=3),
        out=tmp_path / "run",
    )  # fmt: skip
    found = events(tmp_path / "run")
    assert {"searcher/entropy", "searcher/approx_kl", "searcher/clip_share", "searcher/advantage",
            "time/ask_s", "time/tell_s", "time/latency_s", "time/wall_s"} < set(found)  # fmt: skip
    steps = [step for step, _ in found["trials/distinct"]]
    assert steps == [8, 16, 24, 32, 40, 48, 56, 60]
    corner = [t for t in result.trials if isinstance(t, Trial) and not t.is_repeat][:FIRST]
    floor, ceiling_ms = min(t.quality for t in corner), max(t.latency_ms for t in corner)
    before = 0
    for place, step in enumerate(steps):
        batch, told = result.trials[before:step], result.trials[:step]
        before = step
        scored = [t for t in batch if isinstance(t, Trial)]
        all_scored = [t for t in told if isinstance(t, Trial)]
        expected = {
            "reward/mean": np.mean([t.reward for t in scored]),
            "latency/mean_ms": np.mean([t.latency_ms for t in scored]),
            "target/share": sum(meets(result.config, t) for t in scored) / len(batch),
            "trials/distinct": len({t.first for t in told}),
            "trials/failed": len({t.first for t in told if isinstance(t, FailedTrial)}),
        }
        for name, value in expected.items():
            assert found[name][place][0] == step
            assert found[name][place][1] == pytest.approx(value)
        if len({t.first for t in all_scored}) >= FIRST:
            volume = hypervolume(
                [t.quality for t in all_scored], [t.latency_ms for t in all_scored],
                floor=floor, ceiling_ms=ceiling_ms,
            )  # fmt: skip
            assert dict(found["front/hypervolume"])[step] == pytest.approx(volume, rel=1e-5)
    assert result.best is not None
    assert found["quality/best"][-1][1] == pytest.approx(result.best.quality)
    assert {value for _, value in found["evaluation/seconds"]} == {0.5}
    with_times = RunDirectory(tmp_path / "run").trials(writable=False)
    assert 0 < with_times.spent()["ask"] < with_times.spent()["wall"]
    with_times.close()


def test_a_run_that_goes_on_continues_its_curves(tmp_path: Path) -> None:
    evaluator = Additive(SPACE)
    for name, budget in (("whole", 60), ("part", 24)):
        run_search(
            config(budget=budget), SPACE, evaluator.latency_ms, evaluator,
            make_searcher("random", SPACE, seed=3), out=tmp_path / name,
        )  # fmt: skip
    resume(
        tmp_path / "part", SPACE, evaluator.latency_ms, evaluator,
        make_searcher("random", SPACE, seed=3), budget=60,
    )  # fmt: skip
    whole, part = events(tmp_path / "whole"), events(tmp_path / "part")
    for name in ("trials/distinct", "quality/best", "front/hypervolume", "reward/mean"):
        assert dict(part[name]) == dict(whole[name])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.booleans()), max_size=60))
def test_the_hypervolume_never_falls(drawn: list[tuple[int, int, bool]]) -> None:
    curves, before = Curves(config()), 0.0
    for number, (quality, latency_ms, fails) in enumerate(drawn):
        proposal = Proposal(number, number, number, (0,), (0,), "", 0, "random")
        result = Failed("no") if fails else Scored(quality, latency_ms, 0.0, 1.0)
        curves.add([(proposal, result)])
        point = curves.point([(proposal, result)])
        volume = point.get("front/hypervolume")
        evaluated = sum(not failed for *_, failed in drawn[: number + 1])
        assert (volume is None) == (evaluated < FIRST)
        if volume is not None:
            assert volume >= before
            before = volume
        assert ("reward/mean" in point) != fails


def test_a_stopwatch_says_where_time_went() -> None:
    now = 0.0
    watch = Stopwatch(lambda: now)
    for seconds in (1.0, 2.0):
        with watch("ask"):
            now += seconds
    now += 4.0
    assert watch.take() == {"ask": 3.0, "wall": 7.0}
    assert watch.take() == {"wall": 0.0}
