from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.intervals import FREEDOM, SESSION, Evidence, intervals, visit_scatter

visits = st.lists(st.floats(0.9, 1.1), min_size=3, max_size=20)
rows = st.lists(visits, min_size=1, max_size=8)


def evidence(values: list[float], scale: float = 1.0) -> Evidence:
    return Evidence(scale * values[0], [scale * value for value in values])


def width(row: Evidence) -> float:
    (interval,) = intervals([row])
    assert interval is not None
    return math.log(interval[1] / interval[0])


@settings(deadline=None)  # the first imports scipy.stats
@given(rows)
def test_an_interval_holds_its_value(made: list[list[float]]) -> None:
    found = [evidence(values) for values in made]
    for row, interval in zip(found, intervals(found), strict=True):
        assert interval is not None
        assert 0 < interval[0] <= row.value <= interval[1] < math.inf


@given(rows, st.floats(1e-6, 1e6))
def test_a_unit_changes_no_interval(made: list[list[float]], unit: float) -> None:
    one, other = ([evidence(values, scale) for values in made] for scale in (1.0, unit))
    for first, second in zip(intervals(one), intervals(other), strict=True):
        assert first is not None
        assert second is not None
        assert second == pytest.approx((unit * first[0], unit * first[1]), rel=1e-9)


@given(visits, st.randoms())
def test_the_order_of_visits_changes_no_interval(values: list[float], order: random.Random) -> None:
    shuffled = Evidence(values[0], order.sample(values, len(values)))
    assert intervals([shuffled]) == intervals([evidence(values)])


def test_nine_of_ten_other_sessions_lie_in_the_interval() -> None:
    """Of sessions that differ as the module says, at scatters of a visit from 0.2 to 5 %."""
    rng = np.random.default_rng(3)
    n = 3000
    scatter, values = np.geomspace(0.002, 0.05, n), np.geomspace(1e-3, 10, n)
    visits_of = values[:, None] * np.exp(scatter[:, None] * rng.standard_normal((n, 60)))
    others = values * np.exp(math.sqrt(2) * SESSION * scatter * rng.standard_t(FREEDOM, n))
    found = intervals([Evidence(v, list(row)) for v, row in zip(values, visits_of, strict=True)])
    inside = [
        interval is not None and interval[0] <= other <= interval[1]
        for interval, other in zip(found, others, strict=True)
    ]
    for part in np.array_split(np.array(inside), 3):
        assert 0.87 <= part.mean() <= 0.93


def test_disturbed_visits_do_not_widen_an_interval() -> None:
    calm = [1.0 + 0.001 * i for i in range(12)]
    disturbed = [*calm[:10], 1.5, 3.0]
    assert width(evidence(disturbed)) < 1.5 * width(evidence(calm))


def test_sessions_that_agree_narrow_an_interval_and_others_widen_it() -> None:
    values = [1.0 + 0.002 * i for i in range(12)]
    alone = width(Evidence(1.0, values))
    agreeing = width(Evidence(1.0, values, sessions=[1.0, 1.001, 0.999], used=3))
    differing = width(Evidence(1.0, values, sessions=[1.0, 1.1, 0.9], used=3))
    earlier = width(Evidence(1.0, values, sessions=[1.1, 1.0], used=1))
    assert agreeing < alone < earlier < differing


def test_a_row_of_few_visits_goes_by_rows_of_like_latency() -> None:
    steady = [Evidence(1.0 + i, [1.0 + i] * 6) for i in range(150)]
    restless = [Evidence(1e4 + i, [1e4 * (1 + 0.01 * j) for j in range(6)]) for i in range(150)]
    found = visit_scatter([*steady, *restless, Evidence(1e4, [1e4]), Evidence(0.5, [0.5])])
    assert found is not None
    assert found[-2] > 0.01
    assert found[-1] == 0.0


def test_without_three_visits_of_any_row_nothing_is_known() -> None:
    assert intervals([Evidence(1.0, [1.0, 1.1]), Evidence(2.0, [2.0])]) == [None, None]
    assert intervals([]) == []


def test_what_all_rows_share_widens_every_interval() -> None:
    row = evidence([1.0, 1.0, 1.0])
    assert width(row) == 0.0
    (interval,) = intervals([row], common_std=0.01)
    assert interval is not None
    assert math.log(interval[1]) == pytest.approx(0.01645, rel=1e-3)
