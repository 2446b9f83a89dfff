"""The ImageNet proxy: its contract, its exact form, and its sanity far from the data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from networks.spaces import make_space
from networks.spaces.space import Space
from search.errors import EvaluatorError
from search.evaluators.evaluator import Evaluator
from search.evaluators.imagenet_proxy import ImageNetProxy, ProxyModel, load_proxy
from tests.contracts.evaluator_contract import EvaluatorContract


@pytest.fixture(scope="module")
def space() -> Space:
    return make_space("accel-nasbench")


@pytest.fixture(scope="module")
def evaluator(space: Space) -> Evaluator:
    return ImageNetProxy(space)


class TestContract(EvaluatorContract):
    rows = 50


def test_vectorized_equals_the_loop_over_terms(space: Space) -> None:
    content = load_proxy()
    model = ProxyModel.from_dict(content)
    genotypes = space.sample(20, np.random.default_rng(1))
    columns = {decision.name: i for i, decision in enumerate(space.decisions)}

    def reached(genotype: np.ndarray, step: str) -> bool:
        name, value = step.split(">=")
        column = columns[name]
        option = space.decisions[column].options[genotype[column]]
        return float(option) >= float(value)

    for genotype, quality in zip(genotypes, ImageNetProxy(space).qualities(genotypes), strict=True):
        total = model.intercept
        for numbers, coefficient in model.terms:
            if all(reached(genotype, model.steps[number]) for number in numbers):
                total += coefficient
        assert quality * 100 == pytest.approx(model.ceiling - math.exp(total))


def load_range() -> tuple[float, float]:
    found = load_proxy()["fitted_range_percent"]
    assert isinstance(found, list)
    return float(found[0]), float(found[1])


def test_stays_near_the_range_of_the_data(space: Space) -> None:
    genotypes = space.sample(100_000, np.random.default_rng(2))
    percent = ImageNetProxy(space).qualities(genotypes) * 100
    lowest, highest = load_range()
    assert percent.min() > lowest - 5
    assert percent.max() < highest + 5


def test_more_layers_in_the_last_stages_help_on_average(space: Space) -> None:
    proxy = ImageNetProxy(space)
    genotypes = space.sample(2_000, np.random.default_rng(3))
    for column, decision in enumerate(space.decisions):
        fewest, most = genotypes.copy(), genotypes.copy()
        fewest[:, column], most[:, column] = 0, len(decision.options) - 1
        if decision.name.split(".")[1] in ("layers", "expansion"):
            assert proxy.qualities(most).mean() > proxy.qualities(fewest).mean()


def test_the_file_states_its_source_licence_and_held_out_rank_correlation() -> None:
    content = load_proxy()
    held_out = content["held_out"]
    assert isinstance(held_out, dict)
    assert content["source_licence"] == "Apache-2.0"
    assert "Accel-NASBench" in str(content["source"])
    assert held_out["kendall"] > held_out["kendall_of_madds"]


def test_another_space_is_refused_by_name() -> None:
    with pytest.raises(EvaluatorError, match=r"mnasnet.* has no decision block0\.expansion"):
        ImageNetProxy(make_space("mnasnet"))
