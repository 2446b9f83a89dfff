from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.controller import UNITS, Controller, sample, score

OPTIONS = [2, 4, 3]


def controller(seed: int, options: list[int] = OPTIONS, *, scale: float = 1.0) -> Controller:
    made = Controller(options, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def everything(options: list[int]) -> torch.Tensor:
    return torch.tensor(list(product(*map(range, options))))


option_lists = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(option_lists, st.integers(0, 2**32), st.sampled_from([1.0, 5.0]))
def test_probabilities_of_a_space_sum_to_1(options: list[int], seed: int, scale: float) -> None:
    log_probs, _ = score(controller(seed, options, scale=scale), everything(options))
    assert log_probs.sum(1).exp().sum().item() == pytest.approx(1, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(option_lists, st.integers(0, 2**32), st.integers(1, 30))
def test_sampling_and_scoring_agree(options: list[int], seed: int, n: int) -> None:
    policy = controller(seed, options, scale=5.0)
    genotypes, log_probs = sample(policy, n, torch.Generator().manual_seed(seed))
    assert (genotypes < torch.tensor(options)).all()
    scored, _ = score(policy, genotypes)
    assert torch.allclose(scored, log_probs, atol=1e-4)


def test_samples_come_as_often_as_their_probability_says() -> None:
    policy, n = controller(1, scale=5.0), 20_000
    drawn, _ = sample(policy, n, torch.Generator().manual_seed(0))
    space = everything(OPTIONS)
    expected = score(policy, space)[0].sum(1).exp()
    found = (drawn[:, None] == space).all(-1).float().mean(0)
    error = (expected * (1 - expected) / n).sqrt()
    assert ((found - expected).abs() < 5 * error).all()
    assert expected.max() > 2 * expected.min()


def test_the_first_choice_changes_the_seconds_distribution() -> None:
    space = everything(OPTIONS)
    log_probs, _ = score(controller(0), space)
    second = [log_probs[space[:, 0] == first][:, 1].exp() for first in (0, 1)]
    assert (second[0] - second[1]).abs().max() > 1e-3


def test_entropy_is_that_of_the_choices_distribution() -> None:
    policy, space = controller(3, scale=5.0), everything(OPTIONS)
    log_probs, entropy = score(policy, space)
    last = log_probs[:3, 2]  # the three options of the last decision, after the same prefix
    assert entropy[0, 2].item() == pytest.approx(-(last.exp() * last).sum().item(), abs=1e-5)
    assert (entropy <= torch.tensor(OPTIONS).log() + 1e-5).all()


def test_gradients_are_finite_where_options_differ_in_number() -> None:
    policy = controller(0)
    log_probs, entropy = score(policy, everything(OPTIONS))
    (log_probs.mean() + entropy.mean()).backward()  # type: ignore[no-untyped-call]
    for parameter in policy.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_it_is_the_papers_controller() -> None:
    policy = controller(0)
    assert policy.lstm.hidden_size == UNITS == 100
    assert policy.lstm.num_layers == 1
    values = torch.cat([parameter.flatten() for parameter in policy.parameters()])
    assert values.abs().max() <= 0.1
    assert values.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)
