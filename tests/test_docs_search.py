"""docs/search.md: it defines every number that a run writes, and every key that it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.baselines import CHEAP_S, run_baselines
from search.config import RunConfig
from search.honesty import honesty_of
from search.monitor import FIRST
from search.repeats import run_seeds
from search.run import SearchResult, run_search
from search.searchers import make_searcher
from search.status import RATED_BATCHES, status_of
from tests.search.spaces import Additive, ConvSpace, config
from tests.search.test_monitor import events

TEXT = (Path(__file__).parent.parent / "docs" / "search.md").read_text()
SPACE = ConvSpace(4, 3, 4)


def search(config: RunConfig, out: Path) -> SearchResult:
    evaluator = Additive(SPACE, fails=frozenset({5}))
    searcher = make_searcher(config.searcher, SPACE, seed=config.seed)
    return run_search(config, SPACE, evaluator.latency_ms, evaluator, searcher, out=out)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return search(config("ppo"), tmp_path_factory.mktemp("docs") / "run")


def keys(values: object) -> Iterator[str]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield name
            yield from keys(value)
    elif isinstance(values, list):
        for value in values:
            yield from keys(value)


def test_every_scalar_is_defined_and_every_defined_one_is_written(result: SearchResult) -> None:
    defined = {
        name
        for line in TEXT.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+/\w+)`", line.split("|")[1])
    }
    assert defined == set(events(result.run))


def test_every_key_is_there(result: SearchResult, tmp_path: Path) -> None:
    found = set(keys(status_of(result.run).to_dict()))
    run_baselines(search, result)
    found |= set(keys(honesty_of(result).to_dict()))
    found |= set(keys(run_seeds(search, config(budget=16), (0, 1), tmp_path).to_dict()))
    known = set(re.findall(r"`(\w+)`", TEXT))
    parts = {"run", "out", "seed", "hash", "name", "ahead", "networks", "pairs", "level",
             "has_clear_winner"}  # fmt: skip
    assert found - known - parts == set()


def test_numbers_are_those_of_the_code() -> None:
    assert f"at most {CHEAP_S:g} s" in TEXT
    assert f"first {FIRST} evaluated networks" in TEXT
    assert f"last {RATED_BATCHES} batches" in TEXT
