from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from search.errors import (
    EvaluatorError,
    NotARun,
    ReplayError,
    RewardError,
    RunExists,
    RunInUse,
    StoreError,
)
from search.evaluators.evaluator import Evaluation
from search.rewards import Reward
from search.run import Progress, SearchResult, evaluation_seed, load, resume, run_search
from search.run_directory import RunDirectory
from search.searchers import make_searcher
from search.trials import FailedTrial, Trial
from tests.search.searching import search
from tests.search.spaces import Additive, ConvSpace, config

SPACE = ConvSpace(4, 3, 4)
ROOT = Path(__file__).parents[2]


def run(out: Path, searcher: str = "random", **changes: object) -> SearchResult:
    """Run a small search over ``SPACE``; ``changes`` are of the evaluator."""
    evaluator = Additive(SPACE, **changes)  # type: ignore[arg-type]
    made = make_searcher(searcher, SPACE, seed=3)
    return run_search(config(searcher), SPACE, evaluator.latency_ms, evaluator, made, out=out)


def go_on(
    out: Path, searcher: str = "random", *, budget: int | None = None, **changes: object
) -> SearchResult:
    evaluator = Additive(SPACE, **changes)  # type: ignore[arg-type]
    made = make_searcher(searcher, SPACE, seed=3)
    return resume(out, SPACE, evaluator.latency_ms, evaluator, made, budget=budget)


def test_a_run_spends_its_budget_and_says_what_it_found(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    assert [t.number for t in result.trials] == list(range(60))
    assert [t.batch for t in result.trials] == [i // 8 for i in range(60)]
    assert result.distinct == len({t.canonical for t in result.trials}) < 60
    scored = [t for t in result.trials if isinstance(t, Trial)]
    within = [t for t in scored if t.latency_ms <= 50]
    assert result.best is not None
    assert result.best.quality == max(t.quality for t in within)
    assert result.best in result.front
    reward = result.config.reward
    assert isinstance(reward, Reward)
    objective = Additive(SPACE)
    for trial in scored:
        genotypes = SPACE.canonical([trial.genotype])
        assert tuple(genotypes[0]) == trial.canonical
        assert trial.quality == objective.quality(genotypes)[0]
        assert trial.latency_ms == objective.latency_ms(genotypes)[0]
        assert trial.reward == reward(trial.quality, trial.latency_ms)
        assert trial.seed == evaluation_seed(3, genotypes[0])
        assert trial.searcher == "random"


def test_a_network_is_evaluated_once(tmp_path: Path) -> None:
    evaluator = Additive(SPACE, fails=frozenset({5}))
    made = make_searcher("random", SPACE)
    result = run_search(
        config(), SPACE, evaluator.latency_ms, evaluator, made, out=tmp_path / "run"
    )
    assert max(Counter(evaluator.evaluated).values()) == 1
    assert len(evaluator.evaluated) == result.distinct
    for trial in result.trials:
        first = result.trials[trial.first]
        assert (first.canonical, first.hash, first.seed) == (
            trial.canonical,
            trial.hash,
            trial.seed,
        )
        assert trial.is_repeat == (trial.number != first.number)
        assert not first.is_repeat


def test_failures_are_recorded_with_their_reason_and_count(tmp_path: Path) -> None:
    for searcher in ("random", "local", "ppo"):
        result = run(tmp_path / searcher, searcher, fails=frozenset({5, 6}))
        failed = [t for t in result.trials if isinstance(t, FailedTrial)]
        assert failed
        assert all(sum(t.canonical) in (5, 6) for t in failed)
        assert {t.reason for t in failed} == {"loss is not finite"}
        assert len(result.trials) == 60


def test_there_is_no_best_when_nothing_meets_the_target(tmp_path: Path) -> None:
    evaluator = Additive(SPACE)
    result = run_search(
        config(),
        SPACE,
        lambda genotypes: evaluator.latency_ms(genotypes) + 100,
        evaluator,
        make_searcher("random", SPACE),
        out=tmp_path / "run",
    )
    assert result.best is None
    assert result.front


@pytest.mark.parametrize("searcher", ["random", "local", "ppo"])
def test_interrupted_anywhere_it_continues_to_the_same_trials(
    searcher: str, tmp_path: Path
) -> None:
    fails = frozenset({5})
    whole = run(tmp_path / "whole", searcher, fails=fails)
    moments = random.Random(searcher).sample(range(whole.distinct), 5)
    for moment in moments:
        out = tmp_path / f"after{moment}"
        with pytest.raises(KeyboardInterrupt):
            run(out, searcher, fails=fails, stop_after=moment)
        assert len(load(out).trials) >= moment
        continued = go_on(out, searcher, fails=fails)
        assert continued.trials == whole.trials
        assert continued.front == whole.front
        assert go_on(out, searcher, stop_after=0).trials == whole.trials


def test_interrupted_again_and_again(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", "ppo")
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(out, "ppo", stop_after=3)
    for _ in range(100):
        try:
            continued = go_on(out, "ppo", stop_after=4)
            break
        except KeyboardInterrupt:
            continue
    assert continued.trials == whole.trials


def test_a_larger_budget_goes_on_from_a_finished_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    result = go_on(tmp_path / "run", budget=100)
    assert len(result.trials) == 100
    assert load(tmp_path / "run").config.budget == 100
    assert len(go_on(tmp_path / "run", stop_after=0).trials) == 100


@pytest.mark.parametrize(("searcher", "times"), [("local", 4), ("ppo", 1)])
def test_killed_anywhere_it_continues_to_the_same_trials(
    searcher: str, times: int, tmp_path: Path
) -> None:
    whole = search(tmp_path / "whole", searcher)
    out, moments = tmp_path / "killed", random.Random(1)
    command = [sys.executable, "-m", "tests.search.searching", str(out), searcher, "0.05"]
    for _ in range(times):
        seen = trials_in(out)
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                while process.poll() is None and trials_in(out) <= seen:
                    time.sleep(0.02)
                time.sleep(moments.random() * 0.2)
            finally:
                process.kill()
    assert search(out, searcher).trials == whole.trials


def trials_in(out: Path) -> int:
    return len(load(out).trials) if (out / "run.toml").exists() else 0


def test_killed_while_it_was_made_it_is_made_again(tmp_path: Path) -> None:
    whole = run(tmp_path / "run")
    (tmp_path / "run" / "run.toml").rename(tmp_path / "run" / "run.toml.tmp")
    (tmp_path / "run" / "trials.sqlite").write_bytes(b"")
    for event in (tmp_path / "run" / "tensorboard").iterdir():
        event.unlink()
    (tmp_path / "run" / "tensorboard").rmdir()
    assert run(tmp_path / "run").trials == whole.trials


def test_progress_is_told_after_each_batch(tmp_path: Path) -> None:
    seen: list[Progress] = []
    evaluator = Additive(SPACE, fails=frozenset({5}))
    made = make_searcher("random", SPACE)
    result = run_search(
        config(),
        SPACE,
        evaluator.latency_ms,
        evaluator,
        made,
        out=tmp_path / "run",
        progress=seen.append,
    )
    assert [p.told for p in seen] == [8, 16, 24, 32, 40, 48, 56, 60]
    assert result.best is not None
    assert seen[-1] == Progress(
        told=60,
        budget=60,
        distinct=result.distinct,
        failed=sum(isinstance(t, FailedTrial) and not t.is_repeat for t in result.trials),
        best_quality=result.best.quality,
    )


def test_scalars_are_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path / "run", "ppo")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    tags = events.Tags()["scalars"]
    assert {"reward/mean", "quality/best", "trials/distinct", "searcher/entropy"} <= set(tags)
    assert [event.step for event in events.Scalars("reward/mean")][-1] == 60


def test_the_trial_view_reads_with_sqlite_alone(tmp_path: Path) -> None:
    result = run(tmp_path / "run", fails=frozenset({5}))
    database = sqlite3.connect(tmp_path / "run" / "trials.sqlite")
    rows = database.execute("SELECT number, status, quality, reason FROM trial").fetchall()
    database.close()
    assert rows == [
        (t.number, "ok", t.quality, None)
        if isinstance(t, Trial)
        else (t.number, "failed", None, t.reason)
        for t in result.trials
    ]


def test_a_new_run_needs_a_place_of_its_own(tmp_path: Path) -> None:
    run(tmp_path / "run")
    with pytest.raises(RunExists, match="is a run already; continue it with --resume"):
        run(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(RunExists, match="not empty and not a run"):
        run(tmp_path / "other")
    with pytest.raises(RunExists, match="is a file"):
        run(tmp_path / "other" / "thesis.tex")
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty")


def test_what_is_no_run_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"holds no run: there is no run\.toml"):
        go_on(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run.toml").write_text("format = 99\n")
    with pytest.raises(NotARun, match="format 1 expected, found 99"):
        go_on(tmp_path)


def test_one_process_writes(tmp_path: Path) -> None:
    run(tmp_path / "run")
    with RunDirectory.open(tmp_path / "run"), pytest.raises(RunInUse, match="in use"):
        go_on(tmp_path / "run")
    with RunDirectory.open(tmp_path / "run"):
        assert len(load(tmp_path / "run").trials) == 60
    go_on(tmp_path / "run")


def test_other_parts_do_not_continue_a_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    with pytest.raises(NotARun, match="its evaluator is 'additive', found 'other'"):
        go_on(tmp_path / "run", name="other")
    with pytest.raises(NotARun, match="its searcher is 'random', found 'local'"):
        go_on(tmp_path / "run", "local")
    evaluator, made = Additive(SPACE), make_searcher("random", SPACE, seed=4)
    with pytest.raises(ReplayError, match="another space, seed"):
        resume(tmp_path / "run", SPACE, evaluator.latency_ms, evaluator, made)


def test_a_damaged_store_is_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path / "run")
    file = tmp_path / "run" / "trials.sqlite"
    whole = file.read_bytes()
    file.write_bytes(b"not a database, certainly" * 100)
    with pytest.raises(StoreError, match=r"trials\.sqlite"):
        go_on(tmp_path / "run")
    file.write_bytes(whole)
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(NotARun, match="format 2 expected, found 7"):
        load(tmp_path / "run")


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", stop_after=20)
    directory = RunDirectory(tmp_path / "run")
    store = directory.trials()
    kept, asked = store.trials(), store.proposals()
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite then says that the disk is full
    with pytest.raises(StoreError, match="full; finished trials are kept"):
        store.propose(replace(asked[0], number=number) for number in range(100, 2000))
    assert store.trials() == kept
    store.close()
    assert go_on(tmp_path / "run").trials == whole.trials


def test_a_latency_that_is_none_ends_the_run(tmp_path: Path) -> None:
    evaluator, made = Additive(SPACE), make_searcher("random", SPACE)
    with pytest.raises(RewardError, match="positive and finite"):
        run_search(
            config(),
            SPACE,
            lambda genotypes: 0 * evaluator.latency_ms(genotypes),
            evaluator,
            made,
            out=tmp_path / "run",
        )


def test_an_evaluator_gives_one_result_a_genotype(tmp_path: Path) -> None:
    class Short(Additive):
        def evaluate(self, genotypes, seeds):  # type: ignore[no-untyped-def]
            return [Evaluation(0.5, 0.0)]

    evaluator, made = Short(SPACE), make_searcher("random", SPACE)
    with pytest.raises(EvaluatorError, match="fewer than 8"):
        run_search(config(), SPACE, evaluator.latency_ms, evaluator, made, out=tmp_path / "run")
