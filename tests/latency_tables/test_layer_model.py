from __future__ import annotations

import numpy as np
import pytest

from latency_tables.conformal import expected_errors, interval_reach, size_classes
from latency_tables.layer_model import LayerModel, fit_layers, operator_costs
from tests.latency_tables.pretended import FEATURES, LAYERS, Floats, pretended_ms

ROWS = np.random.default_rng(5).permutation(len(LAYERS))[:70]
OTHERS = np.setdiff1d(np.arange(len(LAYERS)), ROWS)


def error_pct(model: LayerModel, latency_ms: Floats) -> float:
    relative = np.exp(model.mean[OTHERS]) / latency_ms[OTHERS] - 1
    return 100 * float(np.abs(relative).mean())


def test_layers_that_were_not_measured_are_predicted() -> None:
    latency_ms = pretended_ms(1)
    model = fit_layers(FEATURES, ROWS, latency_ms[ROWS])
    assert error_pct(model, latency_ms) < 4
    again = fit_layers(FEATURES, ROWS, latency_ms[ROWS])
    np.testing.assert_array_equal(model.mean, again.mean)
    spread = np.abs(np.log(np.median(latency_ms[ROWS]) / latency_ms[OTHERS])).mean()
    assert spread > 0.5  # as far off as one number for all would be


def test_another_device_helps_where_little_is_measured() -> None:
    latency_ms = pretended_ms(1)
    few = ROWS[:8]
    alone = fit_layers(FEATURES, few, latency_ms[few])
    helped = fit_layers(FEATURES, few, latency_ms[few], [1.5 * pretended_ms(1, noise=0.02)])
    assert error_pct(helped, latency_ms) < error_pct(alone, latency_ms)


def test_units_of_priors_do_not_matter() -> None:
    latency_ms, prior_ms = pretended_ms(1), pretended_ms(2)
    first, second = (
        fit_layers(FEATURES, ROWS, latency_ms[ROWS], [unit * prior_ms]) for unit in (1.0, 1000.0)
    )
    np.testing.assert_allclose(first.mean, second.mean, atol=1e-4)


def test_nothing_measured_is_a_prior_and_knows_it() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    before = fit_layers(FEATURES, nothing, np.zeros(0))
    after = fit_layers(FEATURES, ROWS, pretended_ms(1)[ROWS])
    assert before.std.min() > after.std.max()
    assert interval_reach(before) == pytest.approx(1.645 * before.std, rel=0.3)
    assert (expected_errors(before) > expected_errors(after)).all()


def test_costs_are_those_of_a_device_that_has_them() -> None:
    latency_ms = pretended_ms(3, noise=1e-9)
    costs = operator_costs(FEATURES, np.arange(len(LAYERS)), latency_ms)
    np.testing.assert_allclose(FEATURES.counts @ costs, latency_ms, rtol=0.10)
    assert (costs > 0).all()


def test_intervals_hold_in_each_size_class() -> None:
    inside, classes = [], []
    for seed in range(6):
        latency_ms = pretended_ms(seed, noise=0.03)
        model = fit_layers(FEATURES, ROWS, latency_ms[ROWS])
        far = np.abs(np.log(latency_ms) - model.mean)[OTHERS]
        inside.append(far <= interval_reach(model)[OTHERS])
        classes.append(size_classes(latency_ms)[OTHERS])
    held, size = np.concatenate(inside), np.concatenate(classes)
    for each in range(3):
        assert 0.83 < held[size == each].mean() < 0.98


def test_intervals_follow_errors_that_the_model_does_not_expect() -> None:
    model = fit_layers(FEATURES, ROWS, pretended_ms(1)[ROWS])
    worse = LayerModel(
        model.rows, model.mean, model.covariance, model.noise, 3 * model.held_out,
        model.held_out_std,
    )  # fmt: skip
    assert (interval_reach(worse) > interval_reach(model)).all()
    np.testing.assert_allclose(expected_errors(worse), 3 * expected_errors(model))
