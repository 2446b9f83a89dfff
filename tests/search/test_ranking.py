"""How much of a ranking is noise: against a loop over pairs, and against drawn errors."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import RewardError
from search.ranking import ranking_noise
from search.rewards import Reward, make_reward

Floats = npt.NDArray[np.float64]
Z90 = 1.6448536269514722


def draw(n: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Qualities, latencies around 10 ms, and covariances of which a part is shared."""
    rng = np.random.default_rng(seed)
    latency_ms = rng.uniform(5, 15, n)
    factors = rng.normal(0, 0.1, (n, 3))
    covariance = factors @ factors.T + np.diag(rng.uniform(0, 0.05, n))
    return rng.uniform(0.6, 0.8, n), latency_ms, covariance


def slope(reward: Reward, quality: float, latency_ms: float, std_ms: float) -> float:
    step = min(max(std_ms, 1e-6 * latency_ms), latency_ms / 2)
    value = reward(quality, latency_ms)
    sides = [
        (reward(quality, latency_ms + step) - value) / step,
        (value - reward(quality, latency_ms - step)) / step,
    ]
    return max(sides, key=abs)


@given(
    n=st.integers(2, 12),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["absolute", "hard", "soft"]),
    is_covariance=st.booleans(),
    quality_std=st.sampled_from([0.0, 0.01]),
)
@settings(deadline=None, max_examples=40)
def test_it_is_the_loop_over_pairs(
    n: int, seed: int, kind: str, is_covariance: bool, quality_std: float
) -> None:
    reward = make_reward(kind, target_ms=10.0)
    quality, latency_ms, covariance = draw(n, seed)
    errors_ms = covariance if is_covariance else np.sqrt(np.diag(covariance))
    stds: Floats = np.linspace(0.0, quality_std, n)
    found = ranking_noise(reward, quality, latency_ms, errors_ms, quality_std=stds)
    values = [reward(float(q), float(t)) for q, t in zip(quality, latency_ms, strict=True)]
    slopes = [
        slope(reward, float(q), float(t), math.sqrt(covariance[i, i]))
        for i, (q, t) in enumerate(zip(quality, latency_ms, strict=True))
    ]

    def noise(i: int, j: int) -> float:
        own = slopes[i] ** 2 * covariance[i, i] + slopes[j] ** 2 * covariance[j, j]
        shared = slopes[i] * slopes[j] * covariance[i, j] if is_covariance else 0.0
        for k in (i, j):
            gain = reward(float(quality[k]) + 0.5, float(latency_ms[k])) - values[k]
            own += (2 * gain * stds[k]) ** 2
        return Z90 * math.sqrt(max(own - 2 * shared, 0.0))

    pairs = [(i, j) for i in range(n) for j in range(i)]
    inside = [abs(values[i] - values[j]) <= noise(i, j) for i, j in pairs]
    best, second = sorted(range(n), key=lambda i: -values[i])[:2]
    rivals = [values[best] - values[i] <= noise(best, i) for i in range(n) if i != best]
    assert (found.networks, found.pairs, found.rivals) == (n, len(pairs), sum(rivals))
    assert found.inside == pytest.approx(sum(inside) / len(pairs))
    assert found.lead == pytest.approx(values[best] - values[second])
    assert found.lead_noise == pytest.approx(noise(best, second), rel=1e-6, abs=1e-9)
    assert found.has_clear_winner == (not any(rivals))


def test_of_equal_networks_noise_explains_as_many_pairs_as_it_says() -> None:
    """Networks that are truly alike, predicted with drawn errors that they share in part."""
    reward, rng, n = make_reward("hard", target_ms=5.0), np.random.default_rng(1), 300
    factors = rng.normal(0, 0.1, (n, 3))
    covariance = factors @ factors.T + 0.03 * np.eye(n)
    shares = []
    for _ in range(10):
        errors_ms = factors @ rng.standard_normal(3) + np.sqrt(0.03) * rng.standard_normal(n)
        found = ranking_noise(reward, np.full(n, 0.7), 10 + errors_ms, covariance)
        shares.append(found.inside)
    assert np.mean(shares) == pytest.approx(0.9, abs=0.03)


def test_errors_that_all_share_leave_a_ranking_alone() -> None:
    quality, latency_ms = np.array([0.7, 0.7, 0.7]), np.array([10.0, 10.1, 10.2])
    common = np.full((3, 3), 0.5**2)
    reward = make_reward("absolute", target_ms=5.0)
    assert ranking_noise(reward, quality, latency_ms, common).inside == 0.0
    independent = ranking_noise(reward, quality, latency_ms, np.sqrt(np.diag(common)))
    assert independent.inside == 1.0
    assert independent.rivals == 2
    exact = ranking_noise(reward, quality, latency_ms, np.zeros(3))
    assert exact.has_clear_winner
    assert exact.inside == 0.0


def test_what_cannot_be_compared_is_refused() -> None:
    reward = make_reward("absolute", target_ms=5.0)
    one = np.array([1.0])
    with pytest.raises(RewardError, match="2 networks or more"):
        ranking_noise(reward, one, one, one)
    two = np.array([1.0, 2.0])
    with pytest.raises(RewardError, match=r"errors of shape \(2,\) or \(2, 2\)"):
        ranking_noise(reward, two, two, np.zeros((2, 3)))
