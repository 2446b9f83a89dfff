"""What every searcher promises, as tests to inherit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from networks.spaces.space import Genotypes
from search.errors import OrderError, ReplayError
from search.searcher import Asked, Rewards, Searcher, Told
from tests.search.spaces import Additive, ConvSpace

Make = Callable[[int], Searcher]
SPACE = ConvSpace(3, 4, 3, 2, 4)

ELSEWHERE = """
import sys, json, importlib
from tests.contracts.searcher_contract import converse
module, name = sys.argv[1].rsplit(":")
maker = getattr(importlib.import_module(module), name)()
print(json.dumps([asked.genotypes.tolist() for asked in converse(maker.make(7), [8] * 6)[::2]]))
"""


def rewards_of(genotypes: Genotypes) -> Rewards:
    """Return additive rewards, and a failure where the options add up to 9."""
    quality = Additive(SPACE).quality(genotypes)
    failed = genotypes.sum(axis=1) == 9
    return [None if bad else float(q) for q, bad in zip(quality, failed, strict=True)]


def converse(searcher: Searcher, sizes: list[int]) -> list[Asked | Told]:
    """Ask and tell batches of these sizes; return what was said."""
    said: list[Asked | Told] = []
    for size in sizes:
        genotypes = searcher.ask(size)
        rewards = rewards_of(genotypes)
        searcher.tell(genotypes, rewards)
        said += [Asked(genotypes), Told(genotypes, rewards)]
    return said


class SearcherContract:
    """Inherit, and supply ``make``: a new searcher over ``SPACE`` with this seed."""

    def make(self, seed: int) -> Searcher:
        raise NotImplementedError

    @pytest.mark.parametrize("size", [1, 2, 7, 20, 100])
    def test_proposes_genotypes_of_the_space(self, size: int) -> None:
        searcher = self.make(0)
        for asked in converse(searcher, [size, size, 1, size])[::2]:
            genotypes = asked.genotypes
            assert genotypes.dtype == np.int8
            assert genotypes.shape[1] == len(SPACE.decisions)
            assert (genotypes >= 0).all()
            assert (genotypes < np.array(SPACE.sizes)).all()

    def test_same_seed_same_proposals_in_another_process(self) -> None:
        here = [asked.genotypes.tolist() for asked in converse(self.make(7), [8] * 6)[::2]]
        place = f"{type(self).__module__}:{type(self).__name__}"
        ran = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, place], capture_output=True, text=True, check=True
        )
        assert json.loads(ran.stdout) == here

    def test_another_seed_proposes_others(self) -> None:
        assert not np.array_equal(self.make(0).ask(20), self.make(1).ask(20))

    def test_recovers_to_where_it_stood(self) -> None:
        uninterrupted, recovered = self.make(2), self.make(2)
        recovered.recover(converse(uninterrupted, [8, 3, 20, 1, 8, 30]))
        assert uninterrupted.figures == recovered.figures
        for mine, theirs in zip(
            converse(uninterrupted, [20, 20, 20]), converse(recovered, [20, 20, 20]), strict=True
        ):
            assert np.array_equal(mine.genotypes, theirs.genotypes)

    def test_recovers_while_proposals_are_evaluated(self) -> None:
        uninterrupted, recovered = self.make(2), self.make(2)
        first, second = uninterrupted.ask(9), uninterrupted.ask(4)
        uninterrupted.tell(first, rewards_of(first))
        recovered.recover([Asked(first), Asked(second), Told(first, rewards_of(first))])
        for searcher in (uninterrupted, recovered):
            searcher.tell(second, rewards_of(second))
        assert np.array_equal(uninterrupted.ask(20), recovered.ask(20))

    def test_refuses_another_history(self) -> None:
        said = converse(self.make(0), [20])
        with pytest.raises(ReplayError, match="start a new run"):
            self.make(1).recover(said)

    def test_asks_may_run_ahead_of_tells(self) -> None:
        searcher = self.make(0)
        genotypes = np.concatenate([searcher.ask(5), searcher.ask(7)])
        searcher.tell(genotypes[:6], rewards_of(genotypes[:6]))
        searcher.tell(genotypes[6:], rewards_of(genotypes[6:]))
        searcher.ask(3)

    def test_refuses_tells_out_of_order(self) -> None:
        searcher = self.make(0)
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
        searcher = self.make(0)
        genotypes = searcher.ask(2)
        with pytest.raises(OrderError, match="None for a failure"):
            searcher.tell(genotypes, [0.5, reward])
        with pytest.raises(OrderError, match="shape"):
            searcher.tell(genotypes, [0.5])
        with pytest.raises(OrderError, match="shape"):
            searcher.tell(genotypes[:, 1:], [0.5, 0.5])

    def test_refuses_to_ask_for_nothing(self) -> None:
        with pytest.raises(OrderError, match="at least 1"):
            self.make(0).ask(0)

    def test_goes_on_when_everything_fails(self) -> None:
        searcher = self.make(0)
        for _ in range(5):
            genotypes = searcher.ask(20)
            searcher.tell(genotypes, [None] * 20)
        assert len(searcher.ask(20)) == 20

    def test_what_the_caller_does_to_proposals_changes_nothing(self) -> None:
        searcher = self.make(0)
        genotypes = searcher.ask(4)
        kept = genotypes.copy()
        genotypes[:] = 0
        searcher.tell(kept, rewards_of(kept))
