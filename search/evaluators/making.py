"""Evaluators by name, as a run's configuration has them.

imagenet-proxy    a fitted model of the accel-nasbench space
training          real training of each network; settings data, epochs, train_images, workers
csv:FILE          a column of a study, setting metric; with surrogate a model of it
module:function   the user's own
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from networks.spaces import AnySpace, DecodingSpace, find_space
from search.config import RunConfig
from search.errors import EvaluatorError
from search.evaluators.csv_study import CsvEvaluator
from search.evaluators.evaluator import Evaluator
from search.tabular import TabularStudy, read_study


def study_of(name: str, space: AnySpace) -> TabularStudy | None:
    """Return the study that an evaluator's name means, None if it is no CSV."""
    kind, _, file = name.partition(":")
    return read_study(Path(file), space) if kind == "csv" and file else None


@contextmanager
def make_evaluator(
    config: RunConfig, space: AnySpace, study: TabularStudy | None
) -> Iterator[Evaluator]:
    """Yield the evaluator of a run; its workers end with the context.

    Args:
        study: of ``csv:FILE``, see `study_of`.

    Raises:
        EvaluatorError: there is none of that name, or it does not fit the space.
        DatasetError, TrainingError, RunError: its images or settings cannot be.
    """
    name = config.evaluator
    if study is not None:
        metric = str(config.settings.get("metric", "accuracy"))
        yield CsvEvaluator(study, metric, surrogate=bool(config.settings.get("surrogate", False)))
    elif name == "imagenet-proxy":
        from search.evaluators.imagenet_proxy import ImageNetProxy

        yield ImageNetProxy(space)
    elif name == "training":
        with _training(config) as evaluator:
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
def _training(config: RunConfig) -> Iterator[Evaluator]:
    """Yield the evaluator that trains the space's networks, made again for the task's images."""
    from search.proxy_task import DEFAULTS, load_task, training_evaluator

    settings = config.settings
    data = load_task(settings)
    space = find_space(
        config.space,
        resolution=int(settings.get("task_resolution", DEFAULTS["task_resolution"])),
        width=float(settings.get("width", 1.0)),
        classes=len(data.classes),
        in_channels=data.channels,
    )
    if not isinstance(space, DecodingSpace):
        raise EvaluatorError(f"{space.name} has decisions and no networks to train")
    under_way = config.batch * config.lookahead
    with training_evaluator(space, data.search_view(), settings, under_way=under_way) as evaluator:
        yield evaluator
