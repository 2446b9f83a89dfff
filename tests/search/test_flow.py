"""Batches that overlap, workers that need not wait, and measured latencies."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networks.spaces.space import Genotypes
from search.config import RunConfig
from search.costs import costs_of
from search.errors import TooManyFailures
from search.evaluators.evaluator import Evaluation, FailedEvaluation, Job
from search.latency import FailedLatency, Latency
from search.run import SearchResult, load, resume, run_search
from search.searchers import make_searcher
from search.trials import FailedTrial, Trial
from tests.search.spaces import Additive, ConvSpace, config

SPACE = ConvSpace(4, 3, 4)


class Shuffled(Additive):
    """Keeps ``workers`` jobs under way, and finishes them in a random order."""

    workers = 5
    most_under_way = 0

    def stream(
        self, jobs: Iterator[Job | None]
    ) -> Iterator[tuple[int, Evaluation | FailedEvaluation]]:
        rng, under_way, ended = np.random.default_rng(0), list[Job](), False
        while not ended or under_way:
            while not ended and len(under_way) < self.workers:
                job = next(jobs, "end")
                if job is None:
                    break
                if isinstance(job, Job):
                    under_way.append(job)
                ended = job == "end"
            self.most_under_way = max(self.most_under_way, len(under_way))
            if under_way:
                job = under_way.pop(int(rng.integers(len(under_way))))
                (result,) = self.evaluate(job.genotype[None], np.array([job.seed]))
                yield job.number, result


class Device:
    """Measures with noise, so that a second time would give another number."""

    name, is_measured = "device", True

    def __init__(self, *, fails: int | None = None) -> None:
        self.asked: list[bytes] = []
        self._rng, self._fails = np.random.default_rng(), fails

    def latencies(self, genotypes: Genotypes) -> Iterator[Latency | FailedLatency]:
        for genotype in genotypes:
            self.asked.append(genotype.tobytes())
            if int(genotype.sum()) == self._fails:
                yield FailedLatency("the phone was unplugged")
            else:
                yield Latency(40 + float(genotype.sum()) + self._rng.random(), 0.5)


def wide(lookahead: int, searcher: str = "local") -> RunConfig:
    return replace(config(searcher), lookahead=lookahead)


def search(out: Path, settings: RunConfig, evaluator: Additive) -> SearchResult:
    made = make_searcher(settings.searcher, SPACE, seed=3)
    if (out / "run.toml").exists():
        return resume(out, SPACE, evaluator.latency_ms, evaluator, made)
    return run_search(settings, SPACE, evaluator.latency_ms, evaluator, made, out=out)


@pytest.mark.parametrize("searcher", ["local", "evolution", "guided"])
@pytest.mark.parametrize("lookahead", [1, 2, 4])
def test_the_order_of_results_changes_no_trial(
    tmp_path: Path, lookahead: int, searcher: str
) -> None:
    settings = wide(lookahead, searcher)
    in_order = search(tmp_path / "a", settings, Additive(SPACE, fails=frozenset({5})))
    shuffled = search(tmp_path / "b", settings, Shuffled(SPACE, fails=frozenset({5})))
    assert in_order.trials == shuffled.trials


def test_workers_do_not_wait_for_the_end_of_a_batch(tmp_path: Path) -> None:
    settings = replace(wide(2), batch=3)
    evaluator = Shuffled(SPACE)
    search(tmp_path / "run", settings, evaluator)
    assert evaluator.most_under_way > 3


@pytest.mark.parametrize("stop_after", [0, 1, 9, 20, 31])
def test_interrupted_with_batches_under_way(tmp_path: Path, stop_after: int) -> None:
    settings = wide(3)
    whole = search(tmp_path / "whole", settings, Shuffled(SPACE))
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", settings, Shuffled(SPACE, stop_after=stop_after))
    assert search(tmp_path / "run", settings, Shuffled(SPACE)).trials == whole.trials


def test_measured_latencies_are_replayed_and_never_repeated(tmp_path: Path) -> None:
    def go(evaluator: Additive, device: Device) -> SearchResult:
        made = make_searcher("local", SPACE, seed=3)
        if (tmp_path / "run").exists():
            return resume(tmp_path / "run", SPACE, device, evaluator, made)
        return run_search(config("local"), SPACE, device, evaluator, made, out=tmp_path / "run")

    first, second = Device(), Device()
    with pytest.raises(KeyboardInterrupt):
        go(Additive(SPACE, stop_after=11), first)
    result = go(Additive(SPACE), second)
    asked = first.asked + second.asked
    assert len(asked) == len(set(asked)) == result.distinct
    trial = result.trials[0]
    assert isinstance(trial, Trial)
    assert trial.latency_std_ms == 0.5
    assert trial.interval_ms == pytest.approx(
        (trial.latency_ms - 0.8224, trial.latency_ms + 0.8224), abs=1e-3
    )


def test_a_latency_that_fails_is_a_failed_trial(tmp_path: Path) -> None:
    evaluator, device = Additive(SPACE), Device(fails=4)
    made = make_searcher("random", SPACE, seed=3)
    result = run_search(config(), SPACE, device, evaluator, made, out=tmp_path / "run")
    failed = [trial for trial in result.trials if isinstance(trial, FailedTrial)]
    assert failed
    assert all(sum(trial.canonical) == 4 for trial in failed)
    assert {trial.reason for trial in failed} == {"latency: the phone was unplugged"}
    assert all(sum(genotype) != 4 for genotype in evaluator.evaluated)


def test_other_costs_and_their_limits_are_recorded(tmp_path: Path) -> None:
    evaluator = Additive(SPACE)
    limit = float(SPACE.decode(np.array([1, 1, 1, 1], np.int8)).params)
    settings = replace(config(), limits={"params": limit}, front="latency_ms,params")
    result = run_search(
        settings, SPACE, evaluator.latency_ms, evaluator, make_searcher("random", SPACE, seed=3),
        out=tmp_path / "run", costs=costs_of(SPACE, ("params",)),
    )  # fmt: skip
    for trial in result.trials:
        assert isinstance(trial, Trial)
        params = SPACE.decode(np.array(trial.canonical, np.int8)).params
        assert trial.costs == {"params": params}
        assert trial.violation == pytest.approx(max(0.0, params / limit - 1))
    assert result.best is not None
    assert result.best.violation == 0
    assert load(tmp_path / "run") == result


def test_a_run_whose_evaluations_fail_gives_up_and_goes_on_once_mended(tmp_path: Path) -> None:
    settings = replace(config(), max_failures=0.25)
    failing = Additive(SPACE, fails=frozenset({3, 4, 5, 6}))
    with pytest.raises(TooManyFailures, match=r"at most 25 % .* of 20, the last one: loss is not"):
        search(tmp_path / "run", settings, failing)
    kept = [t for t in load(tmp_path / "run").trials if not t.is_repeat]
    assert len(kept) == 20
    assert len(search(tmp_path / "run", settings, Additive(SPACE)).trials) == 60


_TO_FORMAT_1 = """
DROP VIEW trial; DROP TABLE measured;
ALTER TABLE proposal DROP COLUMN asked_unix_s;
ALTER TABLE result DROP COLUMN latency_std_ms;
ALTER TABLE result DROP COLUMN violation;
ALTER TABLE result DROP COLUMN costs;
CREATE VIEW trial AS
    SELECT proposal.*, status, quality, latency_ms, reward, seconds, reason
    FROM proposal JOIN result ON result.number = proposal.first ORDER BY proposal.number;
PRAGMA user_version = 1;
"""


def test_a_run_of_format_1_is_read_and_continued(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", config(), Additive(SPACE, stop_after=10))
    file = tmp_path / "run" / "trials.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(_TO_FORMAT_1)
    old = load(tmp_path / "run")
    assert old.distinct >= 10
    assert all(trial.asked_unix_s is None for trial in old.trials)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    whole = search(tmp_path / "whole", config(), Additive(SPACE))
    assert search(tmp_path / "run", config(), Additive(SPACE)).trials == whole.trials
