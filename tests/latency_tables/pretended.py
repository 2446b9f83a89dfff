"""A pretended device whose latency is a sum over operators, with tiles of 16 channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latency_tables.features import features_of
from latency_tables.table import LatencyTable, MeasuredNetwork
from networks.block_strings import format_network
from networks.network import Network
from networks.spaces import make_space
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

Floats = npt.NDArray[np.float64]

SPACE = make_space("mnasnet", resolution=32)
LAYERS = SPACE.layers[::8]
FEATURES = features_of(LAYERS)
SCALE = 1.08


def pretended_ms(seed: int, *, noise: float = 0.01) -> Floats:
    """Return the latency of each of `LAYERS`: each kind of operator has rates of its own."""
    rng = np.random.default_rng(seed)
    rates = np.exp(rng.normal(0, 0.5, (FEATURES.kinds.max() + 1, 3))) * (2e-3, 2e-7, 1e-7)
    tile = FEATURES.work[:, [0, 1, 4]]  # calls, values moved, multiply-adds in tiles of 16
    latency_ms = FEATURES.counts @ (tile * rates[FEATURES.kinds]).sum(axis=1)
    return np.asarray(latency_ms * np.exp(rng.normal(0, noise, len(latency_ms))))


def table_of(latency_ms: Floats, rows: npt.NDArray[np.int64], name: str = "t") -> LatencyTable:
    """Return the table of these of `LAYERS`."""
    made = [make_row(LAYERS[row].key, float(latency_ms[row])) for row in rows]
    return LatencyTable.from_rows(name, CONDITION, made, provenance=PROVENANCE)


def measured(network: Network, latency_ms: float) -> MeasuredNetwork:
    """Return a network as a table has it."""
    keys = tuple(layer.key for layer in network.layers)
    text = format_network(network)
    return MeasuredNetwork(text, keys, latency_ms, None, 6, "ok", 1.0, f"{hash(text) % 2**64:064x}")
