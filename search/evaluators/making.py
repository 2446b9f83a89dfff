"""Evaluators by name, as a run's configuration has them.

imagenet-proxy    a fitted model of the accel-nasbench space
training          real training of each network; settings data, epochs, train_images, workers
csv:FILE          a column of a study, setting metric; with surrogate a model of it
module:function   the user's own
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from networks.spaces import AnySpace, find_space
from networks.spaces.chain import ChainSpace
from search.config import Scalar
from search.errors import EvaluatorError
from search.evaluators.csv_study import CsvEvaluator
from search.evaluators.evaluator import Evaluator
from search.tabular import TabularStudy, read_study

TASK_RESOLUTION = 32


def study_of(name: str, space: AnySpace) -> TabularStudy | None:
    """Return the study that an evaluator's name means, None if it is no CSV."""
    kind, _, file = name.partition(":")
    return read_study(Path(file), space) if kind == "csv" and file else None


@contextmanager
def make_evaluator(
    name: str,
    space: AnySpace,
    settings: Mapping[str, Scalar],
    study: TabularStudy | None,
    *,
    space_name: str,
) -> Iterator[Evaluator]:
    """Yield the evaluator; its workers end with the context.

    Args:
        study: of ``csv:FILE``, see `study_of`.
        space_name: of the space, to make it again for the images that are trained on.

    Raises:
        EvaluatorError: there is none of that name, or it does not fit the space.
    """
    if study is not None:
        metric = str(settings.get("metric", "accuracy"))
        yield CsvEvaluator(study, metric, surrogate=bool(settings.get("surrogate", False)))
    elif name == "imagenet-proxy":
        from search.evaluators.imagenet_proxy import ImageNetProxy

        yield ImageNetProxy(space)
    elif name == "training":
        with _training(space_name, settings) as evaluator:
            yield evaluator
    elif ":" in name:
        from search.evaluators.function import load_function

        yield load_function(name, space)
    else:
        raise EvaluatorError(
            f"no evaluator is named {name!r}; there are imagenet-proxy, training, csv:FILE, and"
            " module:function for your own"
        )


@contextmanager
def _training(space_name: str, settings: Mapping[str, Scalar]) -> Iterator[Evaluator]:
    from search.datasets import load_dataset
    from search.evaluators.training import TrainingEvaluator
    from search.training import TrainingSettings

    data = load_dataset(str(settings.get("data", "auto")), resolution=TASK_RESOLUTION)
    task_space = find_space(
        space_name,
        resolution=TASK_RESOLUTION,
        width=float(settings.get("width", 1.0)),
        classes=len(data.classes),
        in_channels=1,
    )
    if not isinstance(task_space, ChainSpace):
        raise EvaluatorError(f"{space_name} has no chains of layers to train")
    training = TrainingSettings(
        epochs=float(settings.get("epochs", 1.0)),
        train_images=int(settings.get("train_images", 10_000)),
    )
    workers = int(settings.get("workers", 2))
    with TrainingEvaluator(task_space, data.search_view(), training, workers=workers) as evaluator:
        yield evaluator
