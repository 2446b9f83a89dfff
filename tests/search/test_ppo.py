from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.policy import normalised
from search.ppo import PRESETS, PPOSearch, ppo_loss
from tests.search.spaces import Additive, ConvSpace

SPACE = ConvSpace(4, 4, 4, 4, 4)


@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.integers(1, 5),
    st.floats(0.05, 0.5),
    st.floats(0, 0.1),
)
def test_the_loss_equals_a_slow_loop(
    seed: int, n: int, decisions: int, clip: float, entropy_weight: float
) -> None:
    rng = np.random.default_rng(seed)
    new, old = rng.normal(-1, 0.3, (2, n, decisions))
    advantages, entropy = rng.normal(size=n), rng.random((n, decisions))
    gain, kl, clipped = 0.0, 0.0, 0
    for i in range(n):
        for j in range(decisions):
            ratio = math.exp(new[i, j] - old[i, j])
            limited = min(max(ratio, 1 - clip), 1 + clip)
            gain += min(ratio * advantages[i], limited * advantages[i])
            kl += ratio - 1 - (new[i, j] - old[i, j])
            clipped += abs(ratio - 1) > clip
    size = n * decisions
    loss = ppo_loss(
        *(torch.from_numpy(x) for x in (new, old, advantages, entropy)),
        clip=clip,
        entropy_weight=entropy_weight,
    )
    assert loss.total.item() == pytest.approx(-gain / size - entropy_weight * entropy.mean())
    assert loss.approx_kl.item() == pytest.approx(kl / size)
    assert loss.clip_share.item() == pytest.approx(clipped / size)


def test_normalised_advantages() -> None:
    found = normalised(torch.tensor([1.0, 2.0, 6.0]))
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.square().mean().item() == pytest.approx(1, abs=1e-6)
    assert normalised(torch.ones(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_an_update_favours_what_was_rewarded(preset: str) -> None:
    searcher = PPOSearch(SPACE, PRESETS[preset], seed=0)
    objective = Additive(SPACE)
    means = []
    for _ in range(40):
        genotypes = searcher.ask(20)
        reward = 100 * objective.quality(genotypes)
        searcher.tell(genotypes, reward.tolist())
        means.append(reward.mean())
    assert np.mean(means[-5:]) > np.mean(means[:5]) + 0.5


def test_figures_are_those_of_the_last_update() -> None:
    searcher = PPOSearch(SPACE, PRESETS["paper"], seed=0)
    assert searcher.figures == {}
    genotypes = searcher.ask(20)
    rewards = [float(i) for i in range(20)]
    searcher.tell(genotypes[:19], rewards[:19])
    assert searcher.figures == {}
    searcher.tell(genotypes[19:], rewards[19:])
    figures = searcher.figures
    assert figures["reward"] == figures["baseline"] == 9.5
    assert figures["advantage"] == 5.0
    uniform = np.mean([math.log(len(decision.options)) for decision in SPACE.decisions])
    assert figures["entropy"] == pytest.approx(uniform, abs=0.01)
    assert figures["approx_kl"] >= 0
    assert 0 <= figures["clip_share"] <= 1


def test_the_baseline_is_a_moving_average() -> None:
    searcher = PPOSearch(SPACE, PRESETS["paper"], seed=0)
    for reward in (1.0, 2.0, 2.0):
        searcher.tell(searcher.ask(20), [reward] * 20)
    assert searcher.figures["baseline"] == pytest.approx(0.95 * 1.0 + 0.05 * 2.0)


def test_failures_are_left_out_of_updates() -> None:
    searcher = PPOSearch(SPACE, PRESETS["paper"], seed=0)
    genotypes = searcher.ask(30)
    searcher.tell(genotypes[:29], [float(i) if i % 3 else None for i in range(29)])
    assert searcher.figures == {}
    searcher.tell(genotypes[29:], [29.0])
    assert searcher.figures["reward"] == np.mean([i for i in range(30) if i % 3])


def test_threads_do_not_change_proposals() -> None:
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            searcher = PPOSearch(SPACE, PRESETS["small-budget"], seed=0)
            for _ in range(5):
                genotypes = searcher.ask(20)
                searcher.tell(genotypes, [float(x) for x in genotypes.sum(axis=1)])
            found.append(searcher.ask(50))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(found[0], found[1])
