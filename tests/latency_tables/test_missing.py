from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latency_tables.errors import MissingLayers, TableError
from latency_tables.missing import complete, interpolate, predicted_layers, prior_ms
from latency_tables.on_demand import OnDemand
from latency_tables.predictor import compile_predictor
from latency_tables.table import LatencyTable, Row
from networks.layers import Layer
from networks.spaces import make_space
from tests.latency_tables.pretended import LAYERS, SCALE, measured, pretended_ms, table_of

LATENCY_MS = pretended_ms(1)
EVEN = np.arange(0, len(LAYERS), 2)
ALL = np.arange(len(LAYERS))


def test_missing_layers_are_an_error_unless_asked_for_otherwise() -> None:
    table = table_of(LATENCY_MS, EVEN)
    with pytest.raises(MissingLayers, match="nearest are"):
        complete(table, LAYERS)
    whole = complete(table, [LAYERS[row] for row in EVEN])
    assert whole.table is table
    assert (whole.share, whole.predicted, whole.measured) == (0.0, (), ())
    with pytest.raises(TableError, match="raise, interpolate, measure, found 'guess'"):
        complete(table, LAYERS, policy="guess")  # type: ignore[arg-type]


def test_predicted_rows_are_flagged_with_an_interval() -> None:
    table = table_of(LATENCY_MS, EVEN)
    done = complete(table, LAYERS, policy="interpolate")
    odd = {LAYERS[row].key for row in range(1, len(LAYERS), 2)}
    assert set(done.predicted) == odd
    assert done.share == pytest.approx(len(odd) / len(LAYERS))
    assert "are predicted" in str(done)
    inside = []
    for layer, latency_ms in zip(LAYERS, LATENCY_MS, strict=True):
        row = done.table.row(layer.key)
        if layer.key not in odd:
            assert row == table.row(layer.key)
            continue
        assert (row.status, row.visits, row.sha256) == ("predicted", 0, "")
        assert "predicted from" in row.reason
        assert row.low_ms is not None
        assert row.high_ms is not None
        inside.append(row.low_ms <= latency_ms <= row.high_ms)
    assert np.mean(inside) > 0.8
    assert done.table.to_bytes()  # a table as any other
    assert complete(done.table, LAYERS).predicted == done.predicted


def test_a_measurement_replaces_a_prediction() -> None:
    done = interpolate(table_of(LATENCY_MS, EVEN), LAYERS)
    both = done.extend(table_of(LATENCY_MS, ALL))
    assert predicted_layers(both, [layer.key for layer in LAYERS]) == ()


def test_a_prediction_does_not_rest_on_predictions() -> None:
    table = table_of(LATENCY_MS, EVEN)
    once = interpolate(table, LAYERS[:60])
    twice, direct = interpolate(once, LAYERS), interpolate(table, LAYERS)
    last = LAYERS[-2].key
    assert twice.row(last).hot_ms == pytest.approx(direct.row(last).hot_ms, rel=0.05)
    assert twice.row(last).reason.split("from ")[1] == direct.row(last).reason.split("from ")[1]


def test_what_the_device_refused_is_not_made_up() -> None:
    refused = LAYERS[1].key
    table = replace(table_of(LATENCY_MS, EVEN), invalid={refused: "rejected: too large"})
    assert refused not in interpolate(table, LAYERS)
    with pytest.raises(MissingLayers):
        complete(table, LAYERS, policy="interpolate")


def test_too_few_rows_predict_nothing() -> None:
    with pytest.raises(TableError, match=r"expected 8 measured layers or more .* found 3"):
        interpolate(table_of(LATENCY_MS, EVEN[:3]), LAYERS)


def test_a_prior_may_lack_layers_but_not_all() -> None:
    prior = table_of(pretended_ms(2), EVEN, "prior")
    filled = prior_ms(prior, LAYERS)
    np.testing.assert_array_equal(filled[EVEN], pretended_ms(2)[EVEN])
    assert np.isfinite(filled).all()
    helped = interpolate(table_of(LATENCY_MS, EVEN[:20]), LAYERS, priors=[prior])
    assert "1 tables of other conditions" in helped.row(LAYERS[-1].key).reason
    other = make_space("mnasnet", resolution=224).layers[:5]
    with pytest.raises(TableError, match="'prior': expected rows of some of the 5 layers"):
        prior_ms(prior, other)


def asking(answers: LatencyTable, base: LatencyTable, asked: list[Layer]) -> object:
    """Return what pretends to measure, and notes what it was asked for."""

    def measure(layers: list[Layer]) -> LatencyTable:
        asked.extend(layers)
        rows: list[Row] = [answers.row(layer.key) for layer in asked]
        made = LatencyTable.from_rows("m", base.condition, rows, provenance=base.provenance)
        return base.extend(made)

    return measure


def test_the_device_is_asked_for_what_is_missing_and_for_what_was_predicted() -> None:
    table, whole = table_of(LATENCY_MS, EVEN), table_of(LATENCY_MS, ALL)
    asked: list[Layer] = []
    measure = asking(whole, table, asked)
    done = complete(interpolate(table, LAYERS), LAYERS, policy="measure", measure=measure)  # type: ignore[arg-type]
    assert {layer.key for layer in asked} == set(done.measured)
    assert len(asked) == len(LAYERS) - len(EVEN)
    assert done.predicted == ()
    again = complete(whole, LAYERS, policy="measure")
    assert again.measured == ()
    with pytest.raises(TableError, match="expected a device to measure"):
        complete(table, LAYERS, policy="measure")


def test_a_search_asks_only_for_layers_that_come_up() -> None:
    space = make_space("accel-nasbench", resolution=32)
    rng = np.random.default_rng(3)
    rows = [
        Row(layer.key, float(ms), None, 6, "ok", 0.0, 1.0, "")
        for layer, ms in zip(space.layers, rng.uniform(0.1, 0.2, len(space.layers)), strict=True)
    ]
    example = table_of(LATENCY_MS, EVEN)
    networks = [space.decode(row) for row in space.sample(6, rng)]
    whole = LatencyTable.from_rows(
        "w", example.condition, rows, provenance=example.provenance,
        networks=[
            measured(net, SCALE * sum({r.layer: r.hot_ms for r in rows}[x.key] for x in net.layers))
            for net in networks
        ],
    )  # fmt: skip
    from latency_tables.calibration import calibrate

    whole = calibrate(whole)
    known = {layer.key for network in networks for layer in network.layers}
    part = calibrate(
        replace(whole, rows=LatencyTable.from_rows(
            "w", whole.condition, [r for r in rows if r.layer in known],
            provenance=whole.provenance,
        ).rows)
    )  # fmt: skip
    asked: list[Layer] = []
    latency = OnDemand(part, space, asking(whole, part, asked))  # type: ignore[arg-type]
    genotypes = space.sample(3, rng)
    np.testing.assert_allclose(
        latency.predict(genotypes), compile_predictor(whole, space).predict(genotypes), rtol=1e-6
    )
    used = {layer.key for row in genotypes for layer in space.decode(row).layers}
    assert {layer.key for layer in asked} == used - known
    assert latency.asked == len(asked)
    latency.predict(genotypes)
    assert latency.asked == len(asked)
