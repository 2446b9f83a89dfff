"""Evaluator: the seam between a search and whatever knows how good a network is.

An evaluation that fails is a value of its own with its reason, never a quality of 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The quality of one network, such as accuracy in [0, 1], and the seconds it took.

    ``metrics`` are other figures of it, by name.
    """

    quality: float
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.quality):
            raise ValueError(f"quality is a finite number, found {self.quality}")


@dataclass(frozen=True, slots=True)
class FailedEvaluation:
    """An evaluation that gave no quality: what happened, in one line."""

    reason: str


class Evaluator(Protocol):
    """Qualities of networks, a batch at a time."""

    @property
    def name(self) -> str:
        """The name with its parameters, for the run's record."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether one genotype and seed always give one quality."""
        ...

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Iterable[Evaluation | FailedEvaluation]:
        """Return one result a row, in order; a run stores those that come late one by one.

        Args:
            genotypes: shape ``(n, n_decisions)``.
            seeds: non-negative integers, shape ``(n,)``; training uses them.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One network to evaluate: its genotype, its seed, and a number that names it."""

    number: int
    genotype: Genotypes
    seed: int


@runtime_checkable
class StreamingEvaluator(Protocol):
    """An evaluator whose workers need not wait for the slowest network of a batch."""

    def stream(
        self, jobs: Iterator[Job | None]
    ) -> Iterator[tuple[int, Evaluation | FailedEvaluation]]:
        """Yield the number and result of each job, in any order.

        A job is taken when a worker is free for it. None in its place says that the next job needs
        results that are under way: yield one before asking again.
        """
        ...


@runtime_checkable
class KeepsFiles(Protocol):
    """An evaluator that keeps files of its own in the directory of a run."""

    def attach(self, run: Path) -> None:
        """Take in what the directory holds of it; a run does this before its first evaluation.

        Raises:
            SearchError: the run began with other images, or cannot be read or written.
        """
        ...
