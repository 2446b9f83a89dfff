from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from networks.spaces.space import Space
from search.errors import UnknownSearcher
from search.local_search import LocalSearch
from search.ppo import PRESETS, PPOSearch
from search.random_search import RandomSearch
from search.searcher import Searcher
from search.searchers import make_searcher, searcher_names
from search.wrappers import Unrepeated, WarmStarted
from tests.contracts.searcher_contract import SPACE, SearcherContract
from tests.search.spaces import Additive, ConvSpace


class TestRandomSearch(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return RandomSearch(space, seed=seed)

    def test_every_network_is_equally_likely(self) -> None:
        space = ConvSpace(3)
        drawn = space.canonical(RandomSearch(space, seed=0).ask(8000))
        _, counts = np.unique(drawn, axis=0, return_counts=True)
        assert len(counts) == space.n_networks == 4
        assert np.all(np.abs(counts - 2000) < 5 * np.sqrt(8000 * 0.25 * 0.75))


class TestLocalSearch(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return LocalSearch(space, seed=seed)

    def test_reaches_the_top_of_an_additive_space(self) -> None:
        space = ConvSpace(4, 4, 4, 4, 4, 4)
        searcher, objective = LocalSearch(space, seed=0), Additive(space)
        best = -np.inf
        for _ in range(150):
            genotypes = searcher.ask(1)
            reward = float(objective.quality(genotypes)[0])
            searcher.tell(genotypes, [reward])
            best = max(best, reward)
        everything = np.array(list(space.enumerate()))
        assert best == objective.quality(everything).max()

    def test_repeats_no_network_while_there_are_others(self) -> None:
        space = ConvSpace(3, 3, 3, 3)
        searcher, objective = LocalSearch(space, seed=0), Additive(space)
        asked = []
        for _ in range(12):
            genotypes = searcher.ask(8)
            searcher.tell(genotypes, objective.quality(genotypes).tolist())
            asked.append(space.canonical(genotypes))
        assert len(np.unique(np.concatenate(asked), axis=0)) == 96

    def test_goes_on_when_the_space_is_exhausted(self) -> None:
        space = ConvSpace(2)
        searcher, objective = LocalSearch(space, seed=0), Additive(space)
        for _ in range(5):
            genotypes = searcher.ask(4)
            searcher.tell(genotypes, objective.quality(genotypes).tolist())


class TestPaperPPO(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return PPOSearch(space, PRESETS["paper"], seed=seed)


class TestSmallBudgetPPO(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return PPOSearch(space, PRESETS["small-budget"], seed=seed)


class TestReinforce(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("reinforce", space, seed=seed)


class TestPaperReinforce(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("reinforce", space, preset="paper", seed=seed)


class TestEvolution(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("evolution", space, seed=seed)


class TestPaperEvolution(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("evolution", space, preset="paper", seed=seed)


class TestNSGA2(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("nsga2", space, seed=seed)


class TestPaperNSGA2(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("nsga2", space, preset="paper", seed=seed)


class TestTPE(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("tpe", space, seed=seed)


class TestGuided(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return make_searcher("guided", space, seed=seed)


class TestUnrepeatedPPO(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return Unrepeated(space, make_searcher("ppo", space, seed=seed), seed=seed)


class TestWarmStartedEvolution(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        first = space.sample(5, np.random.default_rng(seed))
        return WarmStarted(space, make_searcher("evolution", space, seed=seed), first)


def test_searchers_by_name() -> None:
    assert searcher_names() == [
        "evolution", "guided", "local", "nsga2", "ppo", "random", "reinforce", "tpe"
    ]  # fmt: skip
    for name in searcher_names():
        assert make_searcher(name, SPACE).ask(3).shape == (3, len(SPACE.decisions))
    assert make_searcher("ppo", SPACE).name == "ppo:small-budget"
    assert make_searcher("ppo", SPACE, preset="paper").name == "ppo:paper"


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(UnknownSearcher, match="did you mean random"):
        make_searcher("randon", SPACE)
    with pytest.raises(UnknownSearcher, match="did you mean small-budget"):
        make_searcher("ppo", SPACE, preset="small")
    with pytest.raises(UnknownSearcher, match="no settings"):
        make_searcher("local", SPACE, preset="paper")


def test_a_package_can_register_a_searcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(
        "from search.random_search import RandomSearch\n"
        "def make(space, *, preset, seed):\n    return RandomSearch(space, seed=seed + 1)\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hilnas.searchers]\ntheirs = theirs:make\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs" in searcher_names()
    found = make_searcher("theirs", SPACE, seed=4).ask(9)
    assert np.array_equal(found, RandomSearch(SPACE, seed=5).ask(9))


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import search.run
from search.errors import MissingExtra
from search.searchers import make_searcher
from tests.search.spaces import ConvSpace
make_searcher("local", ConvSpace(3)).ask(3)
try:
    make_searcher("ppo", ConvSpace(3))
except MissingExtra as error:
    print(error)
"""


def test_only_ppo_needs_torch() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "the ppo searcher needs torch: pip install 'hilnas[search]'\n"
