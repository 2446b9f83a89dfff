"""Training as an evaluator: its contract, early stopping, exact resume, and what does not fit."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from networks.spaces.nasnet import nasnet
from networks.spaces.space import Genotypes
from search.config import RunConfig
from search.datasets import SearchView
from search.errors import DatasetError, EvaluatorError, TrainingError
from search.evaluators.evaluator import Evaluation, Evaluator, FailedEvaluation, Job
from search.evaluators.training import TrainingEvaluator
from search.rewards import make_reward
from search.run import SearchResult, resume, run_search
from search.searchers import make_searcher
from search.stopping import MedianStop
from search.training import TrainingSettings
from search.training_log import TrainingLog
from tests.contracts.evaluator_contract import EvaluatorContract
from tests.search.training_networks import RESOLUTION, WidthSpace, digits

QUICK = TrainingSettings(epochs=1, train_images=128, batch=32)


@pytest.fixture(scope="module")
def space() -> ChainSpace:
    return make_space(
        "accel-nasbench", resolution=RESOLUTION, width=0.25, classes=10, in_channels=1
    )


@pytest.fixture(scope="module")
def view() -> SearchView:
    return digits().search_view()


@pytest.fixture(scope="module")
def evaluator(space: ChainSpace, view: SearchView) -> Iterator[Evaluator]:
    with TrainingEvaluator(space, view, QUICK, workers=2) as evaluator:
        yield evaluator


class TestContract(EvaluatorContract):
    def test_quality_is_an_accuracy(self, evaluator: Evaluator, space: ChainSpace) -> None:
        genotypes = space.sample(2, np.random.default_rng(0))
        for result in evaluator.evaluate(genotypes, np.arange(2)):
            assert isinstance(result, Evaluation)
            assert 0 <= result.quality <= 1
            assert result.seconds > 0


def test_a_space_for_other_images_is_refused(view: SearchView) -> None:
    with pytest.raises(EvaluatorError, match="reads images of 224x224x3, digits has"):
        TrainingEvaluator(make_space("accel-nasbench"), view)
    with pytest.raises(EvaluatorError, match="has 1000 classes, digits has 10"):
        TrainingEvaluator(make_space("accel-nasbench", resolution=8, in_channels=1), view)


def test_a_time_budget_is_not_deterministic(space: ChainSpace, view: SearchView) -> None:
    with TrainingEvaluator(space, view, TrainingSettings(time_budget_s=5)) as evaluator:
        assert not evaluator.deterministic


def jobs_of(*genotypes: Sequence[int]) -> Iterator[Job]:
    for number, genotype in enumerate(genotypes):
        yield Job(number, np.array(genotype, np.int8), seed=number)


def test_jobs_are_taken_when_a_worker_is_free_and_need_not_wait(view: SearchView) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[Job | None]:
        for job in jobs_of((0, 0), (1, 0), (2, 0), (3, 0)):
            taken.append(job.number)
            yield job
            if job.number == 2:
                while len(seen) < 2:
                    yield None

    seen: dict[int, float] = {}
    with TrainingEvaluator(WidthSpace(), view, QUICK, workers=2) as evaluator:
        for number, result in evaluator.stream(jobs()):
            assert len(taken) <= len(seen) + 2
            assert isinstance(result, Evaluation)
            seen[number] = result.quality
    assert sorted(seen) == [0, 1, 2, 3]


def test_nothing_under_way_is_an_error_not_a_wait(view: SearchView) -> None:
    with (
        TrainingEvaluator(WidthSpace(), view, QUICK, workers=1) as evaluator,
        pytest.raises(TrainingError, match="no job is under way"),
    ):
        list(evaluator.stream(iter([None])))


def test_a_space_of_cells_is_trained_with_dropped_paths(view: SearchView) -> None:
    cells = nasnet(resolution=RESOLUTION, repeats=1, filters=4, classes=10, in_channels=1)
    settings = dataclasses.replace(QUICK, train_images=64, drop_path_keep=0.8)
    with TrainingEvaluator(cells, view, settings, workers=1) as evaluator:
        (result,) = evaluator.evaluate(cells.sample(1, np.random.default_rng(0)), np.array([1]))
        assert isinstance(result, Evaluation)
        assert evaluator.name == "training:digits@8,epochs=1,images=64,drop_path_keep=0.8"


def test_another_metric_and_weights_are_in_the_name_and_the_figures(view: SearchView) -> None:
    settings = dataclasses.replace(QUICK, class_weights=(1.0,) * 9 + (5.0,))
    with TrainingEvaluator(WidthSpace(), view, settings, workers=1, metric="recall:9") as evaluator:
        ((_, result),) = evaluator.stream(jobs_of((0, 0)))
        assert evaluator.name.endswith(",metric=recall:9,weights=1/1/1/1/1/1/1/1/1/5")
    assert isinstance(result, Evaluation)
    assert result.quality == result.metrics["recall:9"]
    recalls = [result.metrics[f"recall:{name}"] for name in view.classes]
    assert result.metrics["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_a_worker_that_dies_and_a_loss_that_is_nan_are_failures(view: SearchView) -> None:
    others = set(multiprocessing.active_children())

    def kill(number: int, share: float) -> None:
        (worker,) = {*multiprocessing.active_children()} - others
        worker.kill()

    endless = TrainingSettings(epochs=100_000)
    with TrainingEvaluator(WidthSpace(), view, endless, workers=1, progress=kill) as evaluator:
        ((_, dead),) = evaluator.stream(jobs_of((0, 0)))
    assert dead == FailedEvaluation("its worker ended by signal SIGKILL (often: out of memory)")
    wild = dataclasses.replace(QUICK, learning_rate=1e12)
    with TrainingEvaluator(WidthSpace(), view, wild, workers=1) as evaluator:
        ((_, diverged),) = evaluator.stream(jobs_of((0, 0)))
    assert isinstance(diverged, FailedEvaluation)
    assert diverged.reason.startswith("TrainingDiverged: ")


STOPPING = TrainingSettings(epochs=4, train_images=256, batch=32)
CONFIG = RunConfig(
    space="widths", latency="width", evaluator="training", searcher="random",
    reward=make_reward("absolute", target_ms=10), budget=14, batch=2, lookahead=2, seed=5,
)  # fmt: skip


def search(
    view: SearchView,
    out: Path,
    *,
    workers: int = 2,
    batches: float = math.inf,
) -> SearchResult:
    """Start or continue a run whose trainings may be stopped; interrupt it after these batches."""
    begun = 0
    space, rule = WidthSpace(), MedianStop(0.5, under_way=CONFIG.batch * CONFIG.lookahead)
    with TrainingEvaluator(space, view, STOPPING, workers=workers, stop=rule) as evaluator:
        searcher = make_searcher("random", space, seed=CONFIG.seed)

        def latency_ms(genotypes: Genotypes) -> npt.NDArray[np.float64]:
            nonlocal begun
            begun += 1
            if begun > batches:
                raise KeyboardInterrupt
            return 1 + genotypes[:, 0].astype(np.float64)

        if (out / "run.toml").exists():
            return resume(out, space, latency_ms, evaluator, searcher)
        return run_search(CONFIG, space, latency_ms, evaluator, searcher, out=out)


def test_hopeless_trainings_end_early_and_a_run_goes_on_exactly(
    view: SearchView, tmp_path: Path
) -> None:
    whole = search(view, tmp_path / "whole", workers=1)
    log = TrainingLog(tmp_path / "whole" / "trainings.jsonl").trainings
    stopped = [training for training in log if training.stopped]
    full = STOPPING.steps(len(view.train))
    assert stopped
    assert all(len(training.curve) < STOPPING.epochs for training in stopped)
    assert all((t.metrics["train_steps"] < full) == t.stopped for t in log)
    qualities = {trial.number: trial.quality for trial in whole.trials}  # type: ignore[union-attr]
    assert all(qualities[t.number] == t.metrics["accuracy"] for t in log)

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        search(view, broken, batches=3)
    assert len(TrainingLog(broken / "trainings.jsonl").trainings) < len(log)
    assert search(view, broken).trials == whole.trials
    others = dataclasses.replace(view, splits=dataclasses.replace(
        view.splits, data=dataclasses.replace(view.splits.data, labels_sha256="0" * 64),  # type: ignore[union-attr, type-var]
    ))  # fmt: skip
    with pytest.raises(DatasetError, match=r"splits.npz splits digits: expected its labels_sha256"):
        search(others, broken)
