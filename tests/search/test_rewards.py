from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.errors import RewardError, UnknownSearcher
from search.rewards import CHUNK, DEFAULT_WEIGHTS, Reward, make_reward

positive = st.floats(0.01, 1e4)
qualities = st.floats(0, 1)
weights = st.floats(-2, 0)


def formula(reward: Reward, quality: float, latency_ms: float) -> float:
    """Return the reward as the papers write it."""
    ratio = latency_ms / reward.target_ms
    if reward.kind == "absolute":
        return quality + reward.beta * abs(ratio - 1)
    return quality * math.pow(ratio, reward.alpha if ratio <= 1 else reward.beta)


rewards = st.one_of(
    st.builds(lambda t, b: Reward("absolute", t, b, b), positive, weights),
    st.builds(Reward, st.sampled_from(["hard", "soft"]), positive, weights, weights),
)


@given(rewards, st.lists(st.tuples(qualities, positive), min_size=1, max_size=20))
def test_vectorized_equals_the_papers_formula(
    reward: Reward, points: list[tuple[float, float]]
) -> None:
    quality, latency_ms = (np.array(column) for column in zip(*points, strict=True))
    expected = [formula(reward, *point) for point in points]
    assert reward(quality, latency_ms) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    tensors = reward(torch.from_numpy(quality), torch.from_numpy(latency_ms))
    assert tensors.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert reward(*points[0]) == pytest.approx(expected[0], rel=1e-9, abs=1e-12)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, unique=True),
    positive,
    positive,
)
def test_the_soft_rewards_best_is_the_same_for_every_target(
    points: list[tuple[int, int]], one_ms: float, other_ms: float
) -> None:
    quality, latency_ms = (np.array(column, float) for column in zip(*points, strict=True))
    a = make_reward("soft", target_ms=one_ms)(quality, latency_ms)
    b = make_reward("soft", target_ms=other_ms)(quality, latency_ms)
    assert a / a.max() == pytest.approx(b / b.max())


def test_defaults_are_the_papers() -> None:
    assert make_reward("absolute", target_ms=78) == Reward("absolute", 78.0, -0.07, -0.07)
    assert make_reward("hard", target_ms=78) == Reward("hard", 78.0, 0.0, -1.0)
    assert make_reward("soft", target_ms=78) == Reward("soft", 78.0, -0.07, -0.07)
    assert make_reward("absolute", target_ms=78, beta=-0.1).alpha == -0.1


def test_the_hard_reward_is_the_quality_where_the_target_is_met() -> None:
    hard = make_reward("hard", target_ms=80)
    assert hard(0.75, 40.0) == hard(0.75, 80.0) == 0.75
    assert hard(0.75, 160.0) == 0.375


@pytest.mark.parametrize("kind", DEFAULT_WEIGHTS)
def test_float32_stays_float32_and_arguments_stay_as_they_were(kind: str) -> None:
    reward = make_reward(kind, target_ms=50)
    quality, latency_ms = np.full(9, 0.5, np.float32), np.linspace(20, 90, 9, dtype=np.float32)
    before = quality.copy(), latency_ms.copy()
    assert reward(quality, latency_ms).dtype == np.float32
    assert reward(torch.from_numpy(quality), torch.from_numpy(latency_ms)).dtype == torch.float32
    assert np.array_equal(quality, before[0])
    assert np.array_equal(latency_ms, before[1])


@pytest.mark.parametrize("kind", DEFAULT_WEIGHTS)
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_large_batch_is_its_parts(kind: str, precision: type) -> None:
    reward, rng = make_reward(kind, target_ms=50), np.random.default_rng(1)
    n = 2 * CHUNK + 3
    quality: npt.NDArray[np.floating] = rng.uniform(0, 1, n).astype(precision)
    latency_ms: npt.NDArray[np.floating] = rng.uniform(9, 99, n).astype(precision)
    found = reward(quality, latency_ms)
    parts = [slice(i, i + 1000) for i in range(0, n, 1000)]
    expected = [reward(quality[part], latency_ms[part]) for part in parts]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    assert found.dtype == precision
    latency_ms[-1] = 0
    with pytest.raises(RewardError, match="positive and finite"):
        reward(quality, latency_ms)


@pytest.mark.parametrize("kind", DEFAULT_WEIGHTS)
def test_gradients_flow_through_tensors(kind: str) -> None:
    latency_ms = torch.tensor([60.0, 90.0], requires_grad=True)
    reward = make_reward(kind, target_ms=50)(torch.tensor([0.7, 0.7]), latency_ms)
    reward.sum().backward()  # type: ignore[no-untyped-call]
    assert latency_ms.grad is not None
    assert (latency_ms.grad < 0).all()


def test_no_networks_no_rewards() -> None:
    nothing = np.empty(0)
    assert make_reward("hard", target_ms=1)(nothing, nothing).shape == (0,)


@pytest.mark.parametrize("target_ms", [0.0, -1.0, math.nan, math.inf])
def test_a_target_is_a_positive_number(target_ms: float) -> None:
    with pytest.raises(RewardError, match="target_ms is a positive number, found"):
        make_reward("absolute", target_ms=target_ms)


@pytest.mark.parametrize("weight", [0.07, math.nan, -math.inf])
def test_weights_are_finite_and_not_positive(weight: float) -> None:
    with pytest.raises(RewardError, match="beta is a finite number of at most 0"):
        make_reward("hard", target_ms=50, beta=weight)
    with pytest.raises(RewardError, match="alpha is a finite number of at most 0"):
        make_reward("soft", target_ms=50, alpha=weight)


def test_the_absolute_reward_has_one_weight() -> None:
    with pytest.raises(RewardError, match="one weight"):
        make_reward("absolute", target_ms=50, alpha=0.0, beta=-0.07)


def test_unknown_rewards_get_suggestions() -> None:
    with pytest.raises(UnknownSearcher, match="did you mean absolute"):
        make_reward("absolut", target_ms=50)


@pytest.mark.parametrize("bad", [0.0, -3.0, math.nan, math.inf])
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor])
def test_latencies_are_positive_and_finite(bad: float, convert: Any) -> None:
    reward = make_reward("hard", target_ms=50)
    with pytest.raises(RewardError, match="positive and finite"):
        reward(convert([0.5, 0.5]), convert([20.0, bad]))
    with pytest.raises(RewardError, match="positive and finite"):
        reward(0.5, bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", DEFAULT_WEIGHTS)
def test_qualities_are_finite(bad: float, kind: str) -> None:
    with pytest.raises(RewardError, match="quality is finite"):
        make_reward(kind, target_ms=50)(np.array([0.5, bad]), np.array([20.0, 30.0]))


def test_as_many_qualities_as_latencies() -> None:
    with pytest.raises(RewardError, match=r"found shapes \(2,\) and \(3,\)"):
        make_reward("hard", target_ms=50)(np.ones(2), np.ones(3))


def test_only_a_reward_that_ignores_its_target_has_a_note() -> None:
    note = make_reward("soft", target_ms=50).note
    assert note is not None
    assert "only scales the reward" in note
    assert make_reward("soft", target_ms=50, beta=-0.1).note is None
    assert make_reward("hard", target_ms=50).note is None
    assert make_reward("absolute", target_ms=50).note is None
