"""Whether a winner is one: the noise of qualities, and leads beside it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.config import RunConfig
from search.errors import RunError
from search.quality_noise import (
    QualityNoise,
    describe_lead,
    lead_of,
    noise_of_repeats,
    probability_within,
    quality_noise,
)
from search.ranking import run_ranking_noise
from search.run import SearchResult, summarize
from search.splits import DataIdentity, SplitRule, Splits
from search.trials import Trial
from tests.search.spaces import config

Z90 = 1.6448536269514722


def trial(number: int, quality: float, latency_ms: float, std_ms: float | None = None) -> Trial:
    return Trial(
        number, 0, number, (number,), (number,), f"h{number}", 0, "random", quality, latency_ms,
        quality, 1.0, std_ms,
    )  # fmt: skip


def result(*qualities: float, settings: RunConfig | None = None, seed: int = 0) -> SearchResult:
    """A run with a target of 50 ms, whose networks take 40 ms."""
    found = replace(settings or config(), seed=seed)
    trials = [trial(number, quality, 40.0) for number, quality in enumerate(qualities)]
    return summarize(Path("run"), found, list(trials))


@given(
    st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=20),
    st.sampled_from([0.0, 0.01, 0.2]) | st.none(),
)
def test_rivals_are_counted_as_a_loop_does(qualities: list[float], std: float | None) -> None:
    noise = QualityNoise("", images=50) if std is None else QualityNoise("", std=std)
    lead = lead_of(result(*qualities), noise)
    assert lead is not None
    best = max(range(len(qualities)), key=lambda i: qualities[i])

    def deviation(quality: float) -> float:
        return std if std is not None else math.sqrt(quality * (1 - quality) / 50)

    def is_rival(i: int) -> bool:
        reach = Z90 * math.hypot(deviation(qualities[best]), deviation(qualities[i]))
        return qualities[best] - qualities[i] <= reach + 1e-12

    assert lead.rivals == sum(is_rival(i) for i in range(len(qualities)) if i != best)
    ordered = sorted(qualities)
    assert lead.lead == pytest.approx(ordered[-1] - ordered[-2])
    assert lead.is_clear == (lead.rivals == 0)
    json.dumps(lead.to_dict(), allow_nan=False)


def test_of_equal_networks_chance_makes_few_clear_winners() -> None:
    """A best of 2 is ahead by more than the 90 % noise in a tenth of draws."""
    rng, noise = np.random.default_rng(0), QualityNoise("", std=0.01)
    leads = [lead_of(result(*(0.5 + rng.normal(0, 0.01, 2))), noise) for _ in range(2000)]
    assert np.mean([lead is not None and lead.is_clear for lead in leads]) == pytest.approx(
        0.1, abs=0.025
    )


def test_the_setting_comes_first_then_repeats_then_the_images(tmp_path: Path) -> None:
    settings = replace(config(), settings={"quality_std": 0.02})
    given_ = quality_noise(result(0.5, 0.6, settings=settings), [result(0.5, 0.7, seed=1)])
    assert given_ is not None
    assert given_.std == 0.02
    runs = [result(0.5, 0.6), result(0.7, 0.6, seed=1)]
    repeated = quality_noise(runs[0], runs[1:])
    assert repeated is not None
    assert repeated.std == pytest.approx(math.sqrt((0.2**2 / 2 + 0) / 2))
    assert quality_noise(result(0.5, 0.6)) is None
    images = np.arange(400)
    identity = DataIdentity("some", 1200, "", "")
    Splits(images, images, images, SplitRule(), identity).save(tmp_path / "splits.npz")
    trained = quality_noise(replace(result(0.5, 0.6), run=tmp_path))
    assert trained is not None
    assert trained.images == 400
    assert trained.stds(np.array([0.5]))[0] == pytest.approx(0.025)


def test_pooled_repeats_find_the_deviation_that_was_drawn() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.3, 0.7, 300)
    runs = [result(*(truth + rng.normal(0, 0.03, 300)), seed=seed) for seed in range(3)]
    noise = noise_of_repeats(runs)
    assert noise is not None
    assert noise.std == pytest.approx(0.03, rel=0.1)


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf"), "small", True])
def test_a_deviation_that_is_none_is_refused(std: float | str) -> None:
    settings = replace(config(), settings={"quality_std": std})
    with pytest.raises(RunError, match="quality_std is a number of at least 0"):
        quality_noise(result(0.5, settings=settings))


def test_it_is_said_in_words() -> None:
    noise = QualityNoise("given", std=0.01)
    close, clear = result(0.5, 0.51, 0.505), result(0.5, 0.7)
    assert "2 rivals are inside the noise" in describe_lead(lead_of(close, noise), noise)
    assert "0.2 ahead of the second of 2, more than their noise of 0.02326 (90 %)" in describe_lead(
        lead_of(clear, noise), noise
    )
    assert "is not known" in describe_lead(None, None)
    assert "no second network" in describe_lead(lead_of(result(0.5), noise), noise)
    exact = QualityNoise("repeats", std=0.0)
    assert "repeat exactly" in describe_lead(lead_of(clear, exact), exact)


def test_the_ranking_of_a_run_counts_what_is_known() -> None:
    run = result(0.5, 0.6)
    assert run_ranking_noise(run) is None
    found = run_ranking_noise(run, noise=QualityNoise("", std=0.1))
    assert found is not None
    assert found.lead_noise == pytest.approx(Z90 * 0.1 * math.sqrt(2))
    latencies = [trial(0, 0.5, 40.0, 1.0), trial(1, 0.6, 40.0, 1.0)]
    uncertain = run_ranking_noise(summarize(Path("run"), config(), list(latencies)))
    assert uncertain is not None
    assert 0 < uncertain.lead_noise < 0.1
    json.dumps(uncertain.to_dict(), allow_nan=False)


def test_how_likely_a_target_is_met() -> None:
    assert probability_within(trial(0, 0.5, 50.0, 1.0), 50.0) == pytest.approx(0.5)
    assert probability_within(trial(0, 0.5, 50.0, 1.0), 51.645) == pytest.approx(0.95, abs=1e-3)
    assert probability_within(trial(0, 0.5, 50.0), 50.0) is None
    assert probability_within(trial(0, 0.5, 50.0, 1.0), None) is None
