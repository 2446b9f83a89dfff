"""A user's function as an evaluator: both signatures, and every way it can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from networks.network import Network
from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision, Genotypes, Space
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluation, Evaluator, FailedEvaluation
from search.evaluators.function import FunctionEvaluator, load_function
from tests.contracts.evaluator_contract import EvaluatorContract
from tests.search.spaces import ConvSpace

SEEDS = np.arange(2)
GENOTYPES = np.array([[0, 1], [2, 3]], dtype=np.int8)


def total(genotype: Genotypes) -> float:
    return float(genotype.sum())


def totals(genotypes: Genotypes) -> list[float]:
    return [float(total) for total in genotypes.sum(axis=1)]


@pytest.fixture
def space() -> Space:
    return ConvSpace(3, 4, 3)


class TestOne(EvaluatorContract):
    @pytest.fixture
    def evaluator(self) -> Evaluator:
        return FunctionEvaluator(total, "test:total")


class TestBatch(EvaluatorContract):
    @pytest.fixture
    def evaluator(self) -> Evaluator:
        return FunctionEvaluator(totals, "test:totals")


@pytest.mark.parametrize("function", [total, totals])
def test_qualities_come_in_order(function: object) -> None:
    assert callable(function)
    results = FunctionEvaluator(function, "f").evaluate(GENOTYPES, SEEDS)
    assert [r.quality for r in results if isinstance(r, Evaluation)] == [1.0, 5.0]


def test_what_it_raises_is_the_reason() -> None:
    def fails_on_second(genotype: Genotypes) -> float:
        return 1.0 / float(genotype[0] - 2)

    first, second = FunctionEvaluator(fails_on_second, "f").evaluate(GENOTYPES, SEEDS)
    assert isinstance(first, Evaluation)
    assert second == FailedEvaluation("f raised ZeroDivisionError: float division by zero")


def test_nan_is_a_failure_not_a_quality() -> None:
    def absent(genotype: Genotypes) -> float:
        return float("nan")

    results = FunctionEvaluator(absent, "f").evaluate(GENOTYPES, SEEDS)
    assert list(results) == [FailedEvaluation("f returned nan")] * 2


def test_a_batch_of_another_length_is_refused() -> None:
    def one(genotypes: Genotypes) -> list[float]:
        return [1.0]

    with pytest.raises(EvaluatorError, match=r"2 genotypes and returned shape \(1,\)"):
        FunctionEvaluator(one, "f").evaluate(GENOTYPES, SEEDS)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nothing", "an evaluator is module:function, found 'nothing'"),
        ("no_such_module_here:f", "cannot import 'no_such_module_here'.*ModuleNotFoundError"),
        ("broken_evaluator:f", "cannot import 'broken_evaluator'.*SyntaxError"),
        ("good_evaluator:missing", "has no function 'missing'; it has score"),
    ],
)
def test_a_wrong_reference_is_one_line(
    reference: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_evaluator.py").write_text("def f(:\n")
    (tmp_path / "good_evaluator.py").write_text("def score(genotype): return 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EvaluatorError, match=message) as caught:
        load_function(reference)
    assert "\n" not in str(caught.value)


def test_a_reference_is_loaded_and_is_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_evaluator.py").write_text("def score(genotype): return genotype[0] / 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    evaluator = load_function("my_evaluator:score")
    assert evaluator.name == "my_evaluator:score"
    results = evaluator.evaluate(GENOTYPES, SEEDS)
    assert [r.quality for r in results if isinstance(r, Evaluation)] == [0.0, 1.0]


def test_a_function_of_networks_gets_them_decoded(space: Space) -> None:
    def params(network: Network) -> float:
        return float(network.params)

    rows = space.sample(5, np.random.default_rng(0))
    results = FunctionEvaluator(params, "f", space=space).evaluate(rows, np.arange(5))
    assert isinstance(space, ConvSpace)
    assert [r.quality for r in results if isinstance(r, Evaluation)] == [
        space.decode(row).params for row in rows
    ]


def test_a_function_of_networks_needs_a_space_that_has_some() -> None:
    table = DecisionSpace("table", [Decision("operator", ("conv", "pool"))])
    with pytest.raises(EvaluatorError, match="takes a network, but table has decisions alone"):
        FunctionEvaluator(lambda network: 1.0, "f", space=table)
    with pytest.raises(EvaluatorError, match="takes no argument"):
        FunctionEvaluator(lambda: 1.0, "f")


def test_each_result_is_there_before_the_next_is_evaluated() -> None:
    called: list[int] = []

    def total(genotype: Genotypes) -> float:
        called.append(int(genotype.sum()))
        return 0.0

    results = iter(FunctionEvaluator(total, "f").evaluate(GENOTYPES, SEEDS))
    next(results)
    assert called == [1]
