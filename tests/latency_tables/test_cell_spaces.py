from __future__ import annotations

import numpy as np

from latency_tables.cell_spaces import choose_cell_networks, operators_of_space
from latency_tables.granularity import BASELINE
from networks.operators import operators_of
from networks.spaces.nasnet import nasnet

SPACE = nasnet(repeats=1, filters=8)


def test_a_table_by_operators_would_price_networks_that_were_not_drawn() -> None:
    known = operators_of_space(SPACE)
    assert known[0] == BASELINE
    assert len(known) == len(set(known))
    others = SPACE.sample(50, np.random.default_rng(99), uniform_over="networks")
    assert {op for row in others for op in operators_of(SPACE.decode(row))} <= set(known)


def test_networks_to_calibrate_with_spread_over_multiply_adds() -> None:
    chosen = choose_cell_networks(SPACE, n=5)
    assert len(chosen) == 5
    madds = [network.madds for network in chosen]
    assert madds == sorted(madds)
    assert madds[-1] > 2 * madds[0]
    assert choose_cell_networks(SPACE, n=5) == chosen
