"""Settings of a proxy task: what they become, their defaults, and values that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.datasets import Dataset, Split
from search.errors import DatasetError, EvaluatorError, RunError, TrainingError
from search.proxy_task import DEFAULTS, Scalar, load_task, training_evaluator, training_settings
from tests.search.training_networks import WidthSpace

DIGITS: dict[str, Scalar] = {"data": "digits", "task_resolution": 8}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_task(DIGITS)


def test_the_defaults_are_a_short_training_on_part_of_the_images(data: Dataset) -> None:
    settings = training_settings({}, data.search_view())
    assert (settings.epochs, settings.train_images) == (1.0, DEFAULTS["train_images"])
    assert settings.class_weights is None
    assert settings.time_budget_s is None


def test_a_share_of_the_images_is_a_number_of_them(data: Dataset) -> None:
    settings = training_settings({"train_images": 0.5, "epochs": 3}, data.search_view())
    assert settings.train_images == round(len(data.train) / 2)
    assert settings.epochs == 3


def test_balanced_weights_are_those_of_the_images_that_train(data: Dataset) -> None:
    settings = training_settings(
        {"class_weights": "balanced", "train_images": 200}, data.search_view()
    )
    counts = np.bincount(data.train.first(200).labels)
    assert settings.class_weights is not None
    assert settings.class_weights * counts == pytest.approx(np.full(10, 20))


def test_all_settings_together_make_an_evaluator(data: Dataset) -> None:
    settings = {
        **DIGITS, "metric": "balanced-accuracy", "stop_hopeless": 0.4, "epochs": 2,
        "train_images": 100, "workers": 1,
    }  # fmt: skip
    view = data.search_view()
    with training_evaluator(WidthSpace(), view, settings, under_way=4) as evaluator:
        assert evaluator.name == (
            "training:digits@8,epochs=2,images=100,metric=balanced-accuracy,stop=0.4"
        )
        assert evaluator.deterministic


def test_a_run_that_goes_on_gets_the_splits_that_it_keeps(data: Dataset, tmp_path: Path) -> None:
    with training_evaluator(WidthSpace(), data.search_view(), {}, under_way=1) as evaluator:
        evaluator.attach(tmp_path)
        evaluator.attach(tmp_path)
    again = load_task(DIGITS, run=tmp_path)
    assert images_of(again.validation) == images_of(data.validation)
    with pytest.raises(DatasetError, match="expected its seed 0, found 1"):
        load_task({**DIGITS, "split_seed": 1}, run=tmp_path)


def images_of(split: Split) -> list[bytes]:
    return [image.tobytes() for image in split.images]


@pytest.mark.parametrize(
    ("settings", "error", "expected"),
    [
        ({"epochs": "two"}, RunError, "epochs is a number, found 'two'"),
        ({"train_images": True}, RunError, "train_images is a number, found True"),
        ({"workers": 1.5}, RunError, "workers is a whole number, found 1.5"),
        ({"metric": 1}, RunError, "metric is text, found 1"),
        ({"epochs": 0}, TrainingError, "greater than 0"),
        ({"workers": 0}, TrainingError, "at least one worker, found 0"),
        ({"stop_hopeless": 1.5}, EvaluatorError, "a quantile between 0 and 1"),
        ({"class_weights": "1,2"}, TrainingError, "expected 10 numbers"),
        ({"metric": "recall:ten"}, EvaluatorError, "no class is named 'ten'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(
    data: Dataset, settings: dict[str, Scalar], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected) as caught:
        training_evaluator(WidthSpace(), data.search_view(), settings, under_way=1)
    assert "\n" not in str(caught.value)


def test_a_split_of_another_kind_is_refused() -> None:
    with pytest.raises(DatasetError, match="random, temporal or group, found 'weekly'"):
        load_task({**DIGITS, "split": "weekly"})
