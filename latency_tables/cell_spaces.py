"""Cell spaces: what a table by operators needs to price a space of cells.

Which operators its networks have follows from how wide a cell's states and outputs may be; they are
few, and found by drawing networks until many in a row bring none that is new. An operator so rare
that no draw has it is one that the table misses later, by name.
"""

from __future__ import annotations

import numpy as np

from latency_tables.granularity import BASELINE
from networks.cells import CellNetwork
from networks.names import name_network
from networks.operators import SingleOperator, operators_of
from networks.spaces.nasnet import NasNetSpace

QUIET_DRAWS = 400
"""Networks in a row without a new operator until the search for operators ends."""
CANDIDATES = 100


def operators_of_space(space: NasNetSpace, *, seed: int = 0) -> tuple[SingleOperator, ...]:
    """Return the operators of the space's networks, `BASELINE` first, each once."""
    rng = np.random.default_rng(seed)
    found = {BASELINE: None}
    quiet = 0
    while quiet < QUIET_DRAWS:
        before = len(found)
        network = space.decode(space.sample(1, rng)[0])
        found.update(dict.fromkeys(operators_of(network)))
        quiet = 0 if len(found) > before else quiet + 1
    return tuple(found)


def choose_cell_networks(
    space: NasNetSpace, *, n: int = 9, seed: int = 0
) -> tuple[CellNetwork, ...]:
    """Return up to ``n`` networks of evenly spread multiply-adds, before any is measured."""
    drawn = space.sample(CANDIDATES, np.random.default_rng(seed), uniform_over="networks")
    networks = {space.decode(row) for row in drawn}
    candidates = sorted(networks, key=lambda network: (network.madds, name_network(network)))
    places = np.linspace(0, len(candidates) - 1, min(n, len(candidates))).round().astype(int)
    return tuple(candidates[place] for place in sorted(set(places.tolist())))
