"""Training plan: the same number of steps for every candidate, as many as a time allows.

A time budget for each training alone would give a fast network more steps than a slow one, and a
busy minute of the machine a lower accuracy. Here a few steps of every candidate are timed first,
then all get equal epochs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from networks.network import Network
from search.datasets import Split
from search.errors import TrainingError
from search.training import TrainingSettings, train

PROBE_STEPS = 5
FORWARD_SHARE = 1 / 3
"""Of a training step's time: what classifying as many images takes."""


def affordable(
    candidates: Iterable[Network],
    data: Split,
    settings: TrainingSettings,
    *,
    seeds: int,
    workers: int,
    evaluation_images: int,
    budget_s: float,
) -> TrainingSettings:
    """Return ``settings`` with no more epochs than let all trainings end within ``budget_s``.

    Args:
        candidates: each is timed for a few steps in this process.
        evaluation_images: how many images each trained network classifies afterwards.
        budget_s: wall time of all trainings of all seeds together.

    Raises:
        TrainingError: the budget does not allow ten steps a network (what would).
    """
    batch = min(settings.batch, len(data))
    probe_images = data.first(PROBE_STEPS * batch)
    probe = replace(settings, epochs=1.0, train_images=None, time_budget_s=None)
    step_s = [
        (trained := train(network, probe_images, probe, seed=0)).wall_s / len(trained.losses)
        for network in candidates
    ]
    running = min(workers, os.cpu_count() or 1, seeds * len(step_s))
    round_s = seeds * sum(step_s) / running
    evaluation_steps = FORWARD_SHARE * evaluation_images / batch
    steps = int(budget_s / round_s - evaluation_steps)
    if steps < 10:
        raise TrainingError(
            f"{budget_s:g} s allow {max(0, steps)} steps to each of {len(step_s)} networks and"
            f" {seeds} seeds; allow {(10 + evaluation_steps) * round_s:.0f} s or train fewer"
        )
    per_epoch = settings.steps(len(data)) / settings.epochs
    return replace(settings, epochs=min(settings.epochs, steps / per_epoch), time_budget_s=None)
