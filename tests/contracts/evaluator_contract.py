"""What every evaluator promises, as tests to inherit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from networks.spaces.space import Genotypes, Space
from search.evaluators.evaluator import Evaluation, Evaluator, FailedEvaluation


def outcome(result: Evaluation | FailedEvaluation) -> float | str:
    """Return what must repeat of a result: its quality or its reason."""
    return result.quality if isinstance(result, Evaluation) else result.reason


class EvaluatorContract:
    """Supply the fixtures ``evaluator`` and ``space``."""

    rows = 3

    @pytest.fixture
    def genotypes(self, space: Space) -> Genotypes:
        return space.sample(self.rows, np.random.default_rng(0))

    def test_one_result_a_row(self, evaluator: Evaluator, genotypes: Genotypes) -> None:
        results = list(evaluator.evaluate(genotypes, np.arange(self.rows)))
        assert len(results) == self.rows
        for result in results:
            if isinstance(result, Evaluation):
                assert math.isfinite(result.quality)
                assert result.seconds >= 0
            else:
                assert result.reason

    def test_no_rows_no_results(self, evaluator: Evaluator, genotypes: Genotypes) -> None:
        assert list(evaluator.evaluate(genotypes[:0], np.arange(0))) == []

    def test_deterministic_rows_do_not_depend_on_their_batch(
        self, evaluator: Evaluator, genotypes: Genotypes
    ) -> None:
        if not evaluator.deterministic:
            pytest.skip("not deterministic")
        seeds = np.arange(self.rows)
        whole = [outcome(r) for r in evaluator.evaluate(genotypes, seeds)]
        alone = [outcome(r) for r in evaluator.evaluate(genotypes[-1:], seeds[-1:])]
        reversed_ = [outcome(r) for r in evaluator.evaluate(genotypes[::-1], seeds[::-1])]
        assert alone == whole[-1:]
        assert reversed_ == whole[::-1]

    def test_has_a_name_of_one_line(self, evaluator: Evaluator) -> None:
        assert evaluator.name
        assert "\n" not in evaluator.name
