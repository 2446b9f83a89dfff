"""Kept trainings come back whole, or not at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.finalists import compare
from search.training import classify_torch, train
from search.training_pool import FinishedTraining, TrainingJob
from search.training_store import TrainingStore
from tests.search.training_networks import SETTINGS, digits, small_network

QUICK = replace(SETTINGS, epochs=1.0)


@pytest.fixture(scope="module")
def finished() -> tuple[TrainingJob, FinishedTraining]:
    data, network = digits(), small_network()
    trained = train(network, data.train, QUICK, seed=1)
    logits = classify_torch(trained.module(), data.test.images)
    return TrainingJob(network, 1, QUICK), FinishedTraining(trained, logits)


def test_a_training_comes_back(
    finished: tuple[TrainingJob, FinishedTraining], tmp_path: Path
) -> None:
    job, result = finished
    store = TrainingStore(tmp_path / "kept", "digits")
    assert store.get(job) is None
    store.put(job, result)
    back = store.get(job)
    assert back is not None
    np.testing.assert_array_equal(back.logits, result.logits)
    images = digits().test.images[:10]
    np.testing.assert_array_equal(
        classify_torch(back.trained.module(), images),
        classify_torch(result.trained.module(), images),
    )
    assert back.trained.losses == result.trained.losses


def test_another_seed_setting_or_image_set_is_another_training(
    finished: tuple[TrainingJob, FinishedTraining], tmp_path: Path
) -> None:
    job, result = finished
    TrainingStore(tmp_path, "digits").put(job, result)
    assert TrainingStore(tmp_path, "others").get(job) is None
    assert TrainingStore(tmp_path, "digits").get(replace(job, seed=2)) is None
    assert TrainingStore(tmp_path, "digits").get(replace(job, settings=SETTINGS)) is None


def test_a_damaged_file_is_as_good_as_none(
    finished: tuple[TrainingJob, FinishedTraining], tmp_path: Path
) -> None:
    job, result = finished
    store = TrainingStore(tmp_path, "digits")
    store.put(job, result)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert store.get(job) is None


def test_a_comparison_goes_on_where_it_was(tmp_path: Path) -> None:
    data, networks = digits(), {"a": small_network(8), "b": small_network(12)}
    first = compare(networks, data, QUICK, seeds=2, keep=tmp_path)
    (tmp_path / next(tmp_path.iterdir()).name).unlink()
    kept = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    second = compare(networks, data, QUICK, seeds=2, keep=tmp_path)
    assert second.to_dict() == first.to_dict()
    assert len(list(tmp_path.iterdir())) == 4
    assert all((tmp_path / name).stat().st_mtime_ns == at for name, at in kept.items())
