"""Row intervals: how often another session's value lies in a row's 90 % interval.

First sessions are tables that `benchmarks.recorded` made (``--recorded``), or are recorded now. A
second session profiles a random sample of the same layers anew: other processes, minutes or hours
later. Each is held against the other. So are whole networks, which each table's validation
measured in two passes.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.claim import print_claim
from benchmarks.recorded import CONDITIONS, PLAN, RecordedCondition, agent_of, conditions_of
from latency_tables.calibration import choose_networks
from latency_tables.intervals import SESSION_OF_NETWORKS, intervals
from latency_tables.journal import Journal
from latency_tables.profile import profile
from latency_tables.publishing import build_table
from latency_tables.store import TableDirectory
from latency_tables.summaries import summarize_entries
from latency_tables.table import Floats, LatencyTable
from networks.layers import Layer
from networks.spaces import make_space

LOWEST, HIGHEST = 0.85, 0.95
CLASSES_MS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, np.inf)
CLAIM = (
    f"between {100 * LOWEST:g} and {100 * HIGHEST:g} % of layers have their value of another"
    " session in their 90 % interval"
)
Pairs = Floats
"""Shape ``(n, 4)``: value, low and high of one session, value of the other, in ms."""


def rebuild(directory: TableDirectory) -> LatencyTable:
    """Return the table that the journal gives now, whichever version wrote the published one."""
    condition = directory.load().condition
    with Journal.open(directory.journal) as journal:
        return build_table(directory.name, journal, condition, PLAN, address="local")


def record_again(
    directory: TableDirectory, condition: RecordedCondition, layers: Sequence[Layer]
) -> LatencyTable:
    """Return the table of one more session of these layers, kept in this directory."""
    with agent_of(condition) as agent:
        profile(
            agent, layers, directory, networks=choose_networks(make_space("mnasnet")),
            precision=condition.precision, plan=PLAN,
        )  # fmt: skip
    return rebuild(directory)


def layer_pairs(first: LatencyTable, second: LatencyTable) -> Pairs:
    """Return the layers of both tables, each session's interval beside the other's value."""
    found = []
    for one, other in ((first, second), (second, first)):
        rows = [row for row in one.rows.to_pylist() if row["layer"] in other]
        values = other.hot_ms([row["layer"] for row in rows])
        own = [[row[name] for name in ("hot_ms", "low_ms", "high_ms")] for row in rows]
        found.append(np.column_stack([np.array(own), values]))
    return np.concatenate(found)


def network_pairs(directory: TableDirectory) -> Pairs:
    """Return the networks of a validation, each pass's interval beside the other's value."""
    condition = directory.load().condition
    with Journal.open(directory.journal) as journal:
        pace_ns = journal.pace_ns(condition)
        entries = journal.entries(condition, purposes=["validate"])
    sessions = sorted({entry.session for some in entries.values() for entry in some})[:2]
    passes = []
    for session in sessions:
        mine = {key: [e for e in some if e.session == session] for key, some in entries.items()}
        found = {k: summarize_entries(v, condition, PLAN, pace_ns=pace_ns) for k, v in mine.items()}
        passes.append({k: summary for k, summary in found.items() if summary is not None})
    both = sorted(set.intersection(*map(set, passes)))
    pairs = []
    for one, other in (passes, passes[::-1]):
        ends = intervals([one[key].evidence for key in both], session=SESSION_OF_NETWORKS)
        for key, interval in zip(both, ends, strict=True):
            assert interval is not None
            pairs.append([one[key].floor.hot_ns, *interval, other[key].floor.hot_ns])
    return np.array(pairs) / 1e6


def coverage(pairs: Pairs) -> float:
    """Return the share whose other value lies in the interval."""
    _, low, high, other = pairs.T
    return float(((low <= other) & (other <= high)).mean())


def half_width_pct(pairs: Pairs) -> float:
    """Return the median of half an interval, in percent of the value."""
    return 50 * float(np.median((pairs[:, 2] - pairs[:, 1]) / pairs[:, 0]))


def figures_of(layers: Mapping[str, Pairs], networks: Mapping[str, Pairs]) -> dict[str, float]:
    """Return coverage and width: of all, by condition, by size class."""
    pooled = np.concatenate(list(layers.values()))
    figures = {
        "layers": len(pooled) / 2,
        "coverage": coverage(pooled),
        "half_width_pct": half_width_pct(pooled),
    }
    for name, pairs in layers.items():
        figures[f"coverage_{name}"] = coverage(pairs)
        figures[f"half_width_pct_{name}"] = half_width_pct(pairs)
    for low, high in pairwise(CLASSES_MS):
        some = pooled[(low <= pooled[:, 0]) & (pooled[:, 0] < high)]
        if len(some):
            figures[f"coverage_from_{low:g}_ms"] = coverage(some)
            figures[f"layers_from_{low:g}_ms"] = len(some) / 2
    if networks:
        pooled = np.concatenate(list(networks.values()))
        figures |= {"networks": len(pooled) / 2, "coverage_networks": coverage(pooled)}
        figures |= {f"coverage_networks_{name}": coverage(p) for name, p in networks.items()}
    return figures


def measure(
    names: Sequence[str], recorded: Path | None, again: Path, *, n_layers: int
) -> dict[str, float]:
    """Return the figures; sessions that ``again`` holds are not measured again."""
    layers = random.Random(1).sample(list(make_space("mnasnet").layers), n_layers)
    pairs, networks = {}, {}
    for condition in conditions_of(names):
        if recorded is None:
            first = record_again(TableDirectory(again / "1" / condition.name), condition, layers)
        else:
            directory = TableDirectory(recorded / condition.name)
            first = rebuild(directory)
            networks[condition.name] = network_pairs(directory)
        second = record_again(TableDirectory(again / "2" / condition.name), condition, layers)
        pairs[condition.name] = layer_pairs(first, second)
        print(f"{condition.name}: {coverage(pairs[condition.name]):.3f}", file=sys.stderr)
    return figures_of(pairs, networks)


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--recorded", type=Path, help="folder of benchmarks.recorded")
    parser.add_argument("--again", type=Path, help="folder that keeps the sessions made here")
    parser.add_argument("--condition", action="append", choices=[c.name for c in CONDITIONS])
    parser.add_argument("--layers", type=int, default=200, help="a random sample of so many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(
            options.condition or ["float32"], options.recorded, options.again or Path(scratch),
            n_layers=options.layers,
        )  # fmt: skip
    holds = LOWEST <= figures["coverage"] <= HIGHEST
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
