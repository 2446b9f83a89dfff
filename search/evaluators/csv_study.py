"""Evaluator and latency source of a CSV study: exact rows, or a surrogate fitted to them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from networks.spaces.space import Genotypes
from search.errors import StudyError
from search.evaluators.evaluator import Evaluation, FailedEvaluation
from search.latency import FailedLatency, Latency
from search.tabular import TabularStudy, fit_surrogate

_NO_ROW = "the file has no row of this network"


class _Column:
    """One column of a study, as it is or as a model of it."""

    def __init__(self, study: TabularStudy, column: str, *, surrogate: bool) -> None:
        self.study, self.column = study, column
        self.surrogate = fit_surrogate(study, column) if surrogate else None
        how = f",{self.surrogate.kind}" if self.surrogate else ""
        self.name = f"csv:{column}{how}:{study.sha256[:12]}"
        study.column(column)

    @property
    def note(self) -> str | None:
        """How far to trust it, in words; None of exact rows."""
        if self.surrogate is None:
            return None
        return (
            f"{self.column} is a {self.surrogate.kind} model of {len(self.study.genotypes)} rows,"
            f" whose cross-validated Kendall rank correlation is {self.surrogate.kendall:.3f}"
        )

    def values(self, genotypes: Genotypes) -> list[float | None]:
        """Return one number a row, None where there is none."""
        if self.surrogate is None:
            return self.study.look_up(self.column, genotypes)
        found: list[float | None] = self.surrogate.predict(genotypes).tolist()
        return found


class CsvEvaluator(_Column):
    """Qualities from a column of a study; a network without a row is a failed evaluation."""

    deterministic = True

    def evaluate(
        self, genotypes: Genotypes, seeds: npt.NDArray[np.int64]
    ) -> Iterator[Evaluation | FailedEvaluation]:
        """Yield one result a row; seeds change nothing."""
        for value in self.values(genotypes) if len(genotypes) else ():
            yield FailedEvaluation(_NO_ROW) if value is None else Evaluation(value, 0.0)


class CsvLatency(_Column):
    """Latencies from a column of a study.

    Raises:
        StudyError: a latency in the file is not above 0.
    """

    is_measured = False

    def __init__(self, study: TabularStudy, column: str, *, surrogate: bool) -> None:
        super().__init__(study, column, surrogate=surrogate)
        if (lowest := float(study.column(column).min())) <= 0:
            raise StudyError(f"{study.path}: {column} is above 0, found {lowest:g}")
        self.fastest_ms = lowest

    def latencies(self, genotypes: Genotypes) -> Iterator[Latency | FailedLatency]:
        """Yield one latency a row."""
        for value in self.values(genotypes):
            if value is None:
                yield FailedLatency(_NO_ROW)
            elif value <= 0:
                yield FailedLatency(f"the surrogate predicts {value:g} ms")
            else:
                yield Latency(value)
