from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from device_agents.measurement import FailedVisit, Outcome
from latency_tables.campaigns import PAUSE_S, newest_campaign, split_campaigns, whole_campaigns
from tests.latency_tables.conftest import make_visit

TIMES = st.lists(st.floats(0, 20 * PAUSE_S), min_size=1, max_size=30)


@given(TIMES, st.randoms(use_true_random=False))
def test_campaigns_are_all_visits_and_do_not_depend_on_their_order(
    times: list[float], order: random.Random
) -> None:
    visits: list[Outcome] = [make_visit(at=at) for at in times]
    campaigns = split_campaigns(visits)
    assert sorted(v.started_unix_s for c in campaigns for v in c) == sorted(times)
    for earlier, later in itertools.pairwise(campaigns):
        assert later[0].started_unix_s - earlier[-1].started_unix_s > PAUSE_S
    order.shuffle(visits)
    again = split_campaigns(visits)
    assert [[v.started_unix_s for v in c] for c in again] == [
        [v.started_unix_s for v in c] for c in campaigns
    ]


def test_a_row_is_of_the_newest_campaign_that_is_whole() -> None:
    old, begun = [make_visit(at=float(i)) for i in range(4)], make_visit(at=2 * PAUSE_S)
    assert newest_campaign([*old, begun], 4) == old
    assert newest_campaign([*old, begun], 1) == [begun]
    assert newest_campaign([old[0], begun], 4) == [old[0], begun]


def test_visits_that_failed_make_no_campaign_whole() -> None:
    lost = [FailedVisit("a" * 64, 3 * PAUSE_S + i, "crashed", "signal 11") for i in range(4)]
    old = [make_visit(at=float(i)) for i in range(4)]
    assert whole_campaigns([*old, *lost], 4) == [old]
