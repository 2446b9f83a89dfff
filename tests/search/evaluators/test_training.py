"""Training as an evaluator: its contract, and spaces or data that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from networks.spaces import make_space
from networks.spaces.space import Space
from search.datasets import SearchView
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluation, Evaluator
from search.evaluators.training import TrainingEvaluator
from search.training import TrainingSettings
from tests.contracts.evaluator_contract import EvaluatorContract
from tests.search.training_networks import RESOLUTION, digits

QUICK = TrainingSettings(epochs=1, train_images=128, batch=32)


@pytest.fixture(scope="module")
def space() -> Space:
    return make_space(
        "accel-nasbench", resolution=RESOLUTION, width=0.25, classes=10, in_channels=1
    )


@pytest.fixture(scope="module")
def view() -> SearchView:
    return digits().search_view()


@pytest.fixture(scope="module")
def evaluator(space: Space, view: SearchView) -> Iterator[Evaluator]:
    with TrainingEvaluator(space, view, QUICK, workers=2) as evaluator:
        yield evaluator


class TestContract(EvaluatorContract):
    def test_quality_is_an_accuracy(self, evaluator: Evaluator, space: Space) -> None:
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


def test_a_time_budget_is_not_deterministic(space: Space, view: SearchView) -> None:
    with TrainingEvaluator(space, view, TrainingSettings(time_budget_s=5)) as evaluator:
        assert not evaluator.deterministic
