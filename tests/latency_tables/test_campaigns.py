from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from device_agents.measurement import FailedVisit, Outcome
from latency_tables.campaigns import PAUSE_S, newest_campaign, split_campaigns, whole_campaigns
from tests.latency_tables.conftest import make_visit

TIMES = st.lists(st.floats(0, 20 * PAUSE_S), min_size=1, max_size=30)


@given(TIMES)
def test_campaigns_are_all_visits_in_order_with_gaps_between(times: list[float]) -> None:
    visits: list[Outcome] = [make_visit(at=at) for at in times]
    campaigns = split_campaigns(visits)
    assert [visit for campaign in campaigns for visit in campaign] == visits
    borders = {id(campaign[-1]) for campaign in campaigns}
    for before, after in itertools.pairwise(visits):
        gap_s = abs(after.started_unix_s - before.started_unix_s)
        assert (gap_s > PAUSE_S) == (id(before) in borders)


def test_a_row_is_of_the_newest_campaign_that_is_whole() -> None:
    old, begun = [make_visit(at=float(i)) for i in range(4)], make_visit(at=2 * PAUSE_S)
    assert newest_campaign([*old, begun], 4) == old
    assert newest_campaign([*old, begun], 1) == [begun]
    assert newest_campaign([old[0], begun], 4) == [old[0], begun]


def test_visits_that_failed_make_no_campaign_whole() -> None:
    lost = [FailedVisit("a" * 64, 3 * PAUSE_S + i, "crashed", "signal 11") for i in range(4)]
    old = [make_visit(at=float(i)) for i in range(4)]
    assert whole_campaigns([*old, *lost], 4) == [old]
