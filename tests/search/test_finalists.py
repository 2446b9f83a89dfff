"""Finalists: seeds, intervals, verdicts, and test images that choose nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.datasets import Dataset
from search.errors import TrainingError
from search.finalists import FinalistsResult, calibration_error, compare, interval
from search.training import TrainingSettings, evaluate, train
from tests.search.training_networks import digits, small_network

CANDIDATES = {
    "wide": small_network(24),
    "wide again": small_network(24),
    "narrow": small_network(4),
    "wrong": small_network(classes=5),
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits()


@pytest.fixture(scope="module")
def result(data: Dataset) -> FinalistsResult:
    shares: list[float] = []
    found = compare(
        CANDIDATES, data, TrainingSettings(epochs=2), seeds=2, workers=2, progress=shares.append
    )
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    return found


def test_equal_networks_have_equal_results_and_no_difference(result: FinalistsResult) -> None:
    one, other = result["wide"], result["wide again"]
    assert one.accuracies == other.accuracies
    assert {one.verdict, other.verdict} <= {"best", "no difference"}


def test_the_best_has_the_highest_mean(result: FinalistsResult) -> None:
    means = {f.name: f.accuracy.mean for f in result.finalists if f.accuracy}
    assert result.best is not None
    assert means[result.best] == max(means.values())
    assert result[result.best].verdict == "best"


def test_accuracy_is_on_test_and_recalls_average_to_it(
    data: Dataset, result: FinalistsResult
) -> None:
    finalist = result["wide"]
    exported = finalist.exported
    assert exported is not None
    assert evaluate(exported.module(), data.test) == finalist.accuracies[exported.seed]
    weights = np.bincount(data.test.labels) / len(data.test)
    recalls = [finalist.recalls[name] for name in data.classes]
    assert np.dot(weights, recalls) == pytest.approx(np.mean(list(finalist.accuracies.values())))


def test_the_exported_seed_is_chosen_on_validation(data: Dataset, result: FinalistsResult) -> None:
    exported = result["narrow"].exported
    assert exported is not None
    other = train(exported.network, data.train, exported.settings, seed=1 - exported.seed)
    chosen, left = (evaluate(t.module(), data.validation) for t in (exported, other))
    assert chosen >= left


def test_a_failed_training_is_a_reason_and_no_accuracy(result: FinalistsResult) -> None:
    failed = result["wrong"]
    assert failed.accuracies == {}
    assert (failed.accuracy, failed.calibration_error, failed.exported) == (None, None, None)
    assert failed.verdict == "unknown"
    assert [failure.seed for failure in failed.failures] == [0, 1]
    assert "5 classes" in failed.failures[0].reason


def test_it_is_json(result: FinalistsResult) -> None:
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert [finalist["name"] for finalist in content["finalists"]] == list(CANDIDATES)
    assert content["best"] == result.best


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=6), confidence=st.floats(0.5, 0.99))
def test_intervals_hold_their_mean_and_grow_with_confidence(
    values: list[float], confidence: float
) -> None:
    narrow, wide = interval(values, confidence), interval(values, confidence + 0.005)
    assert narrow is not None
    assert wide is not None
    assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high


def test_an_interval_is_the_textbooks() -> None:
    found = interval([1.0, 2.0, 3.0], 0.90)
    assert found is not None
    assert found.high - found.mean == pytest.approx(2.919986 * (1 / 3) ** 0.5)  # t, 2 degrees
    assert interval([1.0], 0.90) is None


def test_calibration_error_of_known_cases() -> None:
    sure = np.array([[50.0, 0.0]] * 4, dtype=np.float32)
    assert calibration_error(sure, np.array([0, 0, 0, 0])) == pytest.approx(0)
    assert calibration_error(sure, np.array([0, 0, 1, 1])) == pytest.approx(0.5)
    unsure = np.zeros((4, 2), dtype=np.float32)
    assert calibration_error(unsure, np.array([0, 0, 1, 1])) == pytest.approx(0)


def test_nothing_to_compare_is_an_error(data: Dataset) -> None:
    with pytest.raises(TrainingError, match="needs candidates"):
        compare({}, data)
