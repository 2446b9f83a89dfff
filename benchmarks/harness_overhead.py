"""Harness: what a visit costs beyond its invocations, and whether two sessions agree.

Overhead is the time from one visit's start to the next, less the invocations, over tiny models;
once with a consumer that does nothing, once with one that commits each visit to SQLite.
Repeatability is the floors of real layers in two sessions, each with its own worker process.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path

from benchmarks.claim import print_claim
from device_agents.floor import reference_pace_ns, summarize
from device_agents.local import STATISTIC, LocalAgent
from device_agents.measurement import DEFAULT_PLAN, ModelFile, ResidentPlan, Visit
from exporters.layer_files import export_layers
from networks.spaces import make_space

TARGET_OVERHEAD_MS = 0.3
TARGET_WITHIN_3_PCT = 90.0
CLAIM = (
    f"a visit costs under {TARGET_OVERHEAD_MS:g} ms beyond its invocations, and at least "
    f"{TARGET_WITHIN_3_PCT:g} % of layers are within 3 % of a second session"
)
TINY_LAYERS = 50
OVERHEAD_ROUNDS = 40


def choose_layers(folder: Path, count: int, *, seed: int = 0) -> list[ModelFile]:
    """Export a random sample of the 224-pixel mnasnet space's layers."""
    layers = random.Random(seed).sample(list(make_space("mnasnet", resolution=224).layers), count)
    return [ModelFile(m.path, m.sha256) for _, m in export_layers(layers, folder)]


def overheads_ms(
    agent: LocalAgent, models: Sequence[ModelFile], consume: Callable[[Visit], None]
) -> list[float]:
    """Return for each visit the time to the next one's start, less its invocations."""
    plan = ResidentPlan(min_visits=OVERHEAD_ROUNDS, max_visits=OVERHEAD_ROUNDS, min_span_s=0.0)
    visits: list[Visit] = []
    for visit in islice(agent.measure(models, plan), OVERHEAD_ROUNDS * len(models)):
        if isinstance(visit, Visit):
            consume(visit)
            visits.append(visit)
    return [
        (after.started_unix_s - visit.started_unix_s) * 1e3
        - (visit.cold_wall_ns + sum(visit.hot_wall_ns)) / 1e6
        for visit, after in pairwise(visits)
    ]


def floors_ns(
    agent: LocalAgent, models: Sequence[ModelFile], *, seed: int
) -> tuple[dict[str, float], int]:
    """Return the floor of each model in one session, and the number of visits in all."""
    visits: dict[str, list[Visit]] = {model.sha256: [] for model in models}
    for visit in agent.measure(models, DEFAULT_PLAN, seed=seed):
        if isinstance(visit, Visit):
            visits[visit.sha256].append(visit)
    pace_ns = reference_pace_ns([v for of_model in visits.values() for v in of_model])
    floors = {
        sha256: summarize(of_model, STATISTIC, DEFAULT_PLAN, pace_ns=pace_ns).hot_ns
        for sha256, of_model in visits.items()
        if of_model
    }
    return floors, sum(map(len, visits.values()))


def measure(*, layers: int = 200) -> dict[str, float]:
    """Return the figures over a sample of so many layers."""
    with tempfile.TemporaryDirectory() as name, LocalAgent() as agent:
        folder = Path(name)
        models = choose_layers(folder, layers)
        idle = overheads_ms(agent, models[:TINY_LAYERS], lambda visit: None)
        with sqlite3.connect(folder / "visits.sqlite") as database:
            database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
            database.execute("CREATE TABLE visits (content TEXT)")

            def commit(visit: Visit) -> None:
                database.execute("INSERT INTO visits VALUES (?)", (repr(visit),))
                database.commit()

            busy = overheads_ms(agent, models[:TINY_LAYERS], commit)
        database.close()
        first, first_visits = floors_ns(agent, models, seed=1)
        second, second_visits = floors_ns(agent, models, seed=2)
    apart = [abs(first[sha256] / second[sha256] - 1) * 100 for sha256 in first]
    return {
        "overhead_ms_median": statistics.median(idle),
        "overhead_ms_p90": sorted(idle)[int(0.9 * len(idle))],
        "overhead_committing_ms_median": statistics.median(busy),
        "layers": len(apart),
        "visits_a_layer": (first_visits + second_visits) / (2 * len(apart)),
        "apart_pct_median": statistics.median(apart),
        "apart_pct_p90": sorted(apart)[int(0.9 * len(apart))],
        "within_3_pct": 100 * sum(a <= 3 for a in apart) / len(apart),
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layers", type=int, default=200)
    options = parser.parse_args()
    figures = measure(layers=options.layers)
    holds = (
        figures["overhead_ms_median"] < TARGET_OVERHEAD_MS
        and figures["within_3_pct"] >= TARGET_WITHIN_3_PCT
    )
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
