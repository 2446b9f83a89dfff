"""Training: it learns, it repeats, it says why not; and workers that die."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from search.datasets import Dataset
from search.errors import TrainingDiverged, TrainingError
from search.training import (
    TrainedNetwork,
    TrainingSettings,
    accuracy,
    classify_torch,
    evaluate,
    train,
)
from search.training_plan import affordable
from search.training_pool import (
    FailedTraining,
    FinishedTraining,
    TrainingJob,
    TrainingPool,
)
from tests.search.training_networks import SETTINGS, digits, small_network

QUICK = TrainingSettings(epochs=0.3)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits()


@pytest.fixture(scope="module")
def trained(data: Dataset) -> TrainedNetwork:
    return train(small_network(), data.train, SETTINGS, seed=1)


def test_it_learns(data: Dataset, trained: TrainedNetwork) -> None:
    chance = 1 / len(data.classes)
    assert evaluate(trained.module(), data.validation) > 3 * chance
    assert np.mean(trained.losses[-5:]) < np.mean(trained.losses[:5])


def test_one_seed_one_result_whatever_torch_did_before(
    data: Dataset, trained: TrainedNetwork
) -> None:
    torch.manual_seed(99)
    again = train(small_network(), data.train, SETTINGS, seed=1)
    assert again.losses == trained.losses
    assert all(np.array_equal(again.state[name], trained.state[name]) for name in trained.state)


def test_another_seed_another_result(data: Dataset) -> None:
    one, other = (train(small_network(), data.train, QUICK, seed=seed) for seed in (1, 2))
    assert one.losses != other.losses


def test_it_leaves_torch_as_it_was(data: Dataset) -> None:
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train(small_network(), data.train, QUICK, seed=1).module()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_progress_rises_to_one(data: Dataset) -> None:
    shares: list[float] = []
    train(small_network(), data.train, QUICK, seed=1, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_time_budget_ends_a_training_in_order(data: Dataset) -> None:
    settings = TrainingSettings(epochs=10_000, time_budget_s=0.2)
    ended = train(small_network(), data.train, settings, seed=1)
    assert 1 <= len(ended.losses) < settings.steps(len(data.train))


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    settings = TrainingSettings(learning_rate=0.2, warmup=0.25)
    rates = [settings.learning_rate_at(progress) for progress in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(0.2)
    assert rates.index(max(rates)) == 25
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0)


def test_steps_count_full_batches_of_the_images_used() -> None:
    assert TrainingSettings(epochs=2, batch=64).steps(1_000) == 30
    assert TrainingSettings(epochs=2, batch=64, train_images=128).steps(1_000) == 4
    assert TrainingSettings(epochs=0.01, batch=64).steps(10) == 1


def test_a_diverging_loss_is_an_error_with_the_remedy(data: Dataset) -> None:
    settings = TrainingSettings(learning_rate=1e12, warmup=0.0)
    with pytest.raises(TrainingDiverged, match="lower the learning rate of 1e"):
        train(small_network(), data.train, settings, seed=1)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch": 1}, {"learning_rate": float("nan")}, {"warmup": 1.0},
     {"time_budget_s": -1.0}, {"train_images": 1}],
)  # fmt: skip
def test_settings_that_cannot_be_trained_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(TrainingError):
        dataclasses.replace(TrainingSettings(), **wrong)  # type: ignore[arg-type]


def test_images_and_labels_must_fit_the_network(data: Dataset) -> None:
    with pytest.raises(TrainingError, match="labels up to 9"):
        train(small_network(classes=5), data.train, QUICK, seed=1)
    wrong = dataclasses.replace(data.train, images=data.train.images[:, :, :4])
    with pytest.raises(TrainingError, match=r"reads images \(1, 8, 8\), found \(1, 4, 8\)"):
        train(small_network(), wrong, QUICK, seed=1)


def test_a_trained_network_survives_pickling(data: Dataset, trained: TrainedNetwork) -> None:
    copy = pickle.loads(pickle.dumps(trained))
    images = data.test.images[:20]
    assert np.array_equal(
        classify_torch(copy.module(), images), classify_torch(trained.module(), images)
    )


def test_a_pool_gives_what_training_here_gives_and_outlives_a_killed_worker(
    data: Dataset, trained: TrainedNetwork
) -> None:
    jobs = [
        TrainingJob(small_network(), 1, SETTINGS),
        TrainingJob(small_network(), 2, TrainingSettings(learning_rate=1e12)),
        TrainingJob(small_network(), 3, TrainingSettings(epochs=100_000)),
        TrainingJob(small_network(), 4, QUICK),
    ]

    def kill_the_endless(index: int, share: float) -> None:
        if index == 2:
            (worker,) = multiprocessing.active_children()
            worker.kill()

    with TrainingPool(data.train, data.validation, workers=1) as pool:
        results = dict(pool.run(jobs, progress=kill_the_endless))
    assert multiprocessing.active_children() == []
    first, diverged, dead, last = (results[index] for index in range(4))
    assert isinstance(first, FinishedTraining)
    assert first.trained.losses == trained.losses
    assert accuracy(first.logits, data.validation.labels) == pytest.approx(
        evaluate(trained.module(), data.validation)
    )
    assert isinstance(diverged, FailedTraining)
    assert diverged.reason.startswith("TrainingDiverged: the loss is")
    assert dead == FailedTraining("its worker ended by signal SIGKILL (often: out of memory)")
    assert isinstance(last, FinishedTraining)


def test_a_job_that_takes_too_long_fails_and_its_worker_ends(data: Dataset) -> None:
    endless = TrainingJob(small_network(), 1, TrainingSettings(epochs=1e9))
    with TrainingPool(data.train, data.validation, workers=1, timeout_s=0.0) as pool:
        assert dict(pool.run([endless])) == {
            0: FailedTraining("no result within 0 s; its worker was ended")
        }
        assert multiprocessing.active_children() == []


def test_no_workers_is_an_error(data: Dataset) -> None:
    with pytest.raises(TrainingError, match="at least one worker, found 0"):
        TrainingPool(data.train, data.validation, workers=0)


INTERRUPTED = """
import signal
from search.training import TrainingSettings
from search.training_pool import TrainingJob, train_many
from search.training_plan import affordable
from tests.search.training_networks import digits, small_network

def interrupt(index, share):
    signal.raise_signal(signal.SIGINT)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    data = digits()
    jobs = [TrainingJob(small_network(), 0, TrainingSettings(epochs=1e9))]
    try:
        list(train_many(jobs, data.train, data.validation, progress=interrupt))
    except KeyboardInterrupt:
        import multiprocessing
        print("interrupted", len(multiprocessing.active_children()))
"""


def test_ctrl_c_ends_the_workers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "interrupted 0\n"
    assert done.stderr == ""


def test_a_plan_gives_all_candidates_the_same_steps_within_the_budget(data: Dataset) -> None:
    networks = [small_network(8), small_network(16)]
    wanted = TrainingSettings(epochs=1e6, batch=32)

    def plan(budget_s: float) -> TrainingSettings:
        return affordable(
            networks,
            data.train,
            wanted,
            seeds=2,
            workers=2,
            evaluation_images=100,
            budget_s=budget_s,
        )

    assert 10 <= plan(60.0).steps(len(data.train)) < wanted.steps(len(data.train))
    assert plan(1e9) == wanted
    with pytest.raises(TrainingError, match=r"allow 0 steps to each of 2 networks and 2 seeds"):
        plan(1e-6)
