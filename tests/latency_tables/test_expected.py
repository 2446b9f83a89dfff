"""Expected latencies on tensors: exact, differentiable, and the predictor's at sure choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from latency_tables.expected import ExpectedLatency
from latency_tables.predictor import Predictor
from networks.errors import GenotypeError
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from search.rewards import Reward


def predictor_of(space: ChainSpace) -> Predictor:
    return Predictor(space, np.random.default_rng(3).uniform(0.01, 3, len(space.layers)))


PREDICTORS = [predictor_of(make_space(n, resolution=64)) for n in ("mnasnet", "accel-nasbench")]
EACH = pytest.mark.parametrize("predictor", PREDICTORS, ids=lambda predictor: predictor.space.name)


def draw(space: ChainSpace, *, seed: int, batch: tuple[int, ...] = ()) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand((*batch, len(d.options)), generator=generator, dtype=torch.float64).softmax(-1)
        for d in space.decisions
    ]


def one_hot(space: ChainSpace, genotypes: Tensor) -> list[Tensor]:
    return [
        functional.one_hot(genotypes[:, i].long(), len(decision.options)).double()
        for i, decision in enumerate(space.decisions)
    ]


@EACH
@given(seed=st.integers(0, 2**32), n=st.integers(1, 20))
@settings(deadline=None, max_examples=20)
def test_sure_choices_and_integer_tensors_are_the_predictor(
    predictor: Predictor, seed: int, n: int
) -> None:
    space, latency = predictor.space, ExpectedLatency(predictor)
    genotypes = space.sample(n, np.random.default_rng(seed))
    tensor, predicted = torch.from_numpy(genotypes), predictor.predict(genotypes)
    np.testing.assert_allclose(latency.predict(tensor), predicted, rtol=1e-12)
    np.testing.assert_allclose(latency.predict(tensor.long()), predicted, rtol=1e-12)
    np.testing.assert_allclose(latency.expected(one_hot(space, tensor)), predicted, rtol=1e-12)


@EACH
def test_it_is_the_mean_over_independent_draws_of_two_blocks(predictor: Predictor) -> None:
    """Exactly: all choices of a few decisions are enumerated, two blocks' widths among them."""
    space, latency = predictor.space, ExpectedLatency(predictor)
    widths = [i for i, d in enumerate(space.decisions) if "filters" in d.name or "kernel" in d.name]
    varied = [*widths[:4], *range(max(widths[3], 0) + 1, widths[3] + 2)]
    sizes = [len(space.decisions[i].options) for i in varied]
    genotypes = np.tile(space.sample(1, np.random.default_rng(5)), (int(np.prod(sizes)), 1))
    genotypes[:, varied] = list(itertools.product(*map(range, sizes)))
    probabilities = [row[0] for row in one_hot(space, torch.from_numpy(genotypes))]
    drawn = draw(space, seed=1)
    weight = np.ones(len(genotypes))
    for i in varied:
        probabilities[i] = drawn[i]
        weight *= drawn[i].numpy()[genotypes[:, i]]
    expected = float(weight @ predictor.predict(genotypes))
    assert weight.sum() == pytest.approx(1)
    assert float(latency.expected(probabilities)) == pytest.approx(expected, rel=1e-12)


@EACH
def test_a_batch_is_its_rows(predictor: Predictor) -> None:
    space, latency = predictor.space, ExpectedLatency(predictor)
    rows = draw(space, seed=2, batch=(4,))
    together = latency.expected(rows)
    assert together.shape == (4,)
    apart = [latency.expected([choice[i] for choice in rows]) for i in range(4)]
    assert apart[0].shape == ()
    np.testing.assert_allclose(together, torch.stack(apart), rtol=1e-12)
    single = ExpectedLatency(predictor, dtype=torch.float32)
    rounded = single.expected([choice.float() for choice in rows])
    assert rounded.dtype == torch.float32
    np.testing.assert_allclose(rounded, together, rtol=1e-5)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_gradients_are_right(batch: tuple[int, ...]) -> None:
    predictor = PREDICTORS[1]
    latency = ExpectedLatency(predictor)
    inputs = [p.detach().requires_grad_() for p in draw(predictor.space, seed=3, batch=batch)]
    assert torch.autograd.gradcheck(lambda *choices: latency.expected(choices), inputs)


def test_following_the_gradient_of_a_reward_beats_a_thousand_random_networks() -> None:
    """Logits of every decision follow the gradient of the reward of the expected latency."""
    predictor = PREDICTORS[1]
    space, latency = predictor.space, ExpectedLatency(predictor)
    reward = Reward("hard", predictor.fastest_ms / 2, alpha=0.0, beta=-1.0)
    logits = [torch.zeros(len(d.options)).double().requires_grad_() for d in space.decisions]
    optimizer = torch.optim.Adam(logits, lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        expected = latency.expected([row.softmax(-1) for row in logits])
        (-reward(torch.ones_like(expected), expected)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    chosen = np.array([[int(row.argmax()) for row in logits]])
    random = predictor.predict(space.sample(1000, np.random.default_rng(1)))
    assert predictor.predict(chosen)[0] < random.min()


def test_a_reward_of_tensors_is_the_reward_of_arrays() -> None:
    predictor = PREDICTORS[0]
    genotypes = predictor.space.sample(100, np.random.default_rng(1))
    predicted = predictor.predict(genotypes)
    quality = np.random.default_rng(2).uniform(0.5, 0.8, 100)
    tensor = ExpectedLatency(predictor).predict(torch.from_numpy(genotypes))
    for kind, alpha, beta in (
        ("absolute", -0.07, -0.07),
        ("hard", 0.0, -1.0),
        ("soft", -0.1, -0.2),
    ):
        reward = Reward(kind, float(np.median(predicted)), alpha=alpha, beta=beta)  # type: ignore[arg-type]
        found = reward(torch.from_numpy(quality), tensor)
        np.testing.assert_allclose(found, reward(quality, predicted), rtol=1e-12)


def test_what_has_no_latency_is_refused() -> None:
    latency = ExpectedLatency(PREDICTORS[0])
    space = PREDICTORS[0].space
    right = draw(space, seed=1)
    for wrong in (right[1:], [*right[:-1], right[-1][:-1]], draw(space, seed=1, batch=(2, 2)), []):
        with pytest.raises(GenotypeError, match="42 tensors of shape"):
            latency.expected(wrong)
    with pytest.raises(GenotypeError, match="integers of shape"):
        latency.predict(torch.zeros(2, 41, dtype=torch.int8))
    with pytest.raises(GenotypeError, match="integers of shape"):
        latency.predict(torch.zeros(2, 42))
    genotypes = torch.zeros(2, 42, dtype=torch.int8)
    genotypes[1, 3] = 3
    with pytest.raises(
        GenotypeError, match=r"block0.skip has options 0 to 2, found 3 in genotype 1"
    ):
        latency.predict(genotypes)
