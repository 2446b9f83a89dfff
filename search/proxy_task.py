"""Proxy task: what a run's settings say of data and training, as the parts that they mean.

data              auto                 see `search.data_sources`
task_resolution   32                   pixels a side of the images that are trained on
split             random               or temporal, group
split_seed        0                    of the split, the same for all runs that are compared
validation_share  0.1                  of the images that are not test
test_share        0.2                  where the publisher sets no test images apart
epochs            1.0
train_images      10000                a whole number of images, or a share below 1
metric            accuracy             or balanced-accuracy, recall:CLASS
class_weights     (none)               balanced, or numbers, see `search.class_weights`
stop_hopeless     0.0                  quantile of `search.stopping`; 0: train all to the end
drop_path_keep    1.0                  of networks of cells
workers           2
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from search.class_weights import parse_class_weights
from search.data_sources import Progress
from search.datasets import Dataset, SearchView, load_dataset
from search.errors import RunError
from search.evaluators.training import SPLITS_FILE, TrainableSpace, TrainingEvaluator
from search.splits import Kind, SplitRule
from search.stopping import MedianStop
from search.training import TrainingSettings

Scalar = str | int | float | bool
DEFAULTS: Mapping[str, Scalar] = {
    "data": "auto",
    "task_resolution": 32,
    "split": "random",
    "split_seed": 0,
    "validation_share": 0.1,
    "test_share": 0.2,
    "epochs": 1.0,
    "train_images": 10_000,
    "metric": "accuracy",
    "class_weights": "",
    "stop_hopeless": 0.0,
    "drop_path_keep": 1.0,
    "workers": 2,
}


def load_task(
    settings: Mapping[str, Scalar], *, run: Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Return the images that a run's settings name, in the splits that it keeps, if it does.

    Args:
        run: the directory of a run that goes on.
        progress: see `load_dataset`.

    Raises:
        RunError: a setting is of another type.
        DatasetError, MissingExtra, StoreError: see `load_dataset`.
    """
    return load_dataset(
        _text(settings, "data"),
        resolution=_whole(settings, "task_resolution"),
        rule=SplitRule(
            cast(Kind, _text(settings, "split")),
            _whole(settings, "split_seed"),
            _number(settings, "validation_share"),
            _number(settings, "test_share"),
        ),
        kept=None if run is None else run / SPLITS_FILE,
        progress=progress,
    )


def training_settings(settings: Mapping[str, Scalar], data: SearchView) -> TrainingSettings:
    """Return how a run trains each network.

    Raises:
        RunError: a setting is of another type.
        TrainingError: it cannot be trained so.
    """
    images = _number(settings, "train_images")
    weights = _text(settings, "class_weights")
    used = round(images * len(data.train)) if images < 1 else int(images)
    return TrainingSettings(
        epochs=_number(settings, "epochs"),
        train_images=used,
        class_weights=parse_class_weights(weights, data.classes, data.train.first(used).labels)
        if weights
        else None,
        drop_path_keep=_number(settings, "drop_path_keep"),
    )


def training_evaluator(
    space: TrainableSpace,
    data: SearchView,
    settings: Mapping[str, Scalar],
    *,
    under_way: int,
    progress: Callable[[int, float], None] | None = None,
) -> TrainingEvaluator:
    """Return the evaluator of a run; close it.

    Args:
        space: at the task's resolution, with the channels and classes of the data.
        under_way: batch x lookahead of the run.

    Raises:
        RunError, TrainingError: see `training_settings`.
        EvaluatorError: see `TrainingEvaluator` and `MedianStop`.
    """
    quantile = _number(settings, "stop_hopeless")
    return TrainingEvaluator(
        space,
        data,
        training_settings(settings, data),
        workers=_whole(settings, "workers"),
        metric=_text(settings, "metric"),
        stop=MedianStop(quantile, under_way=under_way) if quantile else None,
        progress=progress,
    )


def _text(settings: Mapping[str, Scalar], name: str) -> str:
    value = settings.get(name, DEFAULTS[name])
    if not isinstance(value, str):
        raise RunError(f"{name} is text, found {value!r}")
    return value


def _number(settings: Mapping[str, Scalar], name: str) -> float:
    value = settings.get(name, DEFAULTS[name])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RunError(f"{name} is a number, found {value!r}")
    return float(value)


def _whole(settings: Mapping[str, Scalar], name: str) -> int:
    value = _number(settings, name)
    if value != int(value):
        raise RunError(f"{name} is a whole number, found {value:g}")
    return int(value)
