from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from device_agents.errors import NoVisits
from device_agents.floor import hot_minimum_ns, is_done, reference_pace_ns, summarize
from device_agents.measurement import ResidentPlan, Statistic
from tests.device_agents.visits import visit

CPU: Statistic = "thread-cpu-time"
PLAN = ResidentPlan(min_visits=6)
TIMES = st.integers(100, 10**9)
PACES = st.integers(1000, 10**5)


@given(st.lists(TIMES, min_size=1, max_size=20))
def test_a_floor_is_the_mean_of_the_smallest_minima(times: list[int]) -> None:
    floor = summarize([visit(ns) for ns in times], CPU, PLAN)
    assert floor.hot_ns == pytest.approx(fmean(sorted(times)[: PLAN.agree]))
    assert floor.visits == len(times)
    assert not floor.settled or floor.spread <= PLAN.tolerance


@given(st.lists(TIMES, min_size=2 * PLAN.agree, max_size=20))
def test_with_a_pace_a_floor_is_the_mean_of_the_faster_half(times: list[int]) -> None:
    floor = summarize([visit(ns, pace_ns=9000) for ns in times], CPU, PLAN)
    assert floor.hot_ns == pytest.approx(fmean(sorted(times)[: len(times) // 2]))


@given(st.lists(st.tuples(TIMES, PACES), min_size=1, max_size=20), st.randoms())
def test_order_does_not_matter(samples: list[tuple[int, int]], order: random.Random) -> None:
    visits = [visit(ns, pace_ns=pace) for ns, pace in samples]
    shuffled = order.sample(visits, len(visits))
    assert summarize(visits, CPU, PLAN) == summarize(shuffled, CPU, PLAN)


@given(st.lists(TIMES, min_size=PLAN.agree, max_size=20), TIMES)
def test_a_slower_visit_changes_no_floor(times: list[int], more: int) -> None:
    visits = [visit(ns) for ns in times]
    slower = visit(max(times) + more)
    assert summarize([*visits, slower], CPU, PLAN).hot_ns == summarize(visits, CPU, PLAN).hot_ns


@given(st.lists(PACES, min_size=6, max_size=20), st.integers(10**4, 10**8))
def test_a_slow_core_slows_the_pace_alike_and_the_floor_not(paces: list[int], ns: int) -> None:
    fastest = reference_pace_ns([visit(ns, pace_ns=pace) for pace in paces])
    assert fastest is not None
    slowed = [visit(round(ns * pace / fastest), pace_ns=pace) for pace in paces]
    assume(all(v.hot_cpu_ns[1] > 1000 for v in slowed))
    floor = summarize(slowed, CPU, PLAN)
    assert floor.hot_ns == pytest.approx(ns, rel=2e-3)
    assert floor.settled


@given(st.lists(PACES, min_size=6, max_size=20), PACES)
def test_the_reference_scales_a_floor_and_settles_nothing(paces: list[int], pace: int) -> None:
    visits = [visit(10**6, pace_ns=p) for p in paces]
    own = reference_pace_ns(visits)
    assert own is not None
    mine, other = summarize(visits, CPU, PLAN), summarize(visits, CPU, PLAN, pace_ns=pace)
    assert other.hot_ns == pytest.approx(mine.hot_ns * pace / own)
    assert other.spread == pytest.approx(mine.spread)


@given(st.integers(10**4, 10**8), st.integers(0, 6), st.integers(115, 200))
def test_a_slow_phase_that_slows_a_model_less_than_the_pace_is_set_aside(
    ns: int, slow: int, percent: int
) -> None:
    steady = [visit(ns, pace_ns=9000)] * 6
    phase = [visit(ns, pace_ns=90 * percent)] * slow
    floor = summarize([*steady, *phase], CPU, PLAN)
    assert floor.hot_ns == pytest.approx(ns)
    assert floor.settled
    assert floor.visits == 6 + slow


def test_a_core_that_is_slow_for_most_of_the_visits_is_the_device_as_it_is() -> None:
    visits = [visit(9000, pace_ns=9000), *[visit(18000, pace_ns=18000)] * 11]
    assert summarize(visits, CPU, PLAN).hot_ns == pytest.approx(9000)
    visits = [visit(9000, pace_ns=9000), *[visit(15000, pace_ns=18000)] * 11]
    assert summarize(visits, CPU, PLAN).hot_ns == pytest.approx(7500)


@given(st.integers(12, 60), st.randoms())
def test_one_visit_in_twelve_may_be_too_fast(n: int, order: random.Random) -> None:
    odd = n // 12
    visits = [visit(8000, pace_ns=9000)] * odd + [visit(10000, pace_ns=9000)] * (n - odd)
    floor = summarize(order.sample(visits, n), CPU, PLAN)
    assert floor.settled
    assert not summarize([visit(8000, pace_ns=9000), *visits], CPU, PLAN).settled or n % 12 == 11


def test_visits_of_which_one_has_no_pace_are_taken_as_they_are() -> None:
    visits = [visit(1000, pace_ns=100), visit(1000, pace_ns=200), visit(1000)]
    assert reference_pace_ns(visits) is None
    assert reference_pace_ns([]) is None
    assert summarize(visits, CPU, PLAN, pace_ns=50).hot_ns == 1000


def test_a_sample_from_which_too_much_was_subtracted_is_left_out() -> None:
    stolen = replace(
        visit(5348), hot_wall_ns=(5949, 5909, 58617, 6590), hot_cpu_ns=(5348, 5278, 2100, 5708)
    )
    assert hot_minimum_ns(stolen, CPU) == 5278
    assert hot_minimum_ns(stolen, "wall-time") == 5909


def test_when_all_samples_were_preempted_the_smallest_counts() -> None:
    preempted = replace(visit(1), hot_wall_ns=(9000, 9100), hot_cpu_ns=(5000, 5100))
    assert hot_minimum_ns(preempted, CPU) == 5000


@given(st.lists(TIMES, min_size=1, max_size=70))
def test_done_is_settled_or_at_the_maximum(times: list[int]) -> None:
    visits = [visit(ns) for ns in times]
    settled = summarize(visits, CPU, PLAN).settled
    assert is_done(visits, CPU, PLAN) == (settled or len(times) >= PLAN.max_visits)


def test_the_least_number_of_visits_is_demanded() -> None:
    plan = ResidentPlan(min_visits=6)
    assert not is_done([visit(1000)] * 5, CPU, plan)
    assert is_done([visit(1000)] * 6, CPU, plan)


def test_no_visits_are_no_floor() -> None:
    with pytest.raises(NoVisits, match="found none"):
        summarize([], CPU, PLAN)


def test_a_visit_holds_positive_times_only() -> None:
    good = visit(1000, pace_ns=10)
    changes: list[tuple[str, Any]] = [
        ("cold_cpu_ns", 0),
        ("cold_wall_ns", -1),
        ("hot_cpu_ns", (1, 0, 1)),
        ("hot_wall_ns", ()),
        ("hot_wall_ns", (1,)),
        ("pace_ns", 0),
    ]
    for field, value in changes:
        with pytest.raises(ValueError, match=r"visit has hot samples|positive time"):
            replace(good, **{field: value})
