"""Runs of several seeds, and baselines beside a run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.baselines import (
    baseline_configs,
    compare_baselines,
    describe_standings,
    evaluation_s,
    is_cheap,
    load_baselines,
    loses_to_random,
    run_baselines,
)
from search.config import RunConfig
from search.errors import RunError, RunExists
from search.repeats import Spread, format_repeats, load_seeds, parse_seeds, run_seeds
from search.run import SearchResult, resume, run_search
from search.searchers import make_searcher
from search.trials import Trial
from tests.search.spaces import Additive, ConvSpace, config

SPACE = ConvSpace(4, 3, 4)


class Searches:
    """Starts or goes on with runs, and counts the networks that it evaluated."""

    def __init__(self, *, stop_after: int | None = None, slower_ms: float = 0.0) -> None:
        self.evaluator = Additive(SPACE, stop_after=stop_after)
        self.slower_ms = slower_ms

    def __call__(self, config: RunConfig, out: Path) -> SearchResult:
        searcher = make_searcher(config.searcher, SPACE, seed=config.seed)

        def latency(genotypes: object) -> object:
            return self.evaluator.latency_ms(genotypes) + self.slower_ms  # type: ignore[arg-type]

        if (out / "run.toml").exists():
            return resume(out, SPACE, latency, self.evaluator, searcher, budget=config.budget)  # type: ignore[arg-type]
        return run_search(config, SPACE, latency, self.evaluator, searcher, out=out)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20, unique=True))
def test_listed_seeds_are_those(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(seeds)


def test_ranges_of_seeds_have_both_ends() -> None:
    assert parse_seeds("0..3") == (0, 1, 2, 3)
    assert parse_seeds("7..7,1..2") == (7, 1, 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "seeds are written as 0..9 or 1,2,5, found ''"),
        ("0-9", "found '0-9'"),
        ("1,,2", "found '1,,2'"),
        ("-1", "found '-1'"),
        ("9..0", "a range goes up"),
        ("0..1000000000", "at most 1000 seeds"),
        ("1,0..3", "found 1 more than once"),
    ],
)
def test_other_seeds_are_refused(text: str, problem: str) -> None:
    with pytest.raises(RunError) as found:
        parse_seeds(text)
    assert problem in str(found.value)


def test_seeds_are_runs_whose_spread_is_told(tmp_path: Path) -> None:
    repeats = run_seeds(Searches(), config(budget=24), (0, 1, 4), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-0", "seed-1", "seed-4"]
    qualities = [result.best.quality for result in repeats.results.values() if result.best]
    assert len(qualities) == 3
    found = json.loads(json.dumps(repeats.to_dict(), allow_nan=False))
    assert found["quality"]["mean"] == pytest.approx(mean(qualities))
    assert found["quality"]["std"] == pytest.approx(stdev(qualities))
    assert (found["quality"]["low"], found["quality"]["high"]) == (min(qualities), max(qualities))
    assert (found["seeds"], found["met_target"]) == ([0, 1, 4], 3)
    assert "3 seeds, 3 of them met the target of 50 ms" in format_repeats(repeats)
    assert load_seeds(tmp_path).to_dict() == repeats.to_dict()
    for seed, result in repeats.results.items():
        alone = Searches()(replace(config(budget=24), seed=seed), tmp_path / f"alone-{seed}")
        assert alone.trials == result.trials


def test_finished_seeds_are_kept_and_others_go_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_seeds(Searches(stop_after=30), config(budget=24), (0, 1), tmp_path)
    again = Searches()
    repeats = run_seeds(again, config(budget=24), (0, 1), tmp_path)
    kept = repeats.results[0].distinct
    whole = run_seeds(Searches(), config(budget=24), (0, 1), tmp_path / "whole")
    assert [r.trials for r in repeats.results.values()] == [
        r.trials for r in whole.results.values()
    ]
    assert len(again.evaluator.evaluated) == kept + repeats.results[1].distinct - 30
    more = run_seeds(Searches(), config(budget=32), (0, 1), tmp_path)
    assert [len(result.trials) for result in more.results.values()] == [32, 32]


def test_a_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    run_seeds(Searches(), config(budget=8), (0,), tmp_path)
    with pytest.raises(RunExists, match="another configuration"):
        run_seeds(Searches(), config("local", budget=8), (0,), tmp_path)
    with pytest.raises(RunError, match="found none"):
        load_seeds(tmp_path / "nowhere")


def test_seeds_that_agree_say_so(tmp_path: Path) -> None:
    repeats = run_seeds(Searches(), config("local", budget=60), (0, 1, 2), tmp_path)
    assert repeats.favourite is not None
    trial, seeds = repeats.favourite
    assert all(repeats.best[seed].canonical == trial.canonical for seed in seeds)
    assert f"{len(seeds)} seeds have the same best network, {trial.hash}" in format_repeats(repeats)


def test_no_seed_meets_the_target(tmp_path: Path) -> None:
    repeats = run_seeds(Searches(slower_ms=100.0), config(budget=8), (0, 1), tmp_path)
    found = repeats.to_dict()
    assert (found["met_target"], found["quality"], found["shared_best"]) == (0, None, None)
    assert format_repeats(repeats).splitlines() == [
        f"{tmp_path}: 2 seeds, 0 of them met the target of 50 ms"
    ]
    assert Spread.of([]) is None


def test_baselines_have_the_budget_and_the_evaluator_of_the_run(tmp_path: Path) -> None:
    settings = replace(config("evolution"), settings={"warm_start": "a1", "workers": 2})
    result = Searches()(settings, tmp_path / "run")
    baselines = run_baselines(Searches(), result)
    assert list(baselines) == ["random", "local"]
    for name, baseline in baselines.items():
        assert baseline.run == tmp_path / "run" / "baselines" / name
        assert baseline.config == replace(settings, searcher=name, settings={"workers": 2})
        assert len(baseline.trials) == len(result.trials)
    again = Searches()
    assert run_baselines(again, result) == load_baselines(result.run) == baselines
    assert again.evaluator.evaluated == []
    assert load_baselines(tmp_path) == {}
    assert list(baseline_configs(config("random"))) == ["local"]


def test_cheap_is_what_took_little_time_outside_of_the_searcher(tmp_path: Path) -> None:
    result = Searches()(config(budget=24), tmp_path / "run")
    seconds = evaluation_s(result)
    assert seconds is not None
    assert is_cheap(result) == (seconds <= 0.05)


@pytest.mark.parametrize(("other_best", "loses"), [(0.1, True), (0.0, True), (-0.1, False)])
def test_who_is_ahead_is_said(other_best: float, loses: bool, tmp_path: Path) -> None:
    result = Searches()(config("local", budget=24), tmp_path / "run")
    assert result.best is not None
    best = replace(result.best, quality=result.best.quality + other_best)
    trials = tuple(
        best if t.number == best.number else replace(t, quality=0.0)
        for t in result.trials
        if isinstance(t, Trial)
    )
    assert len(trials) == len(result.trials)
    other = replace(result, trials=trials, best=best)
    (standing,) = compare_baselines(result, {"random": other})
    assert standing.lead == pytest.approx(-other_best)
    assert loses_to_random([standing]) is loses
    words = describe_standings(result, [standing])
    assert ("did not beat random search" in words) is loses
    (noisy,) = compare_baselines(result, {"random": other}, noise=0.2)
    assert noisy.is_noise
    assert ("within the noise" in describe_standings(result, [noisy])) is (other_best != 0)


def test_only_one_met_the_target(tmp_path: Path) -> None:
    result = Searches()(config("local", budget=24), tmp_path / "run")
    missed = Searches(slower_ms=100.0)(config(budget=24), tmp_path / "missed")
    (ahead,) = compare_baselines(result, {"random": missed})
    (behind,) = compare_baselines(missed, {"random": result})
    (equal,) = compare_baselines(missed, {"random": missed})
    assert (ahead.lead, behind.lead, equal.lead) == (math.inf, -math.inf, 0.0)
    assert ahead.to_dict()["lead"] is None
    assert "local met the target and random did not" in describe_standings(result, [ahead])
    assert "random met the target and random did not" in describe_standings(missed, [behind])
    assert describe_standings(result, []) == ""
