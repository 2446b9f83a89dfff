from __future__ import annotations

import numpy as np
import pytest

from networks.spaces.space import Genotypes
from search.feasible import FeasibleSpace
from search.searchers import make_searcher
from tests.search.spaces import Additive, ConvSpace

SPACE = ConvSpace(4, 4, 4, 4, 4)
OBJECTIVE = Additive(SPACE)
TARGET_MS = float(np.quantile(OBJECTIVE.latency_ms(np.array(list(SPACE.enumerate()))), 0.3))


def draw(n: int, rng: np.random.Generator) -> Genotypes:
    drawn = SPACE.sample(40 * n, rng, uniform_over="networks")
    found: Genotypes = drawn[OBJECTIVE.latency_ms(drawn) <= TARGET_MS][:n]
    return found


FEASIBLE = FeasibleSpace(SPACE, OBJECTIVE.latency_ms, draw, TARGET_MS)


def test_it_holds_what_meets_the_target() -> None:
    held = np.array(list(FEASIBLE.enumerate()))
    assert (OBJECTIVE.latency_ms(held) <= TARGET_MS).all()
    assert len(held) == pytest.approx(0.3 * SPACE.n_networks, rel=0.05)
    slowest = held[OBJECTIVE.latency_ms(held).argmax()]
    near = FEASIBLE.neighbours(slowest)
    assert 0 < len(near) < len(SPACE.neighbours(slowest))
    assert FEASIBLE.holds(near).all()


@pytest.mark.parametrize("name", ["random", "local", "evolution", "guided", "nsga2"])
def test_searchers_propose_only_what_meets_the_target(name: str) -> None:
    searcher = make_searcher(name, FEASIBLE, seed=0)
    for _ in range(12):
        genotypes = searcher.ask(10)
        share = FEASIBLE.holds(genotypes).mean()
        assert share == 1 if name in ("random", "local", "guided") else share > 0.9
        searcher.tell(genotypes, OBJECTIVE.quality(genotypes).tolist())
