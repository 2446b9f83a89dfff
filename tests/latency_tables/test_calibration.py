from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.calibration import (
    SESSION_STD,
    _features,
    calibrate,
    calibrated_ms,
    choose_networks,
    fit_calibration,
    unpriced_networks,
)
from latency_tables.errors import InvalidRow, Uncalibrated
from latency_tables.table import LEAST_SHARE, Calibration, Floats, LatencyTable, MeasuredNetwork
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from networks.spaces.mnasnet import mnasnet
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

ROWS = {f"layer-{number:02d}": 0.006 * 1.35**number for number in range(16)}
TABLE = LatencyTable.from_rows(
    "t", CONDITION, [make_row(key, ms) for key, ms in ROWS.items()], provenance=PROVENANCE
)


def network_of(layers: list[str], latency_ms: float, label: str = "n") -> MeasuredNetwork:
    return MeasuredNetwork(label, tuple(layers), latency_ms, 1.0, 6, "ok", 1.0, "f" * 64)


def draw_networks(
    rng: np.random.Generator, n: int, *, scale: float, call_ms: float, noise: float
) -> list[MeasuredNetwork]:
    """Networks of 15 to 25 layers that take scale x sum of (row - call), and err by ``noise``."""
    found = []
    for _ in range(n):
        layers = rng.choice(list(ROWS), rng.integers(15, 26)).tolist()
        exact_ms = scale * sum(ROWS[layer] - call_ms for layer in layers)
        found.append(network_of(layers, exact_ms * math.exp(rng.normal(0, noise))))
    return found


@settings(deadline=None)
@given(
    st.floats(0.5, 2),
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), min_size=1, max_size=8),
)
def test_an_exact_factor_is_found(scale: float, networks: list[list[str]]) -> None:
    rows = [make_row(key, value) for key, value in (("a", 1.0), ("b", 0.3), ("c", 5.0))]
    table = LatencyTable.from_rows("t", CONDITION, rows, provenance=PROVENANCE)
    measured = [network_of(keys, scale * float(table.hot_ms(keys).sum())) for keys in networks]
    found = fit_calibration(table, measured)
    assert found is not None
    assert (found.kind, found.coefficients) == ("scale", ())
    assert found.scale == pytest.approx(scale)
    assert found.networks == len(networks)
    assert found.residual == (None if len(networks) == 1 else pytest.approx(0.0, abs=1e-9))
    assert found.scale_std == (None if len(networks) == 1 else pytest.approx(SESSION_STD))


def test_one_disturbed_network_does_not_move_the_scale() -> None:
    table = LatencyTable.from_rows("t", CONDITION, [make_row("a", 1.0)], provenance=PROVENANCE)
    networks = [network_of(["a"] * n, 1.1 * n) for n in range(3, 7)]
    found = fit_calibration(table, [*networks, network_of(["a"], 1.9), network_of(["?"], 9.0)])
    assert found is not None
    assert found.scale == pytest.approx(1.1)
    assert found.networks == 5
    assert fit_calibration(table, [network_of(["?"], 9.0)]) is None


def test_a_call_that_every_layer_pays_alone_is_found() -> None:
    networks = draw_networks(np.random.default_rng(1), 9, scale=1.05, call_ms=0.002, noise=0.001)
    found = fit_calibration(TABLE, networks)
    assert found is not None
    assert found.kind == "scale-and-call"
    assert found.coefficients[0] == pytest.approx(0.002, rel=0.2)
    assert found.scale == pytest.approx(1.05, rel=0.003)
    assert found.residual == pytest.approx(0.001, rel=0.6)
    shares = found.shares_ms(np.array(list(ROWS.values())))
    assert shares[0] == pytest.approx(1.05 * 0.004, rel=0.1)
    assert (shares > 0).all()


def test_a_part_of_what_is_cold_is_found() -> None:
    rng = np.random.default_rng(6)
    rows = [
        replace(make_row(key, ms), cold_ms=ms * (1 + rng.uniform(0.1, 1.2)))
        for key, ms in ROWS.items()
    ]
    table = LatencyTable.from_rows("t", CONDITION, rows, provenance=PROVENANCE)
    networks = []
    for _ in range(9):
        layers = rng.choice(list(ROWS), 20).tolist()
        hot_ms, cold_ms = table.hot_ms(layers), table.cold_ms(layers)
        latency_ms = float(1.02 * (hot_ms + 0.3 * (cold_ms - hot_ms)).sum())
        networks.append(network_of(layers, latency_ms * math.exp(rng.normal(0, 0.001))))
    found = fit_calibration(table, networks)
    assert found is not None
    assert found.kind == "scale-and-cold"
    assert found.coefficients[0] == pytest.approx(0.3, abs=0.03)
    assert found.scale == pytest.approx(1.02, rel=0.01)
    # a row without a cold sample has the usual excess
    hot_ms, cold_ms = np.array([1.0, 1.0]), np.array([1.5, np.nan])
    part, usual = found.coefficients
    assert found.shares_ms(hot_ms, cold_ms) == pytest.approx(
        found.scale * np.array([1 + part * 0.5, 1 + part * usual])
    )
    assert found.shares_ms(hot_ms) == pytest.approx(found.scale * (1 + part * usual))
    alone = fit_calibration(table, networks, scale_only=True)
    assert alone is not None
    assert alone.kind == "scale"


def test_without_cold_samples_there_is_no_such_term() -> None:
    rows = [replace(make_row(key, ms), cold_ms=None) for key, ms in ROWS.items()]
    table = LatencyTable.from_rows("t", CONDITION, rows, provenance=PROVENANCE)
    networks = draw_networks(np.random.default_rng(1), 9, scale=1.05, call_ms=0.002, noise=0.001)
    found = fit_calibration(table, networks)
    assert found is not None
    assert found.kind == "scale-and-call"


def test_without_a_call_a_scale_alone_is_kept_as_a_rule() -> None:
    rng = np.random.default_rng(2)
    kinds = [
        fit.kind
        for _ in range(120)
        if (fit := fit_calibration(TABLE, draw_networks(rng, 9, scale=1, call_ms=0, noise=0.01)))
    ]
    assert len(kinds) == 120
    assert kinds.count("scale") / 120 > 0.75


def test_few_networks_give_no_call() -> None:
    networks = draw_networks(np.random.default_rng(3), 5, scale=1.0, call_ms=0.004, noise=0.0)
    found = fit_calibration(TABLE, networks)
    assert found is not None
    assert found.kind == "scale"


@pytest.mark.parametrize("n", [9, 30])
def test_the_scale_errs_as_it_says(n: int) -> None:
    rng = np.random.default_rng(4)
    errors, said = [], []
    for _ in range(200):
        layers = ["layer-15"] * 20  # of one size: there is no telling a call
        networks = [network_of(layers, math.exp(rng.normal(0, 0.02))) for _ in range(n)]
        found = fit_calibration(TABLE, networks)
        assert found is not None
        assert found.scale_std is not None
        assert found.kind == "scale"
        errors.append(math.log(found.scale * 20 * ROWS["layer-15"]))
        said.append(found.scale_std**2 - SESSION_STD**2)
    assert np.std(errors) == pytest.approx(math.sqrt(np.mean(said)), rel=0.15)


@given(st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=9), st.floats(0.5, 2), st.floats(0, 0.1))
def test_shares_are_positive_and_grow_with_their_row(
    rows: list[float], scale: float, call_ms: float
) -> None:
    rows_ms: Floats = np.sort(rows)
    calibration = Calibration(scale, None, 1, None, "scale-and-call", (call_ms,))
    shares = calibration.shares_ms(rows_ms)
    assert (shares >= scale * LEAST_SHARE * rows_ms * (1 - 1e-12)).all()
    assert (np.diff(shares) >= 0).all()
    assert np.isnan(calibration.shares_ms(np.array([np.nan]))).all()
    cold = Calibration(scale, None, 1, None, "scale-and-cold", (0.5, 0.2))
    assert np.isnan(cold.shares_ms(np.array([np.nan]), np.array([np.nan]))).all()
    assert (cold.shares_ms(rows_ms, rows_ms / 2) >= scale * rows_ms * (1 - 1e-12)).all()
    assert Calibration(scale, None, 1).shares_ms(rows_ms) == pytest.approx(scale * rows_ms)


def test_a_calibration_that_cannot_be_is_refused() -> None:
    for kind, coefficients in (
        ("scale", (1.0,)),
        ("scale-and-call", ()),
        ("scale-and-cold", (0.1,)),
        ("other", ()),
    ):
        with pytest.raises(InvalidRow, match="known kind"):
            Calibration(1.0, None, 1, None, kind, coefficients)  # type: ignore[arg-type]
    with pytest.raises(InvalidRow, match="known kind"):
        Calibration(1.0, None, 1, None, "scale-and-call", (math.nan,))


def test_a_table_keeps_its_calibration(tmp_path: Path) -> None:
    networks = draw_networks(np.random.default_rng(1), 9, scale=1.05, call_ms=0.002, noise=0.001)
    table = calibrate(replace(TABLE, networks=tuple(networks)))
    assert table.calibration is not None
    assert table.calibration.kind == "scale-and-call"
    assert LatencyTable.from_bytes(table.to_bytes(), tmp_path).calibration == table.calibration


def test_networks_that_cannot_be_priced_are_named() -> None:
    space = make_space("accel-nasbench", resolution=32)
    layers = space.layers[:2]
    rows = [make_row(layer.key, 1.0) for layer in layers]
    keys = [layer.key for layer in space.layers[:4]]
    networks = [network_of(keys, 9.0, "lost"), network_of(keys[:2], 2.2, "kept")]
    table = LatencyTable.from_rows("t", CONDITION, rows, provenance=PROVENANCE, networks=networks)
    assert unpriced_networks(table) == {"lost": f"the table has no layer {keys[2]} and 1 more"}
    kept = calibrate(table)
    assert kept.calibration is not None
    assert kept.calibration.networks == 1
    assert calibrated_ms(kept, layers) == pytest.approx([1.1, 1.1])
    lost = calibrate(replace(table, networks=(networks[0],)))
    with pytest.raises(Uncalibrated, match=r"none of its 1 calibration networks \(lost: the"):
        calibrated_ms(lost, layers)
    with pytest.raises(Uncalibrated, match="has no calibration network yet"):
        calibrated_ms(replace(lost, networks=()), layers)


@pytest.mark.parametrize("space", [mnasnet(), make_space("accel-nasbench", resolution=32)])
def test_calibration_networks_span_the_space(space: ChainSpace) -> None:
    chosen = choose_networks(space, seed=4)
    assert len(set(chosen)) == 9
    assert chosen == choose_networks(space, seed=4)
    madds = [network.madds for network in chosen]
    assert madds == sorted(madds)
    rng = np.random.default_rng(5)
    others = [space.decode(row) for row in space.sample(300, rng, uniform_over="networks")]
    features = np.array([_features(network) for network in others])
    spread = features.std(axis=0)

    def distance(networks: list[Floats]) -> float:
        gaps = (features[:, None] - np.array(networks)) / spread
        return float((gaps**2).sum(axis=2).min(axis=1).mean())

    ours = distance([np.array(_features(network)) for network in chosen])
    random = [distance(list(features[rng.choice(300, 9)])) for _ in range(40)]
    assert ours < np.quantile(random, 0.1)
    # quantiles of multiply-adds alone, as once were chosen
    by_madds = sorted(others, key=lambda network: network.madds)
    places = ((np.arange(9) + 0.5) / 9 * 300).astype(int)
    assert ours < distance([np.array(_features(by_madds[place])) for place in places])


def test_a_small_space_gives_what_it_has() -> None:
    space = make_space("accel-nasbench", resolution=32)
    everything = choose_networks(space, n=10_000)
    assert len(everything) == len(set(everything)) <= 200
