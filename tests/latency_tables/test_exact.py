"""Exact counts, samples and fronts, against lists of every network of small spaces."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare

from latency_tables.errors import (
    FrontTooLarge,
    GridTooCoarse,
    GridTooFine,
    InvalidRow,
    MissingLayers,
    NotAdditive,
    NothingWithin,
    Uncalibrated,
)
from latency_tables.exact import PricedSpace, price_space
from latency_tables.exact_counts import Over, count_ways
from latency_tables.exact_front import MAX_POINTS, layer_scores
from latency_tables.predictor import Predictor
from latency_tables.table import Calibration, LatencyTable
from networks.spaces import make_space
from networks.spaces.blocks import Link
from networks.spaces.chain import ChainSpace
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row
from tests.networks.small_spaces import (
    all_genotypes,
    all_networks,
    make_small_space,
    small_spaces,
    sums,
)

SEEDS = st.integers(0, 2**32 - 1)
MERGING = make_small_space((2, (8, 16), (1, 2)), (1, (8, 8, 16), (1, 2, 3)))
HUGE = make_small_space(*[(2, (8, 16), (1, 2))] * 18, name="huge")


class Bent(Calibration):
    """A calibration that is no sum over layers."""

    @property
    def is_additive(self) -> bool:
        return False


def random_prices(space: ChainSpace, seed: int) -> npt.NDArray[np.float64]:
    """Milliseconds of each layer, uniform in [0.01, 1)."""
    return np.random.default_rng(seed).uniform(0.01, 1, len(space.layers))


@st.composite
def random_links(draw: st.DrawFn) -> tuple[list[Link], list[npt.NDArray[np.int64]]]:
    """Links and costs as no space may have them: any pair is merged, over many blocks."""
    n_blocks = draw(st.integers(1, 4))
    states = [1, *draw(st.lists(st.integers(1, 2), min_size=n_blocks, max_size=n_blocks))]
    choices = draw(st.lists(st.integers(1, 4), min_size=n_blocks, max_size=n_blocks))
    links, costs = [], []
    for block, n in enumerate(choices):
        n_next = choices[block + 1] if block + 1 < n_blocks else 0
        state_out = draw(arrays(np.int64, n, elements=st.integers(0, states[block + 1] - 1)))
        state_out[0] = states[block + 1] - 1
        canonical = draw(arrays(np.bool_, (states[block], n)))
        links.append(Link(state_out, canonical, draw(arrays(np.bool_, (n, n_next)))))
        costs.append(draw(arrays(np.int64, (states[block], n), elements=st.integers(0, 5))))
    return links, costs


@given(random_links(), st.sampled_from(["networks", "canonical chains", "genotypes"]))
@settings(deadline=None, max_examples=200)
def test_chains_are_counted_as_listing_them_does(
    chain: tuple[list[Link], list[npt.NDArray[np.int64]]], over: Over
) -> None:
    links, costs = chain
    listed: Counter[int] = Counter()
    for choices in product(*(range(len(link.state_out)) for link in links)):
        state, cost, kept = 0, 0, True
        for block, choice in enumerate(choices):
            link = links[block]
            kept &= over == "genotypes" or bool(link.canonical[state, choice])
            if block and over == "networks":
                kept &= not links[block - 1].merged[choices[block - 1], choice]
            cost += int(costs[block][state, choice])
            state = int(link.state_out[choice])
        listed[cost] += kept
    for dtype in (np.int64, object):
        (ways,) = count_ways(links, costs, over, dtype)[0]
        assert {cost: n for cost, n in enumerate(ways.tolist()) if n} == +listed


@given(small_spaces(), SEEDS)
@settings(deadline=None, max_examples=60)
def test_latencies_on_the_grid_are_counted_exactly(space: ChainSpace, seed: int) -> None:
    steps = np.random.default_rng(seed).integers(1, 50, len(space.layers)).astype(np.float64)
    priced = PricedSpace(space, 1e-3 * steps)
    latencies = sums(space, all_networks(space), steps).astype(int)
    np.testing.assert_array_equal(
        priced.networks.counts, np.bincount(latencies, minlength=len(priced.networks.counts))
    )
    by_genotype = sums(space, [space.decode(g) for g in all_genotypes(space)], steps)
    for target in (0, latencies.min() - 1, latencies.min(), int(np.median(latencies)), 10**6):
        found = priced.within(target * 1e-3)
        assert found.low == found.networks == found.high == (latencies <= target).sum()
        assert found.genotypes == (by_genotype <= target).sum()
    assert priced.networks.total == space.n_networks
    assert priced.genotypes.total == space.n_genotypes
    assert priced.fastest_ms == pytest.approx(latencies.min() * 1e-3)
    assert priced.slowest_ms == pytest.approx(latencies.max() * 1e-3)
    ranked = np.sort(latencies)
    for percent in (0, 25, 50, 90, 100):
        place = max(1, -(-percent * len(ranked) // 100))
        assert priced.networks.quantile_ms(percent / 100) == pytest.approx(ranked[place - 1] * 1e-3)


@given(small_spaces(), SEEDS, st.sampled_from([1.0, 10.0, 100.0]))
@settings(deadline=None, max_examples=60)
def test_the_bounds_hold_for_latencies_as_they_are(
    space: ChainSpace, seed: int, step_us: float
) -> None:
    prices_ms = random_prices(space, seed)
    priced = PricedSpace(space, prices_ms, step_ms=step_us / 1e3)
    latencies_ms = sums(space, all_networks(space), prices_ms)
    rng = np.random.default_rng(seed)
    targets = [*rng.choice(latencies_ms, 5), *rng.uniform(0, 1.1 * latencies_ms.max(), 20)]
    for target_ms in targets:
        found = priced.within(target_ms)
        slack_ms = 1e-9
        assert found.low <= (latencies_ms <= target_ms + slack_ms).sum()
        assert (latencies_ms <= target_ms - slack_ms).sum() <= found.high
        assert found.low <= found.networks <= found.high
    assert found.scale_low is None


def test_progress_is_told_of_every_block() -> None:
    told: list[tuple[int, int, str]] = []
    prices_ms = random_prices(MERGING, 1)
    priced = PricedSpace(MERGING, prices_ms, progress=lambda *now: told.append(now))
    assert told == []
    priced.within(1.0)
    priced.within(2.0)
    assert told == [
        (n, 2, f"counting {what}") for what in ("networks", "genotypes") for n in (1, 2)
    ]


def test_a_finer_step_gives_narrower_bounds() -> None:
    prices_ms = random_prices(MERGING, 1)
    middle_ms = PricedSpace(MERGING, prices_ms).networks.quantile_ms(0.5)
    widths = []
    for step_us in (100.0, 10.0, 0.1):
        found = PricedSpace(MERGING, prices_ms, step_ms=step_us / 1e3).within(middle_ms)
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]


def test_the_scale_moves_the_count_as_it_moves_the_target() -> None:
    priced = PricedSpace(MERGING, random_prices(MERGING, 2), scale_std=0.01)
    target_ms = priced.networks.quantile_ms(0.5)
    found = priced.within(target_ms)
    z = 1.6448536269514722
    assert found.scale_low == priced.networks.within(target_ms * np.exp(-z * 0.01))
    assert found.scale_high == priced.networks.within(target_ms * np.exp(z * 0.01))
    assert found.scale_low is not None
    assert found.scale_high is not None
    assert found.scale_low < found.networks < found.scale_high


@pytest.mark.parametrize("share", [0.001, 0.1, 0.6, 1.0])
def test_samples_are_uniform_over_the_networks_within_a_target(share: float) -> None:
    space, prices_ms = MERGING, random_prices(MERGING, 5)
    priced = PricedSpace(space, prices_ms, step_ms=0.05)
    predictor = Predictor(space, prices_ms)
    networks = np.array(list(space.enumerate()))
    latencies_ms = predictor.predict(networks)
    target_ms = float(np.quantile(latencies_ms, share, method="higher"))
    wanted = {tuple(row) for row in networks[latencies_ms <= target_ms].tolist()}
    drawn = priced.sample_within(30 * len(wanted), np.random.default_rng(7), target_ms)
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= wanted
    observed = [counts[network] for network in wanted]
    assert len(wanted) == 1 or chisquare(observed).pvalue > 1e-4


@given(small_spaces(), SEEDS, st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_samples_meet_the_target_and_repeat_with_the_seed(
    space: ChainSpace, seed: int, n: int
) -> None:
    prices_ms = random_prices(space, seed)
    priced, predictor = PricedSpace(space, prices_ms), Predictor(space, prices_ms)
    for target_ms in (priced.fastest_ms, 1.2 * priced.fastest_ms, priced.slowest_ms):
        first, again = (
            priced.sample_within(n, np.random.default_rng(seed), target_ms) for _ in range(2)
        )
        assert first.shape == (n, len(space.decisions))
        assert (predictor.predict(first) <= target_ms).all()
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, space.canonical(first))


@given(small_spaces(), SEEDS, st.floats(0.2, 1.0))
@settings(deadline=None, max_examples=60)
def test_the_front_is_that_of_all_networks(space: ChainSpace, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    steps, scores = (rng.integers(1, 20, len(space.layers)).astype(float) for _ in range(2))
    networks = all_networks(space)
    latencies, values = sums(space, networks, steps), sums(space, networks, scores)
    target = float(np.quantile(latencies, share, method="higher"))
    best: list[tuple[float, float]] = []
    for latency, value in sorted(zip(latencies, -values, strict=True)):
        if latency <= target and (not best or -value > best[-1][1]):
            best.append((latency, -value))
    front = PricedSpace(space, steps).front(scores, target_ms=target)
    assert list(zip(front.latency_ms, front.score, strict=True)) == best
    found = [space.decode(genotype) for genotype in front.genotypes]
    np.testing.assert_array_equal(sums(space, found, steps), front.latency_ms)
    np.testing.assert_array_equal(sums(space, found, scores), front.score)
    np.testing.assert_array_equal(front.genotypes, space.canonical(front.genotypes))


@given(SEEDS)
@settings(deadline=None, max_examples=10)
def test_fronts_of_large_spaces_are_not_dominated_by_what_is_drawn(seed: int) -> None:
    space = make_space("mnasnet", resolution=64)
    prices_ms = random_prices(space, seed)
    madds = layer_scores(space, "madds")
    priced = PricedSpace(space, prices_ms)
    front = priced.front(madds)
    assert (np.diff(front.latency_ms) > 0).all()
    assert (np.diff(front.score) > 0).all()
    assert front.latency_ms[0] == pytest.approx(priced.fastest_ms)
    assert space.decode(front.genotypes[-1]).madds == front.score[-1]
    predict = Predictor(space, prices_ms).predict
    np.testing.assert_allclose(predict(front.genotypes), front.latency_ms)
    np.testing.assert_allclose(Predictor(space, madds).predict(front.genotypes), front.score)
    drawn = np.concatenate([
        space.sample(2000, np.random.default_rng(seed)),
        *[space.neighbours(genotype) for genotype in front.genotypes[::500]],
    ])  # fmt: skip
    at = np.searchsorted(front.latency_ms, predict(drawn) * (1 + 1e-9), side="right") - 1
    assert (Predictor(space, madds).predict(drawn) <= front.score[at]).all()


def test_layers_are_scored_by_what_they_hold() -> None:
    networks = all_networks(MERGING)
    for what in ("madds", "params"):
        totals = sums(MERGING, networks, layer_scores(MERGING, what))
        assert totals.tolist() == [getattr(network, what) for network in networks]


def test_a_rounded_front_is_exact_for_rounded_latencies() -> None:
    prices_ms, scores = random_prices(MERGING, 3), random_prices(MERGING, 4)
    exact = PricedSpace(MERGING, prices_ms).front(scores)
    rounded = PricedSpace(MERGING, prices_ms).front(scores, step_ms=0.2)
    assert len(rounded.score) < len(exact.score)
    np.testing.assert_allclose(rounded.latency_ms % 0.2 % 0.2, 0, atol=0.2 + 1e-9)
    assert rounded.score[-1] == pytest.approx(exact.score[-1])


def test_a_score_that_is_latency_itself_is_refused_and_rounded() -> None:
    space = make_space("accel-nasbench", resolution=64)
    priced = PricedSpace(space, random_prices(space, 0))
    with pytest.raises(FrontTooLarge, match=f"at most {MAX_POINTS:,} points"):
        priced.front(priced.prices_ms)
    assert len(priced.front(priced.prices_ms, step_ms=0.1).score) > 100


def test_a_space_of_more_genotypes_than_64_bits_hold() -> None:
    assert HUGE.n_genotypes > 2**63
    steps = np.random.default_rng(0).integers(1, 9, len(HUGE.layers)).astype(np.float64)
    priced = PricedSpace(HUGE, 1e-3 * steps)
    assert priced.networks.total == HUGE.n_networks > 2**63
    assert priced.genotypes.total == HUGE.n_genotypes
    target_ms = priced.networks.quantile_ms(0.99)
    n = 4000
    drawn = priced.sample_within(n, np.random.default_rng(0), target_ms)
    assert (Predictor(HUGE, 1e-3 * steps).predict(drawn) <= target_ms + 1e-9).all()
    widths = np.bincount(drawn[:, 2], minlength=2)
    reference = HUGE.sample(n, np.random.default_rng(1), uniform_over="networks")
    expected = np.bincount(reference[:, 2], minlength=2)
    assert abs(widths[0] - expected[0]) < 5 * np.sqrt(n / 2) + 0.02 * n


def test_mnasnet_is_counted_as_samples_estimate_it() -> None:
    space = make_space("mnasnet", resolution=64)
    prices_ms = random_prices(space, 9)
    priced = PricedSpace(space, prices_ms)
    assert priced.networks.total == space.n_networks
    target_ms = priced.networks.quantile_ms(0.1)
    share = priced.within(target_ms).networks / space.n_networks
    assert share == pytest.approx(0.1, rel=0.01)
    n = 200_000
    drawn = space.sample(n, np.random.default_rng(0), uniform_over="networks")
    sampled = float(np.mean(Predictor(space, prices_ms).predict(drawn) <= target_ms))
    assert abs(sampled - share) < 5 * np.sqrt(share * (1 - share) / n)
    within = priced.sample_within(5000, np.random.default_rng(1), target_ms)
    assert len(np.unique(within, axis=0)) == 5000
    half_ms = priced.networks.quantile_ms(0.05)
    faster = float(np.mean(Predictor(space, prices_ms).predict(within) <= half_ms))
    assert abs(faster - 0.5) < 5 * np.sqrt(0.25 / 5000)


def make_table(space: ChainSpace, calibration: Calibration | None) -> LatencyTable:
    rows = [
        make_row(layer.key, price)
        for layer, price in zip(space.layers, random_prices(space, 1), strict=True)
    ]
    return LatencyTable.from_rows(
        "t", CONDITION, rows, provenance=PROVENANCE, calibration=calibration
    )


def test_a_table_prices_a_space() -> None:
    table = make_table(MERGING, Calibration(1.1, 0.02, 4, 0.01, "scale-and-call", (0.001,)))
    priced = price_space(table, MERGING, step_us=2.0)
    np.testing.assert_allclose(priced.prices_ms, 1.1 * (random_prices(MERGING, 1) - 0.001))
    assert priced.grid.step_ms == 0.002
    assert priced.within(priced.networks.quantile_ms(0.5)).scale_high is not None


def test_what_a_table_cannot_price() -> None:
    scale = Calibration(1.1, 0.02, 4)
    with pytest.raises(NotAdditive, match="expected an additive calibration"):
        price_space(make_table(MERGING, Bent(1.1, 0.02, 4)), MERGING)
    with pytest.raises(Uncalibrated):
        price_space(make_table(MERGING, None), MERGING)
    with pytest.raises(MissingLayers, match="has no layer v1/"):
        price_space(make_table(MERGING, scale), make_small_space((1, (24,), (1,))))


@pytest.mark.parametrize("price_ms", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_latency(price_ms: float) -> None:
    prices_ms = random_prices(MERGING, 1)
    prices_ms[3] = price_ms
    with pytest.raises(InvalidRow, match=f"{re.escape(MERGING.layers[3].key)}: a latency is"):
        PricedSpace(MERGING, prices_ms)


def test_what_has_no_answer() -> None:
    priced = PricedSpace(MERGING, random_prices(MERGING, 1), scale_std=0.01)
    target_ms = 0.9 * priced.fastest_ms
    found = priced.within(target_ms)
    assert (found.low, found.networks, found.high, found.genotypes) == (0, 0, 0, 0)
    with pytest.raises(NothingWithin, match="its fastest network takes, found"):
        priced.sample_within(1, np.random.default_rng(0), target_ms)
    with pytest.raises(NothingWithin, match="its fastest network takes, found"):
        priced.front(priced.prices_ms, target_ms=target_ms)
    with pytest.raises(GridTooFine, match="take a step of"):
        PricedSpace(MERGING, random_prices(MERGING, 1), step_ms=1e-9)


def test_a_step_too_coarse_to_draw_by() -> None:
    space = make_small_space(*[(2, (8, 16), (1, 2))] * 10)
    priced = PricedSpace(space, random_prices(space, 1), step_ms=5.0)
    with pytest.raises(GridTooCoarse, match="take a smaller step"):
        priced.sample_within(1, np.random.default_rng(0), priced.fastest_ms)
