from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.measurement import DEFAULT_PLAN, Plan
from device_agents.packs import PackedPlan
from device_agents.processes import ProcessPlan
from device_agents.simulated_phone import SimulatedPhone
from latency_tables.plan_time import Forecast, forecast, format_duration, plan_time
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from tests.latency_tables.test_profile import LAYERS, NETWORKS

PLANS: list[Plan] = [DEFAULT_PLAN, ProcessPlan(), PackedPlan()]
counts = st.integers(0, 3000)


def test_a_full_table_by_clean_processes_takes_five_to_ten_hours() -> None:
    whole = plan_time(1800, 9, ProcessPlan())
    assert 5 * 3600 < whole.wall_s < 10 * 3600
    assert whole.visits == 5 * 1809
    assert str(whole).startswith("1,800 layers and 9 networks by clean processes: 9,045 visits")


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: type(plan).__name__)
@given(layers=counts, more=counts, networks=st.integers(0, 9))
def test_more_layers_take_no_less_time(plan: Plan, layers: int, more: int, networks: int) -> None:
    few, many = plan_time(layers, networks, plan), plan_time(layers + more, networks, plan)
    assert few.wall_s <= many.wall_s
    assert few.visits <= many.visits
    assert plan_time(0, 0, plan).wall_s == 0


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: type(plan).__name__)
@given(layers=counts, budget_s=st.floats(0, 40_000), devices=st.integers(1, 4))
def test_what_fits_fits_and_one_layer_more_does_not(
    plan: Plan, layers: int, budget_s: float, devices: int
) -> None:
    found = forecast(layers, 9, plan, budget_s=budget_s, devices=devices)
    if found.fits:
        assert found.time.wall_s <= budget_s
        return
    fit = found.layers_that_fit
    assert fit is not None
    assert fit < layers or layers == 0
    assert plan_time(fit + 1, 9, plan).wall_s / devices > budget_s
    assert fit == 0 or plan_time(fit, 9, plan).wall_s / devices <= budget_s
    assert "partial table" in str(found)


def test_packed_profiling_is_proposed_where_it_is_faster_and_the_budget_too_small() -> None:
    found = forecast(1800, 9, ProcessPlan(), budget_s=3600)
    assert found.packed is not None
    assert found.packed.wall_s < 3600
    assert "--method packed" in str(found)
    assert forecast(1800, 9, ProcessPlan()).packed is None
    assert forecast(1800, 9, DEFAULT_PLAN, budget_s=1).packed is None
    assert forecast(10, 9, ProcessPlan(), budget_s=1).packed is None


def test_the_time_is_told_before_the_device_is_asked(directory: TableDirectory) -> None:
    phone, told = SimulatedPhone(), list[Forecast]()

    def announce(found: Forecast) -> None:
        assert phone.visits == 0 or len(told) == 1
        told.append(found)

    for _ in range(2):
        profile(phone, LAYERS, directory, networks=NETWORKS, announce=announce)
    first, second = told
    assert (first.time.layers, first.time.networks, first.fits) == (8, 2, True)
    assert (second.time.layers, second.time.networks, second.time.visits) == (0, 0, 0)


def test_durations_read_well() -> None:
    assert [format_duration(s) for s in (0.2, 89, 91, 3600, 34_000)] == [
        "1 s", "89 s", "2 min", "1 h 0 min", "9 h 27 min",
    ]  # fmt: skip
