from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from device_agents.local import LocalAgent
from device_agents.measurement import FailedVisit, ModelFile, Plan, ResidentPlan, Visit
from device_agents.processes import ProcessVisit
from device_agents.simulated import SimulatedAgent
from exporters.exporter import export_layer
from latency_tables.calibration import choose_networks
from latency_tables.errors import ConditionMismatch, JournalLocked, NotMeasured
from latency_tables.journal import Journal, JournalWriter, Model
from latency_tables.profile import ProfileResult, profile
from latency_tables.publishing import build_table
from latency_tables.store import TableDirectory, TableStore
from latency_tables.table import LatencyTable
from networks.graph import Shape
from networks.layers import Bottleneck, Classifier, Conv, Layer
from networks.network import Network
from networks.spaces import make_space

PLAN = ResidentPlan(hot=2, min_visits=4, max_visits=12, min_span_s=0.2)
IMAGE = Shape(16, 16, 3)
STEM = Conv(IMAGE, 8, kernel=3, stride=2)
BODIES = [Bottleneck(STEM.output, 8, kernel=k, expanded=e) for k in (3, 5) for e in (8, 16, 24)]
HEAD = Classifier(BODIES[0].output, 10)
LAYERS: list[Layer] = [STEM, *BODIES, HEAD]
NETWORKS = [Network((STEM, BODIES[0], HEAD)), Network((STEM, *BODIES, HEAD))]


class Interrupting(SimulatedAgent):
    """Ctrl-C after some visits."""

    def __init__(self, after: int, *, noise: float = 0.01) -> None:
        super().__init__(noise=noise)
        self.after = after

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[Visit | ProcessVisit]] | None = None,
        seed: int = 0,
    ) -> Iterator[Visit | FailedVisit]:
        for number, visit in enumerate(super().measure(models, plan, done=done, seed=seed)):
            if number == self.after:
                raise KeyboardInterrupt
            yield visit


def run(agent: SimulatedAgent | LocalAgent, directory: TableDirectory) -> ProfileResult:
    return profile(agent, LAYERS, directory, networks=NETWORKS, plan=PLAN)


def test_a_profile_prices_every_layer_and_calibrates(directory: TableDirectory) -> None:
    seen: list[tuple[int, int, str]] = []
    result = profile(
        SimulatedAgent(), LAYERS, directory, networks=NETWORKS, plan=PLAN,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert (result.layers, result.measured, result.remaining, result.coverage) == (8, 8, 0, 1.0)
    assert result.invalid == {}
    table = directory.load()
    assert {layer.key for layer in LAYERS} == set(table.rows["layer"].to_pylist())
    assert table.calibration is not None
    assert table.calibration.networks == 2
    assert [len(network.layers) for network in table.networks] in ([3, 8], [8, 3])
    assert seen[-1] == (48, 48, "measured 10 of 10 models")  # 8 layers, 2 networks
    assert all(done <= total for done, total, _ in seen)


def test_running_again_measures_nothing_twice(directory: TableDirectory) -> None:
    first = run(SimulatedAgent(), directory)
    with Journal.open(directory.journal) as journal:
        visits = journal.count_visits()
    second = run(SimulatedAgent(seed=9), directory)
    with Journal.open(directory.journal) as journal:
        assert journal.count_visits() == visits
    assert second.table == first.table


@pytest.mark.parametrize("after", [0, 1, 7, 23, 37])
def test_resumed_measures_what_an_uninterrupted_run_would(tmp_path: Path, after: int) -> None:
    whole, resumed = (TableStore(tmp_path).directory(name) for name in ("whole", "resumed"))
    run(SimulatedAgent(noise=1e-9), whole)
    interrupting = Interrupting(after, noise=1e-9)
    with pytest.raises(KeyboardInterrupt):
        run(interrupting, resumed)
    with Journal.open(resumed.journal) as journal:
        assert journal.count_visits() == after
    later = SimulatedAgent(noise=1e-9)
    later.now_unix_s = interrupting.now_unix_s
    run(later, resumed)
    ours, theirs = resumed.load(), whole.load()
    for column in ("layer", "hot_ms", "visits", "status", "sha256"):
        assert ours.rows[column].to_pylist() == pytest.approx(theirs.rows[column].to_pylist())
    assert ours.calibration == theirs.calibration


def test_a_layer_that_fails_is_invalid_and_has_no_number(
    tmp_path: Path, directory: TableDirectory
) -> None:
    bad, flaky = (export_layer(layer, tmp_path / "x.tflite").sha256 for layer in BODIES[:2])
    agent = SimulatedAgent(faults={bad: ["rejected"], flaky: ["crashed"]})
    result = run(agent, directory)
    assert not agent.unused_faults
    assert result.invalid == {BODIES[0].key: "rejected: as the script says"}
    assert (result.measured, result.remaining) == (7, 0)
    table = directory.load()
    assert BODIES[0].key not in table
    assert BODIES[1].key in table


def test_a_budget_that_runs_out_publishes_what_there_is(directory: TableDirectory) -> None:
    with pytest.raises(NotMeasured, match="expected a budget longer than 0 s"):
        profile(SimulatedAgent(), LAYERS, directory, plan=PLAN, budget_s=0.0)
    assert not (directory.path / "current").exists()
    agent = Interrupting(29)
    with pytest.raises(KeyboardInterrupt):
        profile(agent, LAYERS, directory, plan=PLAN)
    result = profile(SimulatedAgent(), LAYERS, directory, plan=PLAN, budget_s=0.0)
    assert result.measured > 0
    assert result.measured + result.remaining == 8
    assert result.coverage == result.measured / 8


def test_one_profile_at_a_time_and_one_condition_a_table(directory: TableDirectory) -> None:
    run(SimulatedAgent(), directory)
    with JournalWriter.open(directory.journal), pytest.raises(JournalLocked):
        run(SimulatedAgent(), directory)
    with pytest.raises(ConditionMismatch, match=r"device 'simulated' \| 'phone'"):
        run(SimulatedAgent(name="phone"), directory)


def test_publishing_does_not_depend_on_the_order_of_visits(tmp_path: Path) -> None:
    directory = TableStore(tmp_path).directory("one")
    run(SimulatedAgent(noise=0.05), directory)
    with Journal.open(directory.journal) as journal:
        (session,) = journal.sessions()
        visits = [v for visits in journal.visits(session.condition).values() for v in visits]
        models = list(journal.models())
    random.Random(3).shuffle(visits)
    random.Random(3).shuffle(models)
    with JournalWriter.open(tmp_path / "shuffled.sqlite") as shuffled:
        shuffled.name(models)
        number = shuffled.begin(
            started_unix_s=0.0, purpose="profile", address="simulated", tool_version="", seed=0,
            condition=session.condition,
        )  # fmt: skip
        for visit in visits:
            shuffled.append(number, visit)
        again = build_table("one", shuffled, session.condition, PLAN, address="simulated")
    expected = directory.load()
    order = ["journal_rows", "measured_unix_s"]  # the journal's, not that of clocks
    assert again.rows.drop_columns(order).equals(expected.rows.drop_columns(order))
    assert again.calibration == expected.calibration


def test_of_two_files_of_one_layer_the_later_counts(tmp_path: Path) -> None:
    condition = SimulatedAgent().condition(precision="float32", plan=PLAN)
    with JournalWriter.open(tmp_path / "j.sqlite") as journal:
        key = STEM.key
        journal.name([Model("a" * 64, "layer", key, (key,)), Model("b" * 64, "layer", key, (key,))])
        session = journal.begin(
            started_unix_s=0.0, purpose="profile", address="", tool_version="", seed=0,
            condition=condition,
        )  # fmt: skip
        for sha256, at, ns in (("b" * 64, 0.0, 100), ("a" * 64, 50.0, 200)):
            for number in range(5):
                hot = (ns, ns)
                visit = Visit(sha256, at + number, ns, ns, hot, hot, 0, 0.0, 0.0)
                journal.append(session, visit)
        table = build_table("t", journal, condition, PLAN, address="")
    assert table.row(key).hot_ms == pytest.approx(200e-6)


def test_this_machine_can_be_profiled(directory: TableDirectory) -> None:
    quick = replace(PLAN, tolerance=1.0)
    with LocalAgent() as agent:
        result = profile(agent, LAYERS, directory, networks=NETWORKS, plan=quick)
    table = LatencyTable.load(result.table)
    assert result.measured == 8
    assert table.condition.statistic == "thread-cpu-time"
    assert 0 < table.row(STEM.key).hot_ms < 100
    assert table.calibration is not None


def test_calibration_networks_span_the_space() -> None:
    space = make_space("accel-nasbench", resolution=32)
    chosen = choose_networks(space, seed=4)
    madds = [network.madds for network in chosen]
    assert madds == sorted(madds)
    assert madds[-1] > 1.3 * madds[0]
    assert chosen == choose_networks(space, seed=4)
