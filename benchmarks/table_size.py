"""Table size: how long tables of a thousand to a million rows take to load, and how large they are.

Rows as a profile makes them: 12 visits each, of which the table names every one. Loading is from
the bytes on the disk to a table that prices a network, its checksum and every latency checked.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.claim import print_claim
from device_agents.simulated import SimulatedAgent
from latency_tables.store import write_whole
from latency_tables.table import SCHEMA, LatencyTable, Provenance

SIZES = (1_000, 100_000, 1_000_000)
TARGET_S = {1_000: 0.02, 100_000: 0.3, 1_000_000: 3.0}
VISITS = 12
REPEATS = 3
CLAIM = (
    "a table of a thousand rows loads in 20 ms, one of a hundred thousand in 0.3 s, one of a"
    " million in 3 s"
)


def make_table(n: int, *, seed: int = 0) -> LatencyTable:
    """Return a table of ``n`` rows with random latencies."""
    rng = np.random.default_rng(seed)
    hot, width = np.exp(rng.uniform(np.log(1e-3), np.log(10), n)), rng.uniform(1.005, 1.03, n)
    keys = (f"v1/bottleneck/14x14x{i}/c96/k5/s1/m576/relu/se0/identity" for i in range(n))
    digests = rng.bytes(32 * n).hex()
    columns = {
        "layer": sorted(keys), "hot_ms": hot, "cold_ms": 1.4 * hot, "visits": np.full(n, VISITS),
        "status": np.where(rng.random(n) < 0.01, "unstable", "ok"),
        "spread": rng.uniform(0, 0.015, n), "measured_unix_s": 1.7e9 + rng.uniform(0, 600, n),
        "sha256": [digests[64 * i : 64 * (i + 1)] for i in range(n)],
        "low_ms": hot / width, "high_ms": hot * width, "p90_ms": 1.1 * hot,
        "samples": np.full(n, 5 * VISITS), "reason": np.full(n, ""), "serial": np.full(n, "SERIAL"),
    }  # fmt: skip
    visits = np.sort(rng.permutation(n * VISITS).reshape(n, VISITS), axis=1)
    offsets = np.arange(0, (n + 1) * VISITS, VISITS, dtype=np.int32)
    ids = pa.ListArray.from_arrays(offsets, visits.ravel())
    rows = pa.table([*map(pa.array, columns.values()), ids], [*columns, "journal_rows"])
    condition = SimulatedAgent(check_files=False).condition(precision="float32")
    provenance = Provenance("simulated", "", "journal.sqlite", (1,))
    table = LatencyTable.from_rows("size", condition, [], provenance=provenance)
    return replace(table, rows=rows.cast(SCHEMA).combine_chunks())


def measure(sizes: Sequence[int]) -> dict[str, float]:
    """Return, for each number of rows, seconds to load and to price first, and megabytes."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for n in sizes:
            table, file = make_table(n), Path(scratch) / f"{n}.parquet"
            write_whole(file, table.to_bytes())
            loads, prices = [], []
            some = table.rows["layer"].take(np.linspace(0, n - 1, 20, dtype=int)).to_pylist()
            for _ in range(REPEATS):
                started_s = time.perf_counter()
                loaded = LatencyTable.load(file)
                loads.append(time.perf_counter() - started_s)
                assert np.isfinite(loaded.hot_ms(some)).all()
                prices.append(time.perf_counter() - started_s)
            assert loaded == table
            figures |= {
                f"load_s_{n}": min(loads),
                f"load_and_price_s_{n}": min(prices),
                f"megabytes_{n}": file.stat().st_size / 1e6,
            }
    return figures


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(SIZES)
    holds = all(figures[f"load_s_{n}"] <= TARGET_S[n] for n in SIZES)
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
