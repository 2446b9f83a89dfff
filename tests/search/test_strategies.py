"""What each strategy does that no other does; what all promise is in the contract."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.errors import OrderError
from search.evolution import EvolutionSettings, RegularizedEvolution, mutated
from search.gaussian_process import Floats, GaussianProcess, OneHot
from search.guided import Aim, GuidedSearch
from search.local_search import LocalSearch
from search.nsga2 import PRESETS, NSGA2Search
from search.pareto import hypervolume
from search.random_search import RandomSearch
from search.reinforce import reinforce_loss
from search.searcher import Searcher
from search.searchers import make_searcher
from search.wrappers import Unrepeated, WarmStarted
from tests.search.spaces import Additive, ConvSpace

SPACE = ConvSpace(4, 4, 4, 4, 4, 4)


def climb(searcher: Searcher, *, batches: int, batch: int = 10) -> float:
    """Return the best quality that the searcher finds."""
    objective, best = Additive(SPACE), -math.inf
    for _ in range(batches):
        genotypes = searcher.ask(batch)
        rewards = objective.quality(genotypes).tolist()
        searcher.tell(genotypes, rewards)
        best = max(best, *rewards)
    return best


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 5), st.floats(0, 0.1))
def test_the_reinforce_loss_equals_a_slow_loop(seed: int, n: int, k: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    log_probs, entropy = rng.normal(-1, 0.3, (n, k)), rng.random((n, k))
    advantages = rng.normal(size=n)
    loss = reinforce_loss(
        *(torch.from_numpy(x) for x in (log_probs, advantages, entropy)), entropy_weight=weight
    )
    gain = sum(log_probs[i, j] * advantages[i] for i in range(n) for j in range(k))
    assert loss.item() == pytest.approx(-gain / (n * k) - weight * entropy.mean())


@pytest.mark.parametrize("name", ["evolution", "guided", "reinforce", "tpe"])
def test_finds_more_than_random_search(name: str) -> None:
    ours = [climb(make_searcher(name, SPACE, seed=seed), batches=20) for seed in range(5)]
    random = [climb(RandomSearch(SPACE, seed=seed), batches=20) for seed in range(5)]
    assert np.mean(ours) > np.mean(random)


class TestEvolution:
    def test_the_oldest_dies_however_good(self) -> None:
        settings = EvolutionSettings(population=2, sample=8, identity=1.0)
        searcher = RegularizedEvolution(SPACE, settings, seed=0)
        genotypes = np.unique(SPACE.sample(9, np.random.default_rng(0)), axis=0)[:3]
        searcher.hear(genotypes, [9.0, 1.0, 2.0])
        searcher.tell(searcher.ask(2), [None, None])
        assert np.array_equal(searcher.ask(5), np.tile(genotypes[2], (5, 1)))

    def test_a_child_differs_in_one_decision(self) -> None:
        rng = np.random.default_rng(0)
        for parent in SPACE.sample(50, rng):
            child = mutated(SPACE, parent, rng)
            assert (child != parent).sum() == 1
            both = SPACE.canonical(np.stack([parent, child]))
            assert not np.array_equal(both[0], both[1])

    def test_a_space_of_one_option_has_no_other_child(self) -> None:
        space = ConvSpace(1)
        only = np.zeros(2, np.int8)
        rng = np.random.default_rng(0)
        assert mutated(space, only, rng)[1] == 0


class TestNSGA2:
    def test_spreads_over_a_front_that_random_search_does_not_reach(self) -> None:
        objective = Additive(SPACE)

        def area(searcher: Searcher) -> float:
            told = []
            for _ in range(20):
                genotypes = searcher.ask(10)
                quality, ms = objective.quality(genotypes), objective.latency_ms(genotypes)
                values = [(q, -t, 0.0) for q, t in zip(quality, ms, strict=True)]
                searcher.tell(genotypes, quality.tolist(), values)
                told += values
            quality, negative_ms = np.array(told)[:, :2].T
            return hypervolume(quality, -negative_ms, floor=0.4, ceiling_ms=70.0)

        ours = [area(NSGA2Search(SPACE, PRESETS["small-budget"], seed=s)) for s in range(3)]
        random = [area(RandomSearch(SPACE, seed=s)) for s in range(3)]
        assert min(ours) > max(random)

    def test_members_within_limits_come_first(self) -> None:
        searcher = NSGA2Search(SPACE, PRESETS["small-budget"], seed=0)
        for _ in range(10):
            genotypes = searcher.ask(20)
            outside = (genotypes[:, 2] > 0).astype(float)
            values = [(float(g.sum()), v) for g, v in zip(genotypes, outside, strict=True)]
            searcher.tell(genotypes, [value[0] for value in values], values)
        assert (searcher.ask(40)[:, 2] == 0).mean() > 0.8


class TestGuided:
    def test_known_costs_are_not_learned(self) -> None:
        objective = Additive(SPACE)

        def reward(genotypes: np.ndarray) -> Callable[[Floats], Floats]:
            late = objective.latency_ms(genotypes) > 50
            return lambda quality: quality - 10.0 * late

        def feasible(n: int, rng: np.random.Generator) -> np.ndarray:
            drawn = SPACE.sample(8 * n, rng)
            return drawn[objective.latency_ms(drawn) <= 50][:n]

        searcher = GuidedSearch(SPACE, Aim(feasible, reward), seed=0)
        asked = []
        for _ in range(8):
            genotypes = searcher.ask(10)
            quality = objective.quality(genotypes)
            values = [(q, -ms, 0.0) for q, ms in
                      zip(quality, objective.latency_ms(genotypes), strict=True)]  # fmt: skip
            searcher.tell(genotypes, reward(genotypes)(quality).tolist(), values)
            asked.append(genotypes)
        proposed = np.concatenate(asked)
        assert (objective.latency_ms(proposed) <= 50).all()
        everything = np.array(list(SPACE.enumerate()))
        within = everything[objective.latency_ms(everything) <= 50]
        best, found = objective.quality(within).max(), objective.quality(proposed).max()
        assert found == pytest.approx(best)

    def test_repeats_nothing_while_there_is_something_new(self) -> None:
        searcher, objective = GuidedSearch(ConvSpace(3, 3, 3), seed=0), Additive(ConvSpace(3, 3, 3))
        asked = []
        for _ in range(6):
            genotypes = searcher.ask(6)
            searcher.tell(genotypes, objective.quality(genotypes).tolist())
            asked.append(genotypes)
        assert len(np.unique(np.concatenate(asked), axis=0)) == 36

    def test_hears_qualities_where_costs_are_known(self) -> None:
        searcher = GuidedSearch(SPACE, Aim(reward=lambda genotypes: np.copy), seed=0)
        genotypes = searcher.ask(2)
        with pytest.raises(OrderError, match="quality first"):
            searcher.tell(genotypes, [0.1, 0.2])


class TestGaussianProcess:
    options = OneHot((3, 2, 4))

    def draw(self, n: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, self.options.sizes, (n, 3)).astype(np.int8)

    def test_one_hot(self) -> None:
        rows = self.options(np.array([[2, 0, 3], [0, 1, 1]], np.int8))
        assert rows.tolist() == [[0, 0, 1, 1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0, 1, 0, 0]]

    def test_interpolates_what_it_knows(self) -> None:
        genotypes = np.unique(self.draw(9, 0), axis=0)
        values = genotypes @ np.array([1.0, -2.0, 0.5])
        model = GaussianProcess.fit(self.options, genotypes, values)
        posterior = model.posterior(self.options(genotypes))
        assert posterior.mean == pytest.approx(values, abs=0.1)
        assert (posterior.std < 0.5).all()

    def test_believing_is_fitting_again_with_that_value(self) -> None:
        known, pool = np.unique(self.draw(8, 1), axis=0), np.unique(self.draw(12, 2), axis=0)
        values = np.sin(known.sum(axis=1))
        model = GaussianProcess.fit(self.options, known, values)
        posterior = model.posterior(self.options(pool))
        means = posterior.mean.copy()
        for index in (3, 0):
            posterior.believe(index)
        alike = self.options(np.concatenate([known, pool[[3, 0]]])) / 3
        new = self.options(pool)
        kernel = model.kernel
        covariance = kernel(alike @ alike.T * 3) + kernel.noise * np.eye(len(alike))
        cross = kernel(new @ alike.T)
        left = 1 - np.einsum("ij,ji->i", cross, np.linalg.solve(covariance, cross.T))
        assert posterior.mean == pytest.approx(means)
        assert posterior.std == pytest.approx(model.scale * np.sqrt(model.variance * left))


class TestWrappers:
    def test_no_network_is_proposed_twice(self) -> None:
        searcher = Unrepeated(SPACE, make_searcher("ppo", SPACE, seed=0), seed=0)
        objective = Additive(SPACE)
        asked = []
        for _ in range(30):
            genotypes = searcher.ask(10)
            searcher.tell(genotypes, objective.quality(genotypes).tolist())
            asked.append(SPACE.canonical(genotypes))
        assert len(np.unique(np.concatenate(asked), axis=0)) == 300

    def test_the_searcher_inside_is_told_its_repeats(self) -> None:
        space = ConvSpace(2)
        inner = RandomSearch(space, seed=0)
        searcher = Unrepeated(space, inner, seed=0)
        genotypes = searcher.ask(3)
        assert inner.n_pending > 3
        searcher.tell(genotypes, [0.1, None, 0.3])
        assert inner.n_pending == 0

    def test_a_small_space_runs_out(self) -> None:
        searcher = Unrepeated(ConvSpace(2), LocalSearch(ConvSpace(2), seed=0), seed=0)
        assert len(searcher.ask(10)) == 10

    def test_given_networks_come_first_and_are_heard(self) -> None:
        objective = Additive(SPACE)
        everything = np.array(list(SPACE.enumerate()))
        best = everything[np.argsort(objective.quality(everything))[-5:]]
        settings = EvolutionSettings(population=5, sample=5, identity=1.0)
        inner = RegularizedEvolution(SPACE, settings, seed=0)
        searcher = WarmStarted(SPACE, inner, best)
        assert np.array_equal(searcher.ask(3), best[:3])
        assert np.array_equal(searcher.ask(4)[:2], best[3:])
        searcher.tell(best[:3], objective.quality(best[:3]).tolist())
        assert searcher.n_pending == 4
