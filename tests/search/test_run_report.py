"""Pages of runs: everything that a reader must be told is there, and nothing is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networks.spaces import make_space
from networks.spaces.space import Genotypes
from search.aims import describe_latency, describe_reward
from search.baselines import run_baselines
from search.config import RunConfig
from search.errors import NotARun
from search.honesty import honesty_of
from search.latency import Latency
from search.objective import Penalty
from search.plots import plot_curves
from search.repeats import run_seeds
from search.report import Facts, Notice, Part, Section, Table, format_report
from search.rewards import make_reward
from search.run import SearchResult, resume, run_search
from search.run_report import report_path, report_run
from search.searchers import make_searcher
from search.trials import Trial
from tests.search.spaces import Additive

SPACE = make_space("mobile-cnn", resolution=32)


class Uncertain:
    """Latencies with standard deviations."""

    name, is_measured = "table:some", False

    def latencies(self, genotypes: Genotypes) -> Iterator[Latency]:
        for latency_ms in Additive(SPACE).latency_ms(genotypes):
            yield Latency(float(latency_ms), 0.5)


def search(config: RunConfig, out: Path) -> SearchResult:
    evaluator = Additive(SPACE, fails=frozenset(range(0, 100, 7)))
    searcher = make_searcher(config.searcher, SPACE, seed=config.seed)
    if (out / "run.toml").exists():
        return resume(out, SPACE, Uncertain(), evaluator, searcher, budget=config.budget)
    return run_search(config, SPACE, Uncertain(), evaluator, searcher, out=out)


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(
        space="mobile-cnn",
        latency="table:some",
        evaluator="additive",
        searcher="local",
        reward=make_reward("absolute", target_ms=50),
        budget=48,
        batch=8,
        limits={"latency_ms": 60.0},
        settings={"resolution": 32, "quality_std": 0.002},
    )


def test_a_page_says_all_there_is_to_know(config: RunConfig, tmp_path: Path) -> None:
    result = search(config, tmp_path / "run")
    assert "No random or local search was run beside this one" in report_run(result)
    run_baselines(search, result)
    page = report_path(tmp_path / "run")
    assert result.best is not None
    assert result.best.interval_ms is not None
    network = SPACE.decode(result.best.genotype)
    for text in (
        f"{result.best.quality:.4f}",
        "90 %: {:.3f} to {:.3f} ms".format(*result.best.interval_ms),
        f"{network.madds / 1e6:.0f} M multiply-adds",
        "latency_ms of at most 60",
        "each 10 % that a network is off the target",
        "after the same 48 proposals",
        "standard deviation of 0.002 (given as quality_std)",
        "loss is not finite",
        "asking for proposals",
        "A measurement of it meets the target with a probability of",
        "who</th><th>proposals",
        "random",
    ):
        assert text in page, text
    assert not re.search(r"(src|href)=\"(?!#|data:)|url\((?!#)|@import|<script", page)
    honesty = honesty_of(result)
    values = json.loads(json.dumps(honesty.to_dict(), allow_nan=False))
    assert [baseline["name"] for baseline in values["baselines"]] == ["random"]
    assert values["loses_to_random"] is honesty.loses_to_random
    assert values["noise"]["quality"]["std"] == 0.002
    assert values["noise"]["lead"]["is_clear"] is (values["noise"]["lead"]["rivals"] == 0)
    assert 0.5 < values["noise"]["probability_within_target"] <= 1
    assert values["noise"]["ranking"]["networks"] > 1
    for line in honesty.lines():
        assert line in page
    alone = honesty_of(result, baselines={})
    assert alone.to_dict()["loses_to_random"] is None
    assert len(alone.lines()) == 1


def test_a_page_of_several_seeds(config: RunConfig, tmp_path: Path) -> None:
    plain = replace(config, settings={"resolution": 32})
    repeats = run_seeds(search, plain, (0, 1, 2, 3), tmp_path)
    page = report_path(tmp_path)
    assert "4 seeds" in page
    assert "4 of 4" in page
    spread = repeats.spread("quality")
    assert spread is not None
    assert f"{spread.mean:.4f} ± {spread.std:.4f}" in page
    assert f"{spread.low:.4f} to {spread.high:.4f}" in page
    with pytest.raises(NotARun):
        report_path(tmp_path / "nowhere")


def test_a_run_without_a_network_in_bounds_or_without_an_end(
    config: RunConfig, tmp_path: Path
) -> None:
    tight = replace(config, reward=make_reward("hard", target_ms=1.0), budget=8)
    page = report_run(search(tight, tmp_path / "tight"))
    assert "No network that was evaluated meets the target of 1 ms" in page
    result = search(config, tmp_path / "run")
    begun = replace(result, trials=result.trials[:20])
    assert "20 of 48 proposals have a result" in report_run(begun)
    nothing = replace(result, trials=(), front=(), best=None, distinct=0)
    assert "There is nothing to show yet" in report_run(nothing)


def test_a_run_that_loses_to_random_says_so(config: RunConfig, tmp_path: Path) -> None:
    result = search(config, tmp_path / "run")
    run_baselines(search, result)
    bad = tuple(
        replace(t, quality=t.quality - 1) if isinstance(t, Trial) else t for t in result.trials
    )
    page = report_run(replace(result, trials=bad))
    assert "local did not beat random search here" in page


@pytest.mark.parametrize("kind", ["absolute", "hard", "soft"])
def test_rewards_in_words_are_what_rewards_do(kind: str, config: RunConfig) -> None:
    reward = make_reward(kind, target_ms=80)
    words = describe_reward(replace(config, reward=reward))
    late = 0.7 - reward(0.7, 88.0)
    if kind == "absolute":
        assert f"costs {late:.2g} of quality" in words
    elif kind == "hard":
        assert f"10 % too slow costs {100 * late / 0.7:.2g} % of quality" in words
    else:
        gain = reward(0.7, 40.0) / reward(0.7, 80.0) - 1
        assert f"half the latency is worth {100 * gain:.2g} % of quality" in words


def test_a_penalty_and_latencies_in_words(config: RunConfig) -> None:
    assert "0.01 x million madds" in describe_reward(replace(config, reward=Penalty(0.01, "madds")))
    assert "0.02 x ms" in describe_reward(replace(config, reward=Penalty(0.02)))
    for latency, words in {"table:x": "predicted", "device:local": "measured", "csv": "latency",
                           "madds": "multiply-adds"}.items():  # fmt: skip
        assert describe_latency(replace(config, latency=latency)).startswith(words)


def test_parts_of_a_page_are_escaped() -> None:
    parts: list[Part] = [Facts([("a<b", "1&2", "x>y")]), Notice("<b>"), Table([], [["<i>", "&"]])]
    page = format_report("t", "l", [Section("s", parts)])
    for text in ("a&lt;b", "1&amp;2", "x&gt;y", '<p class="notice">&lt;b&gt;', "&lt;i&gt;"):
        assert text in page


def test_seeds_that_never_met_the_target_are_counted() -> None:
    met, never = np.array([np.nan, 0.5, 0.6]), np.full(3, np.nan)
    page = plot_curves({"ppo": [met, never], "local": [never]}, quality="quality")
    assert "ppo (1 of 2 seeds)" in page
    assert "local: none within the target" in page


@pytest.mark.parametrize(("weight", "swamps"), [(1e-5, False), (1.0, True)])
def test_a_penalty_that_swamps_the_quality_is_said(
    config: RunConfig, tmp_path: Path, weight: float, swamps: bool
) -> None:
    result = search(replace(config, reward=Penalty(weight)), tmp_path / "run")
    honesty = honesty_of(result)
    assert (honesty.penalty_warning is not None) is swamps
    assert ("mostly looks for a small latency_ms" in report_run(result)) is swamps
    assert honesty.to_dict()["warning"] == honesty.penalty_warning
