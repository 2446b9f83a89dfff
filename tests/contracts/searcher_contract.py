"""What every searcher promises, as tests to inherit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType

import numpy as np
import pytest

from networks.spaces import find_space
from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision, Genotypes, Space
from search.errors import OrderError, ReplayError
from search.searcher import Asked, ReplayingSearcher, Rewards, Searcher, Told, Values
from tests.search.spaces import Additive, ConvSpace

SPACE = ConvSpace(3, 4, 3, 2, 4)

BATCHES = [8, 20, 1, 8, 12]

ELSEWHERE = """
import importlib, json, sys
from tests.contracts.searcher_contract import spoken_by
print(json.dumps(spoken_by(importlib.import_module(sys.argv[1]))))
"""


@cache
def spaces() -> Mapping[str, Space]:
    """Return spaces by name: of few networks, of decisions alone, and two of many decisions."""
    sizes = (2, 1, 5, 3, 7)  # a decision may have one option
    options = [tuple(map(str, range(size))) for size in sizes]
    abstract = [Decision(f"choice{i}", texts) for i, texts in enumerate(options)]
    return {
        "conv": SPACE,
        "abstract": DecisionSpace("abstract", abstract),
        "mnasnet": find_space("mnasnet"),
        "nasnet": find_space("nasnet"),
    }


def results_of(space: Space, genotypes: Genotypes) -> tuple[Rewards, Values]:
    """Return additive rewards and values, and a failure where the options' sum divides by 9."""
    objective = Additive(space)
    quality, latency_ms = objective.quality(genotypes), objective.latency_ms(genotypes)
    over = np.maximum(0.0, latency_ms / 55 - 1)
    failed = genotypes.sum(axis=1) % 9 == 0
    rewards = [None if bad else float(q) for q, bad in zip(quality, failed, strict=True)]
    rows = np.stack([quality, -latency_ms, over], axis=1).tolist()
    return rewards, [None if bad else tuple(v) for v, bad in zip(rows, failed, strict=True)]


def rewards_of(genotypes: Genotypes) -> Rewards:
    """Return the rewards of networks of ``SPACE``."""
    return results_of(SPACE, genotypes)[0]


def converse(
    searcher: Searcher, sizes: Sequence[int], space: Space = SPACE, *, with_values: bool = False
) -> list[Asked | Told]:
    """Ask and tell batches of these sizes; return what was said."""
    said: list[Asked | Told] = []
    for size in sizes:
        genotypes = searcher.ask(size)
        rewards, values = results_of(space, genotypes)
        told = Told(genotypes, rewards, values if with_values else None)
        searcher.tell(told.genotypes, told.rewards, told.values)
        said += [Asked(genotypes), told]
    return said


def proposals(maker: SearcherContract) -> dict[str, list[list[int]]]:
    """Return what a searcher proposes in each space, told values in those with many networks."""
    found = {}
    for name, space in spaces().items():
        said = converse(maker.make(space, 7), BATCHES, space, with_values=name != "conv")
        found[name] = np.concatenate([asked.genotypes for asked in said[::2]]).tolist()
    return found


def spoken_by(module: ModuleType) -> dict[str, dict[str, list[list[int]]]]:
    """Return the `proposals` of each class of a module that inherits the contract."""
    makers = [value for value in vars(module).values() if isinstance(value, type)]
    return {
        maker.__name__: proposals(maker())
        for maker in makers
        if issubclass(maker, SearcherContract) and maker is not SearcherContract
    }


@cache
def spoken_elsewhere(module: str) -> dict[str, dict[str, list[list[int]]]]:
    """Return what the searchers of a module propose in another process."""
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, module], capture_output=True, text=True, check=True
    )
    found: dict[str, dict[str, list[list[int]]]] = json.loads(ran.stdout)
    return found


class SearcherContract:
    """Inherit, and supply ``make``: a new searcher over a space with this seed."""

    def make(self, space: Space, seed: int) -> Searcher:
        raise NotImplementedError

    @pytest.mark.parametrize("size", [1, 2, 7, 20, 100])
    def test_proposes_genotypes_of_the_space(self, size: int) -> None:
        searcher = self.make(SPACE, 0)
        for asked in converse(searcher, [size, size, 1, size])[::2]:
            genotypes = asked.genotypes
            assert genotypes.dtype == np.int8
            assert genotypes.shape[1] == len(SPACE.decisions)
            assert (genotypes >= 0).all()
            assert (genotypes < np.array(SPACE.sizes)).all()

    def test_same_seed_same_proposals_in_another_process(self) -> None:
        there = spoken_elsewhere(type(self).__module__)[type(self).__name__]
        assert proposals(self) == there

    @pytest.mark.parametrize("name", ["abstract", "mnasnet", "nasnet"])
    def test_every_space_is_searched_and_recovered(self, name: str) -> None:
        space = spaces()[name]
        uninterrupted, recovered = self.make(space, 2), self.make(space, 2)
        said = converse(uninterrupted, BATCHES, space, with_values=True)
        sizes = np.array([len(decision.options) for decision in space.decisions])
        for asked in said[::2]:
            assert asked.genotypes.dtype == np.int8
            assert asked.genotypes.shape[1] == len(sizes)
            assert ((asked.genotypes >= 0) & (asked.genotypes < sizes)).all()
        recovered.recover(said)
        assert np.array_equal(uninterrupted.ask(9), recovered.ask(9))

    def test_another_seed_proposes_others(self) -> None:
        assert not np.array_equal(self.make(SPACE, 0).ask(20), self.make(SPACE, 1).ask(20))

    def test_recovers_to_where_it_stood(self) -> None:
        uninterrupted, recovered = self.make(SPACE, 2), self.make(SPACE, 2)
        recovered.recover(converse(uninterrupted, [8, 3, 20, 1, 8, 30]))
        assert uninterrupted.figures == recovered.figures
        for mine, theirs in zip(
            converse(uninterrupted, [20, 20, 20]), converse(recovered, [20, 20, 20]), strict=True
        ):
            assert np.array_equal(mine.genotypes, theirs.genotypes)

    def test_recovers_while_proposals_are_evaluated(self) -> None:
        uninterrupted, recovered = self.make(SPACE, 2), self.make(SPACE, 2)
        first, second = uninterrupted.ask(9), uninterrupted.ask(4)
        uninterrupted.tell(first, rewards_of(first))
        recovered.recover([Asked(first), Asked(second), Told(first, rewards_of(first))])
        for searcher in (uninterrupted, recovered):
            searcher.tell(second, rewards_of(second))
        assert np.array_equal(uninterrupted.ask(20), recovered.ask(20))

    def test_refuses_another_history(self) -> None:
        said = converse(self.make(SPACE, 0), [20])
        with pytest.raises(ReplayError, match="start a new run"):
            self.make(SPACE, 1).recover(said)

    def test_asks_may_run_ahead_of_tells(self) -> None:
        searcher = self.make(SPACE, 0)
        genotypes = np.concatenate([searcher.ask(5), searcher.ask(7)])
        searcher.tell(genotypes[:6], rewards_of(genotypes[:6]))
        searcher.tell(genotypes[6:], rewards_of(genotypes[6:]))
        searcher.ask(3)

    def test_refuses_tells_out_of_order(self) -> None:
        searcher = self.make(SPACE, 0)
        genotypes = searcher.ask(30)
        swapped = genotypes[::-1]
        assert not np.array_equal(swapped, genotypes)
        with pytest.raises(OrderError, match="out of order"):
            searcher.tell(swapped, rewards_of(swapped))
        searcher.tell(genotypes, rewards_of(genotypes))
        with pytest.raises(OrderError, match="0 asked"):
            searcher.tell(genotypes, rewards_of(genotypes))

    @pytest.mark.parametrize("reward", [math.nan, math.inf])
    def test_refuses_what_is_no_reward(self, reward: float) -> None:
        searcher = self.make(SPACE, 0)
        genotypes = searcher.ask(2)
        with pytest.raises(OrderError, match="None for a failure"):
            searcher.tell(genotypes, [0.5, reward])
        with pytest.raises(OrderError, match="shape"):
            searcher.tell(genotypes, [0.5])
        with pytest.raises(OrderError, match="shape"):
            searcher.tell(genotypes[:, 1:], [0.5, 0.5])

    def test_refuses_to_ask_for_nothing(self) -> None:
        with pytest.raises(OrderError, match="at least 1"):
            self.make(SPACE, 0).ask(0)

    def test_goes_on_when_everything_fails(self) -> None:
        searcher = self.make(SPACE, 0)
        for _ in range(5):
            genotypes = searcher.ask(20)
            searcher.tell(genotypes, [None] * 20)
        assert len(searcher.ask(20)) == 20

    def test_what_the_caller_does_to_proposals_changes_nothing(self) -> None:
        searcher = self.make(SPACE, 0)
        genotypes = searcher.ask(4)
        kept = genotypes.copy()
        genotypes[:] = 0
        searcher.tell(kept, rewards_of(kept))

    def test_values_are_recovered_as_rewards_are(self) -> None:
        uninterrupted, recovered = self.make(SPACE, 2), self.make(SPACE, 2)
        recovered.recover(converse(uninterrupted, [8, 3, 20, 1, 8], with_values=True))
        assert uninterrupted.figures == recovered.figures
        assert np.array_equal(uninterrupted.ask(30), recovered.ask(30))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([(1.0, 2.0)], "one tuple of values for each reward"),
            ([(1.0, 2.0), None], "None where that is None"),
            ([(1.0, 2.0), (1.0,)], "as many for each"),
            ([(1.0, 2.0), (1.0, math.nan)], "values are finite"),
        ],
    )
    def test_refuses_what_are_no_values(self, values: Values, message: str) -> None:
        searcher = self.make(SPACE, 0)
        genotypes = searcher.ask(2)
        with pytest.raises(OrderError, match=message):
            searcher.tell(genotypes, [0.5, 0.5], values)
        searcher.tell(genotypes, [0.5, None], [(1.0, 2.0), None])  # nothing was taken before

    @pytest.mark.parametrize("with_values", [False, True])
    def test_what_it_hears_of_others_keeps_its_order_and_its_determinism(
        self, with_values: bool
    ) -> None:
        asked = []
        for _ in range(2):
            searcher = self.make(SPACE, 5)
            assert isinstance(searcher, ReplayingSearcher)
            converse(searcher, [8, 8], with_values=with_values)
            pending = searcher.ask(6)
            others = SPACE.sample(9, np.random.default_rng(0))
            rewards, values = results_of(SPACE, others)
            searcher.hear(others, rewards, values if with_values else None)
            assert searcher.n_pending == 6
            rewards, values = results_of(SPACE, pending)
            searcher.tell(pending, rewards, values if with_values else None)
            said = converse(searcher, [8, 30], with_values=with_values)
            asked.append([event.genotypes.tolist() for event in said])
        assert asked[0] == asked[1]
