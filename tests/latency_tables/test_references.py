"""References of a new table: taken once, where they cost little, and kept by refreshes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from device_agents.measurement import DEFAULT_PLAN, ResidentPlan
from device_agents.simulated import SimulatedAgent
from latency_tables.anchors import FRESH_PROCESSES, read_history
from latency_tables.journal import Journal, JournalWriter
from latency_tables.profile import ProfileResult, profile
from latency_tables.references import refresh_plan, take_references
from latency_tables.refresh import refresh
from latency_tables.refresh_session import RefreshRequest
from latency_tables.store import TableDirectory
from networks.graph import Shape
from networks.layers import Bottleneck, Layer
from networks.network import Network

PLAN = ResidentPlan(hot=2, min_visits=4, max_visits=8, min_span_s=0.0)
IMAGE = Shape(4, 4, 8)
LAYERS: list[Layer] = [Bottleneck(IMAGE, 8, kernel=3, expanded=8 * e) for e in range(1, 49)]
NETWORKS = [Network((LAYERS[i], LAYERS[i + 1])) for i in (0, 20)]


def run(
    directory: TableDirectory,
    *,
    seed: int = 0,
    layers: list[Layer] = LAYERS,
    budget_s: float | None = None,
    after_s: float = 0.0,
    seen: list[str] | None = None,
) -> ProfileResult:
    agent = SimulatedAgent(seed=seed, noise=0.002)
    agent.now_unix_s += after_s
    return profile(
        agent, layers, directory, networks=NETWORKS, plan=PLAN, budget_s=budget_s,
        progress=lambda done, total, text: seen.append(text) if seen is not None else None,
    )  # fmt: skip


def purposes(directory: TableDirectory) -> Counter[str]:
    with Journal.open(directory.journal) as journal:
        return Counter(session.purpose for session in journal.sessions())


def test_a_whole_table_takes_references_once(directory: TableDirectory) -> None:
    seen: list[str] = []
    first = run(directory, seen=seen)
    assert seen[-1] == "anchors for later refreshes"
    assert first.measured == len(LAYERS)
    taken = {"profile": 1, "anchors": FRESH_PROCESSES, "anchors-within": 1}
    assert purposes(directory) == taken
    table = directory.load()
    assert len(directory.versions()) == 1
    assert len(table.provenance.sessions) == 1
    with Journal.open(directory.journal) as journal:
        history = read_history(journal, table.condition, PLAN, pace_ns=None)
    assert len(history) == FRESH_PROCESSES
    labels = {anchor.label for anchor in table.anchors}
    assert [session.keys() for session in history] == [labels] * FRESH_PROCESSES
    assert run(directory, seed=1).table == first.table
    assert purposes(directory) == taken


def test_its_first_refresh_has_them(directory: TableDirectory, tmp_path: Path) -> None:
    run(directory)
    alone = TableDirectory(tmp_path / "alone")
    run(alone, budget_s=3600.0, layers=LAYERS[:8])
    assert purposes(alone) == {"profile": 1}
    bands = {}
    agent = SimulatedAgent(seed=5, noise=0.002)
    agent.now_unix_s += 60
    wanted = RefreshRequest(plan=PLAN, now_unix_s=lambda: agent.now_unix_s)
    for which in (directory, alone):
        anchors = which.load().anchors
        assert refresh(agent, which, wanted).drift.cause == "none"
        bands[which.path] = anchors[-1].band
    # the error of 3 now and 4 then, and of 3 now and 1 then
    assert bands[directory.path] < 0.8 * bands[alone.path]


@pytest.mark.parametrize("why", ["small", "older rows", "uncalibrated", "incomplete"])
def test_where_they_are_not_worth_it_there_are_none(directory: TableDirectory, why: str) -> None:
    if why == "small":
        run(directory, layers=LAYERS[:8])
    elif why == "older rows":
        run(directory, layers=LAYERS[:8])
        run(directory, after_s=86400.0)
    elif why == "uncalibrated":
        profile(SimulatedAgent(), LAYERS, directory, plan=PLAN)
    else:
        run(directory, layers=LAYERS[:8])
        run(directory, layers=LAYERS, budget_s=0.0)
    assert purposes(directory)["anchors"] == 0


def test_they_are_taken_as_a_refresh_takes_them() -> None:
    assert refresh_plan(DEFAULT_PLAN) == DEFAULT_PLAN
    assert refresh_plan(replace(DEFAULT_PLAN, min_span_s=60.0)) == DEFAULT_PLAN
    assert refresh_plan(PLAN) == PLAN


def test_without_time_for_all_of_them_none_is_begun(directory: TableDirectory) -> None:
    run(directory, layers=LAYERS[:8])
    with JournalWriter.open(directory.journal) as journal:
        taken = take_references(
            journal, SimulatedAgent(), directory.load(), [], DEFAULT_PLAN, tool_version="",
            deadline_s=time.monotonic() + DEFAULT_PLAN.min_span_s, progress=lambda *_: None,
        )  # fmt: skip
    assert taken == 0
    assert purposes(directory) == {"profile": 1}
