from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.codes import MatrixCodes, PackedCodes, Packing, make_codes
from latency_tables.coverage import measure_coverage, nearest_layers
from latency_tables.errors import MissingLayers, Uncalibrated
from latency_tables.predictor import CHUNK, Predictor, compile_predictor, predict_network
from latency_tables.table import Calibration, LatencyTable
from networks.errors import GenotypeError
from networks.published import published_network
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

SPACES = [make_space(name, resolution=64) for name in ("mnasnet", "accel-nasbench")]
SCALE = 1.09


def table_of(space: ChainSpace, *, without: str = "") -> LatencyTable:
    prices = np.random.default_rng(3).uniform(0.01, 3, len(space.layers))
    rows = [
        make_row(layer.key, price)
        for layer, price in zip(space.layers, prices, strict=True)
        if layer.key != without
    ]
    calibration = Calibration(SCALE, 0.02, 4)
    return LatencyTable.from_rows(
        "t", CONDITION, rows, provenance=PROVENANCE, calibration=calibration
    )


TABLES = {space.name: table_of(space) for space in SPACES}
PREDICTORS = {space.name: compile_predictor(TABLES[space.name], space) for space in SPACES}


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_both_ways_to_places_give_one_price(space: ChainSpace) -> None:
    prices = np.random.default_rng(3).uniform(0.01, 3, len(space.layers))
    sizes = np.array([len(decision.options) for decision in space.decisions])
    matrix, tables = space.code_matrix(), space.block_prices(prices)
    ways = (PackedCodes.build(matrix, sizes), MatrixCodes(matrix, sizes))
    genotypes = space.sample(5000, np.random.default_rng(5))
    genotypes[0], genotypes[1] = 0, sizes - 1
    found = []
    for way in ways:
        assert way is not None
        read = way.reader(5000)(genotypes)
        codes = [order[place] for order, place in zip(way.orders, read, strict=True)]
        assert min(map(np.min, codes)) >= 0
        found.append([table[code] for table, code in zip(tables, codes, strict=True)])
    np.testing.assert_array_equal(found[0], found[1])


@given(st.lists(st.integers(0, 3), min_size=8, max_size=20), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_packing_holds_each_needed_decision_once(weights: list[int], seed: int) -> None:
    needed = np.flatnonzero(weights)
    packing = Packing.of(np.array(weights))
    if packing is None:
        return
    assert sorted(decision for decision, _ in packing.at) == needed.tolist()
    genotype = np.random.default_rng(seed).integers(0, 4, len(weights), dtype=np.uint8)
    word = int.from_bytes(genotype[packing.start : packing.start + 8].tobytes(), "little")
    place = (word * packing.multiplier % 2**64) >> (64 - packing.bits)
    assert place == sum(int(genotype[decision]) << bit for decision, bit in packing.at)


def test_a_space_that_does_not_pack_goes_by_matrix() -> None:
    rng = np.random.default_rng(2)
    sizes = np.array([5, 2, 3])
    matrix = np.array([[6], [3], [1]])
    codes = make_codes(matrix, sizes)
    assert isinstance(codes, MatrixCodes)
    np.testing.assert_array_equal(codes.orders[0], np.arange(30))
    genotypes = rng.integers(0, sizes, (50, 3), dtype=np.int8)
    (places,) = codes.reader(64)(genotypes)
    np.testing.assert_array_equal(places, (genotypes @ matrix)[:, 0])


def loop(space: ChainSpace, genotypes: npt.NDArray[np.int8]) -> list[float]:
    table = TABLES[space.name]
    return [
        SCALE * sum(table.row(layer.key).hot_ms for layer in space.decode(row).layers)
        for row in genotypes
    ]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_the_predictor_equals_the_loop(space: ChainSpace, seed: int, n: int) -> None:
    genotypes = space.sample(n, np.random.default_rng(seed))
    predicted = PREDICTORS[space.name].predict(genotypes)
    np.testing.assert_allclose(predicted, loop(space, genotypes), rtol=1e-12)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, CHUNK, CHUNK + 1, 2 * CHUNK + 100])
def test_chunks_do_not_show(space: ChainSpace, n: int) -> None:
    genotypes = space.sample(n, np.random.default_rng(n))
    predictor = PREDICTORS[space.name]
    predicted = predictor.predict(genotypes)
    assert predicted.shape == (n,)
    pieces = [predictor.predict(piece) for piece in np.array_split(genotypes, 7)]
    np.testing.assert_array_equal(predicted, np.concatenate(pieces))
    for other in (genotypes.astype(np.int64), np.asfortranarray(genotypes), genotypes.tolist()):
        if n:
            np.testing.assert_array_equal(predictor.predict(other), predicted)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_genotypes_of_one_network_have_one_latency(space: ChainSpace) -> None:
    genotypes = space.sample(500, np.random.default_rng(1))
    predictor = PREDICTORS[space.name]
    np.testing.assert_allclose(
        predictor.predict(genotypes), predictor.predict(space.canonical(genotypes)), rtol=1e-12
    )


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_no_network_is_faster_than_the_fastest(space: ChainSpace) -> None:
    predictor = PREDICTORS[space.name]
    sample = predictor.predict(space.sample(50_000, np.random.default_rng(1)))
    assert predictor.fastest_ms <= sample.min()
    near = predictor.predict(space.neighbours(predictor.fastest))
    assert predictor.fastest_ms <= near.min()


@pytest.mark.parametrize("place", [1, 41, 100 * 42 + 2, 8 * 42 + 3, CHUNK * 42 + 4])
@pytest.mark.parametrize("value", [-1, 3, 127])
@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_an_option_that_does_not_exist_has_no_latency(
    place: int, value: int, dtype: type[np.integer]
) -> None:
    space = SPACES[0]
    genotypes = space.sample(CHUNK + 3, np.random.default_rng(1)).astype(dtype)
    row, column = divmod(place, 42)
    decision = space.decisions[column]
    genotypes[row, column] = value
    with pytest.raises(GenotypeError, match=f"{decision.name} has .* in genotype {row}$"):
        PREDICTORS["mnasnet"].predict(genotypes)


def test_what_is_no_genotype_is_refused() -> None:
    predictor: Predictor = PREDICTORS["mnasnet"]
    for wrong in (np.zeros((2, 41), np.int8), np.zeros(42, np.int8), np.zeros((2, 42))):
        with pytest.raises(GenotypeError, match="integers of shape"):
            predictor.predict(wrong)


def test_a_network_is_the_scaled_sum_of_its_rows() -> None:
    space = SPACES[0]
    genotype = space.sample(1, np.random.default_rng(2))
    prediction = predict_network(TABLES["mnasnet"], space.decode(genotype[0]))
    assert prediction.latency_ms == pytest.approx(PREDICTORS["mnasnet"].predict(genotype)[0])
    assert sum(ms for _, ms in prediction.layers) == pytest.approx(prediction.latency_ms)
    assert prediction.std_ms == pytest.approx(prediction.latency_ms * 0.02 * (1 + 1 / 4) ** 0.5)


def test_a_missing_layer_is_named_with_its_neighbours() -> None:
    space = SPACES[0]
    keys = [layer.key for layer in space.layers]
    lost = next(key for key in keys if key.startswith("v1/bottleneck/") and "/k5/" in key)
    table = table_of(space, without=lost)
    assert measure_coverage(table, space.layers).missing == (lost,)
    with pytest.raises(MissingLayers, match="has no layer") as caught:
        compile_predictor(table, space)
    assert caught.value.missing == (lost,)
    assert len(caught.value.nearest) == 3
    assert all(key.startswith("v1/bottleneck/") for key in caught.value.nearest)
    twin = lost.replace("/k5/", "/k3/")
    assert twin in nearest_layers(table, lost, n=5)
    with pytest.raises(MissingLayers, match="more"):
        predict_network(table, published_network("mobilenet-v2"))
    empty = LatencyTable.from_rows("t", CONDITION, [], provenance=PROVENANCE)
    assert measure_coverage(empty, space.layers).share == 0.0
    assert nearest_layers(empty, lost) == ()


def test_a_table_without_a_scale_predicts_nothing() -> None:
    table = replace(TABLES["mnasnet"], calibration=None)
    with pytest.raises(Uncalibrated, match="no calibration network yet"):
        compile_predictor(table, SPACES[0])
    with pytest.raises(Uncalibrated):
        predict_network(table, SPACES[0].decode(SPACES[0].sample(1, np.random.default_rng(1))[0]))
