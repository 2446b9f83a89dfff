"""Standard deviations: the tables along a chain against a slow sum over decoded networks."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.codes import MatrixCodes
from latency_tables.errors import TableError, Uncalibrated, UncertaintyUnknown
from latency_tables.predictor import CHUNK, Predictor, compile_predictor, predict_network
from latency_tables.table import Calibration, LatencyTable
from latency_tables.uncertainty import (
    interval_ms,
    quantile_ms,
    row_variances,
    uncertainty_of,
)
from networks.errors import GenotypeError
from networks.network import Network
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

# At 8 pixels all later blocks work on one, so that more of them can use equal rows
SPACES = [
    make_space("mnasnet", resolution=64),
    make_space("mnasnet", resolution=8),
    make_space("accel-nasbench", resolution=8),
]
CALIBRATION = Calibration(1.09, 0.02, 4)


def table_of(space: ChainSpace, calibration: Calibration = CALIBRATION) -> LatencyTable:
    rng = np.random.default_rng(3)
    rows = []
    for layer in space.layers:
        price, error = rng.uniform(0.01, 3), rng.uniform(0, 0.3)
        row = make_row(layer.key, price)
        rows.append(replace(row, low_ms=price * math.exp(-error), high_ms=price * math.exp(error)))
    return LatencyTable.from_rows(
        "t", CONDITION, rows, provenance=PROVENANCE, calibration=calibration
    )


TABLES = [table_of(space) for space in SPACES]
PREDICTORS = [compile_predictor(t, s) for t, s in zip(TABLES, SPACES, strict=True)]
CASES = list(zip(SPACES, TABLES, PREDICTORS, strict=True))
EACH = pytest.mark.parametrize("case", CASES, ids=["mnasnet@64", "mnasnet@8", "accel-nasbench@8"])
Case = tuple[ChainSpace, LatencyTable, Predictor]


def slow(table: LatencyTable, network: Network) -> tuple[float, float]:
    """The equation, row by row."""
    calibration = table.calibration
    assert calibration is not None
    assert calibration.residual is not None
    rows = [
        (n, table.row(key)) for key, n in Counter(layer.key for layer in network.layers).items()
    ]
    total = sum(n * row.hot_ms for n, row in rows)
    of_rows = sum((n * row.hot_ms * (row.relative_std or 0.0)) ** 2 for n, row in rows)
    scale_std = calibration.scale_std
    if scale_std is None:
        scale_std = calibration.residual / math.sqrt(calibration.networks)
    variance = (
        calibration.scale**2 * of_rows
        + total**2 * (calibration.scale * scale_std) ** 2
        + (calibration.residual * calibration.scale * total) ** 2
    )
    return calibration.scale * total, math.sqrt(variance)


def sample(space: ChainSpace, n: int, seed: int) -> Genotypes:
    """Draw genotypes whose blocks all choose what the first does, but widths and depths.

    So neighbouring blocks often use equal rows, which seldom happens at random.
    """
    genotypes = space.sample(n, np.random.default_rng(seed))
    first: dict[str, int] = {}
    for column, decision in enumerate(space.decisions):
        name = decision.name.partition(".")[2]
        source = first.setdefault(name, column)
        if name not in ("filters", "layers"):
            genotypes[:, column] = genotypes[:, source] % len(decision.options)
    return genotypes


@EACH
@given(seed=st.integers(0, 2**32), n=st.integers(1, 20))
@settings(deadline=None, max_examples=25)
def test_the_tables_equal_the_sum_over_decoded_networks(case: Case, seed: int, n: int) -> None:
    space, table, predictor = case
    genotypes = sample(space, n, seed)
    expected = [slow(table, space.decode(genotype)) for genotype in genotypes]
    latency_ms, std_ms = predictor.predict_with_std(genotypes)
    np.testing.assert_allclose(np.stack([latency_ms, std_ms], axis=1), expected, rtol=1e-9)
    single = predict_network(table, space.decode(genotypes[0]))
    assert (single.latency_ms, single.std_ms) == pytest.approx(expected[0])


@EACH
def test_each_network_has_one_standard_deviation_whichever_genotype(case: Case) -> None:
    space, _, predictor = case
    genotypes = sample(space, 500, seed=1)
    for one, other in zip(
        predictor.predict_with_std(genotypes),
        predictor.predict_with_std(space.canonical(genotypes)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_neighbouring_blocks_share_rows_in_these_spaces() -> None:
    """Else the cross terms of the law above were never met."""
    shared = [len(row_variances(s, np.ones(len(s.layers)))[1]) for s in SPACES]
    assert shared[0] >= 1
    assert shared[1] > shared[0]
    for space, _, predictor in CASES[:2]:
        genotypes = sample(space, 500, seed=2)
        _, std_ms = predictor.predict_with_std(genotypes)
        apart = Predictor(space, predictor.prices_ms, uncertainty=predictor.uncertainty)
        apart._shared = []
        _, without_ms = apart.predict_with_std(genotypes)
        assert np.mean(std_ms > without_ms * (1 + 1e-9)) > 0.05


@EACH
def test_blocks_use_what_their_networks_have(case: Case) -> None:
    space, _, predictor = case
    for table, (numbers, counts) in zip(
        space.block_prices(predictor.prices_ms), space.block_layers(), strict=True
    ):
        np.testing.assert_allclose((predictor.prices_ms[numbers] * counts).sum(axis=1), table)


@EACH
def test_covariances_are_of_rows_used_by_both(case: Case) -> None:
    space, _, predictor = case
    known = predictor.uncertainty
    assert known is not None
    genotypes = sample(space, 12, seed=7)
    covariance = predictor.covariance_ms2(genotypes)
    latency_ms, std_ms = predictor.predict_with_std(genotypes)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), std_ms)
    error = dict(zip(space.layers, known.rows_ms, strict=True))
    one, other = (Counter(space.decode(g).layers) for g in genotypes[:2])
    rows = sum(n * other[layer] * error[layer] ** 2 for layer, n in one.items())
    assert covariance[0, 1] == pytest.approx(
        rows + known.scale**2 * latency_ms[0] * latency_ms[1], rel=1e-9
    )


@pytest.mark.parametrize("n", [0, 1, CHUNK, CHUNK + 1])
def test_chunks_and_ways_do_not_show(n: int) -> None:
    space, _, predictor = CASES[1]
    genotypes = space.sample(n, np.random.default_rng(n))
    latency_ms, std_ms = predictor.predict_with_std(genotypes)
    assert latency_ms.shape == std_ms.shape == (n,)
    np.testing.assert_array_equal(latency_ms, predictor.predict(genotypes))
    by_matrix = Predictor(
        space, predictor.prices_ms, uncertainty=predictor.uncertainty, codes=MatrixCodes
    )
    np.testing.assert_array_equal(by_matrix.predict_with_std(genotypes)[1], std_ms)
    single = Predictor(
        space, predictor.prices_ms, uncertainty=predictor.uncertainty, precision=np.float32
    )
    for exact, rounded in zip(
        (latency_ms, std_ms), single.predict_with_std(genotypes), strict=True
    ):
        assert rounded.dtype == np.float32
        np.testing.assert_allclose(rounded, exact, rtol=1e-6)


@given(
    latency_ms=st.floats(1e-3, 1e3), relative=st.floats(0, 3), q=st.floats(0.001, 0.999),
    level=st.floats(0.01, 0.99),
)  # fmt: skip
@settings(deadline=None)
def test_quantiles_are_ordered_and_positive(
    latency_ms: float, relative: float, q: float, level: float
) -> None:
    std_ms = relative * latency_ms
    assert quantile_ms(latency_ms, std_ms, 0.5) == pytest.approx(latency_ms)
    low, high = interval_ms(latency_ms, std_ms, level)
    assert 0 < low <= latency_ms * (1 + 1e-9)
    assert low * high == pytest.approx(latency_ms**2)
    assert interval_ms(latency_ms, std_ms, (1 + level) / 2)[1] >= high
    value = quantile_ms(latency_ms, std_ms, q)
    assert value > 0
    assert (value - latency_ms) * (q - 0.5) >= 0


def test_a_quantile_is_what_a_search_can_take_for_a_latency() -> None:
    space, _, predictor = CASES[0]
    genotypes = space.sample(50, np.random.default_rng(1))
    latency_ms, std_ms = predictor.predict_with_std(genotypes)
    found = predictor.at_quantile(0.9)(genotypes)
    np.testing.assert_array_equal(found, predictor.quantile_ms(genotypes, 0.9))
    assert predictor.uncertainty is not None
    freedom = predictor.uncertainty.freedom
    expected = [
        quantile_ms(m, s, 0.9, freedom=freedom) for m, s in zip(latency_ms, std_ms, strict=True)
    ]
    np.testing.assert_allclose(found, expected)
    assert np.all(found > latency_ms)
    for q in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(TableError, match="between 0 and 1"):
            predictor.at_quantile(q)


def test_simulated_sessions_scatter_as_the_standard_deviation_says() -> None:
    """Draw errors of rows, scale and networks, and compare what comes of it."""
    space, _, predictor = CASES[1]
    known = predictor.uncertainty
    assert known is not None
    genotypes = sample(space, 6, seed=4)
    rng, sessions = np.random.default_rng(5), 4000
    counts = np.array([
        [Counter(space.decode(g).layers)[layer] for layer in space.layers] for g in genotypes
    ])  # fmt: skip
    errors_ms = known.rows_ms * rng.standard_normal((sessions, len(known.rows_ms)))
    rows = predictor.prices_ms + errors_ms
    scale = 1 + known.scale * rng.standard_normal((sessions, 1))
    latency_ms = scale * (rows @ counts.T)
    latency_ms = latency_ms * (1 + known.residual * rng.standard_normal(latency_ms.shape))
    np.testing.assert_allclose(
        np.cov(latency_ms.T), predictor.covariance_ms2(genotypes), rtol=0.2, atol=0.02
    )


def test_what_a_table_does_not_know_it_does_not_say() -> None:
    space, table, predictor = CASES[0]
    network, genotypes = (
        space.decode(space.sample(1, np.random.default_rng(1))[0]),
        np.zeros((1, 42), np.int8),
    )
    one = replace(table, calibration=Calibration(1.09, None, 1))
    assert uncertainty_of(one, []) is None
    prediction = predict_network(one, network)
    assert prediction.std_ms is None
    assert prediction.interval() is None
    for ask in ("predict_with_std", "covariance_ms2"):
        with pytest.raises(UncertaintyUnknown, match="2 networks or more"):
            getattr(compile_predictor(one, space), ask)(genotypes)
    with pytest.raises(UncertaintyUnknown):
        compile_predictor(one, space).at_quantile(0.9)
    with pytest.raises(Uncalibrated):
        uncertainty_of(replace(table, calibration=None), [])
    with pytest.raises(GenotypeError):
        predictor.predict_with_std(np.zeros((1, 41), np.int8))


def test_a_row_without_an_interval_is_left_to_the_residual() -> None:
    rows = [make_row("a", 2.0), replace(make_row("b", 1.0), low_ms=0.9, high_ms=1.1)]
    table = LatencyTable.from_rows(
        "t", CONDITION, rows, provenance=PROVENANCE, calibration=Calibration(2.0, 0.02, 4, 0.005)
    )
    known = uncertainty_of(table, ["a", "b", "a"])
    assert known is not None
    assert (known.scale, known.residual) == (0.005, 0.02)
    assert known.of_network == pytest.approx(math.hypot(0.005, 0.02))
    expected = [0.0, 2 * math.log(1.1 / 0.9) / (2 * 1.6448536), 0.0]
    np.testing.assert_allclose(known.rows_ms, expected)


def test_few_networks_widen_an_interval_and_a_known_scale_less_so() -> None:
    rows = [make_row("a", 2.0)]

    def freedom(calibration: Calibration) -> float:
        table = LatencyTable.from_rows(
            "t", CONDITION, rows, provenance=PROVENANCE, calibration=calibration
        )
        known = uncertainty_of(table, ["a"])
        assert known is not None
        return known.freedom

    assert freedom(Calibration(1.0, 0.02, 4)) == pytest.approx(3)
    assert freedom(Calibration(1.0, 0.02, 9)) == pytest.approx(8)
    assert freedom(Calibration(1.0, 0.002, 9, 0.01)) > 1000
    assert freedom(Calibration(1.0, 0.0, 9)) == math.inf
    few, many, known = (interval_ms(10.0, 0.2, freedom=f) for f in (3, 8, math.inf))
    assert few[0] < many[0] < known[0] < 10 < known[1] < many[1] < few[1]
    # Student's 95 % points, as tables print them
    for (_, high), point in ((few, 2.353), (many, 1.860), (known, 1.645)):
        assert math.log(high / 10) == pytest.approx(point * 0.02, rel=1e-3)
