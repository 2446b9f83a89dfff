from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.container import ErrorbarContainer

from device_agents.local import LocalAgent
from device_agents.measurement import ModelFile, ResidentPlan
from device_agents.simulated import SimulatedAgent
from exporters.exporter import export_layer, export_network
from latency_tables.end_to_end import measure_model, prediction_interval
from latency_tables.errors import ConditionMismatch, NotMeasured, ValidationError
from latency_tables.figures import write_figure
from latency_tables.journal import Journal
from latency_tables.measuring import Progress
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import Calibration, LatencyTable, MeasuredNetwork
from latency_tables.validation import ValidatedNetwork, compare, draw_networks, validate
from latency_tables.validation_history import validations
from latency_tables.validation_plot import plot_validation
from networks.block_strings import format_network
from networks.graph import Shape
from networks.layers import Classifier, Conv
from networks.names import name_network
from networks.network import Network
from networks.spaces import make_space
from tests.latency_tables.conftest import CONDITION, PROVENANCE

PLAN = ResidentPlan(hot=2, min_visits=4, max_visits=12, min_span_s=0.2)


def chain(*widths: int) -> Network:
    layers: list[Conv | Classifier] = []
    shape = Shape(16, 16, 3)
    for width in widths:
        layers.append(Conv(shape, width, kernel=3))
        shape = layers[-1].output
    return Network((*layers, Classifier(shape, 10)))


NETWORKS = {str(w): chain(*w) for w in ((8,), (8, 8), (8, 16, 8), (16, 16, 16, 16), (32, 8))}
LAYERS = tuple({layer: None for network in NETWORKS.values() for layer in network.layers})


def point(
    predicted: float, first: float, second: float, madds: int, reach: float | None = None
) -> ValidatedNetwork:
    interval = None if reach is None else (predicted - reach, predicted + reach)
    return ValidatedNetwork(str(madds), predicted, first, second, madds, interval)


def test_figures_are_as_defined() -> None:
    result = compare(
        [point(1.1, 1.0, 1.0, 10), point(1.8, 1.98, 2.02, 30), point(4.0, 4.0, 4.0, 20)]
    )
    assert result.mape_pct == pytest.approx(100 * (0.1 + 0.1 + 0) / 3)
    assert result.bias_pct == pytest.approx(0.0, abs=1e-9)
    assert result.repeatability_pct == pytest.approx(0.0)
    assert [result.spearman, result.kendall] == pytest.approx([1.0, 1.0])
    assert result.madds_spearman == pytest.approx(0.5)
    assert result.worst.predicted_ms in (1.1, 1.8)
    assert result.passes_pct == pytest.approx(0.0)
    assert result.inside_pct is None
    assert result.intervals_hold


def test_perfect_madds_have_no_error_after_scaling() -> None:
    result = compare([point(madds / 5, madds / 7, madds / 7, madds) for madds in (3, 5, 14)])
    assert result.madds_mape_pct == pytest.approx(0.0, abs=1e-9)


def test_measurements_in_their_intervals_are_counted() -> None:
    result = compare(
        [point(1.0, 1.01, 1.011, 1, 0.01), point(2.0, 2.0, 1.9, 2, 0.01), point(3, 9, 9, 3, 0.1)]
    )
    assert [p.inside for p in result.points] == [0.5, 0.5, 0.0]
    assert result.inside_pct == pytest.approx(100 / 3)
    assert compare([*result.points, point(4.0, 4.0, 4.0, 4)]).inside_pct is None


@pytest.mark.parametrize(("inside", "holds"), [(20, True), (15, True), (14, True), (13, False)])
def test_intervals_hold_as_long_as_chance_allows(inside: int, holds: bool) -> None:
    # of 20 at 90 %, 13 or fewer lie inside in 0.2 % of cases, 14 or fewer in 1.1 %
    points = [point(n, n if n <= inside else 2 * n, n if n <= inside else 2 * n, n, 0.001 * n)
              for n in range(1, 21)]  # fmt: skip
    assert compare(points).intervals_hold is holds


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValidationError, match="measured 1"):
        compare([point(1.0, 1.0, 1.0, 1)], failed={"x": "expected 4 visits, found 0"})
    with pytest.raises(ValidationError, match="all alike"):
        compare([point(1.0, n, n, n) for n in (1, 2, 3)])


def additive_agent(folder: Path, *, scale: float, noise: float = 1e-6) -> SimulatedAgent:
    """A device on which a network takes ``scale`` times the sum of its layers, exactly."""
    latency_ns = {}
    for number, layer in enumerate(LAYERS):
        sha256 = export_layer(layer, folder / "layer.tflite").sha256
        latency_ns[sha256] = 1e5 * (1 + number)
    by_layer = dict(zip(LAYERS, latency_ns.values(), strict=True))
    for network in NETWORKS.values():
        sha256 = export_network(network, folder / "network.tflite", seed=0).sha256
        latency_ns[sha256] = scale * sum(by_layer[layer] for layer in network.layers)
    return SimulatedAgent(latency_ns.__getitem__, noise=noise)


def test_a_table_of_an_additive_device_is_exact(tmp_path: Path) -> None:
    directory = TableDirectory(tmp_path / "t")
    agent = additive_agent(tmp_path, scale=1.1)
    profile(agent, LAYERS, directory, networks=list(NETWORKS.values())[:2], plan=PLAN)
    table = directory.load()
    assert table.calibration is not None
    assert table.calibration.scale == pytest.approx(1.1, rel=1e-4)
    seen: list[tuple[int, int, str]] = []
    result = validate(
        agent, table, NETWORKS, directory.journal, plan=PLAN,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert result.networks == 5
    assert result.mape_pct < 0.01
    assert result.repeatability_pct < 0.01
    assert result.spearman == pytest.approx(1.0)
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    # what was measured to validate does not reach the table
    again = profile(agent, LAYERS, directory, networks=list(NETWORKS.values())[:2], plan=PLAN)
    assert LatencyTable.load(again.table).rows.equals(table.rows)
    assert LatencyTable.load(again.table).networks == table.networks


def test_a_network_that_fails_is_left_out_with_its_reason(tmp_path: Path) -> None:
    directory = TableDirectory(tmp_path / "t")
    agent = additive_agent(tmp_path, scale=1.0)
    profile(agent, LAYERS, directory, networks=list(NETWORKS.values())[:1], plan=PLAN)
    table = directory.load()
    bad = export_network(NETWORKS["(8, 8)"], tmp_path / "n.tflite").sha256
    failing = SimulatedAgent(agent.latency_ns, faults={bad: ["rejected"]})
    result = validate(failing, table, NETWORKS, directory.journal, plan=PLAN)
    assert result.failed == {"(8, 8)": "expected 4 visits, found 0: rejected, as the script says"}
    assert result.networks == 4
    with pytest.raises(ConditionMismatch, match=r"device 'simulated' \| 'other'"):
        validate(SimulatedAgent(name="other"), table, NETWORKS, directory.journal, plan=PLAN)


def test_networks_that_the_table_cannot_price_are_named_and_not_measured(tmp_path: Path) -> None:
    directory = TableDirectory(tmp_path / "t")
    agent = additive_agent(tmp_path, scale=1.0)
    known = {name: NETWORKS[name] for name in list(NETWORKS)[:3]}
    layers = dict.fromkeys(layer for network in known.values() for layer in network.layers)
    profile(agent, list(layers), directory, networks=list(known.values())[:1], plan=PLAN)
    table = directory.load()
    result = validate(agent, table, NETWORKS, directory.journal, plan=PLAN)
    assert [p.network for p in result.points] == list(known)
    assert list(result.unpriced) == ["(16, 16, 16, 16)", "(32, 8)"]
    assert result.unpriced["(32, 8)"].startswith("table 't' has no layer v1/conv/16x16x3/c32/")
    few = {name: NETWORKS[name] for name in ("(8,)", "(8, 8)", "(32, 8)")}
    with Journal.open(directory.journal) as journal:
        before = journal.count_visits()
    with pytest.raises(ValidationError, match=r"prices, found 2 of 3; \(32, 8\): table 't' has no"):
        validate(agent, table, few, directory.journal, plan=PLAN)
    with Journal.open(directory.journal) as journal:
        assert journal.count_visits() == before


def test_past_validations_are_read_from_the_journal(tmp_path: Path) -> None:
    directory = TableDirectory(tmp_path / "t")
    agent = additive_agent(tmp_path, scale=1.1, noise=0.02)
    profile(agent, LAYERS, directory, networks=list(NETWORKS.values())[:2], plan=PLAN)
    table = directory.load()
    assert validations(directory.journal, table, plan=PLAN) == ()
    first = validate(agent, table, NETWORKS, directory.journal, plan=PLAN)
    for step in (9, 50):  # cut short in the first pass, and in the second
        with pytest.raises(KeyboardInterrupt):
            validate(
                agent, table, NETWORKS, directory.journal, plan=PLAN, progress=interrupt_at(step)
            )
    some = {name: NETWORKS[name] for name in list(NETWORKS)[1:]}
    last = validate(agent, table, some, directory.journal, plan=PLAN)
    found = validations(directory.journal, table, plan=PLAN)
    assert [past.validation.networks for past in found] == [5, 4]
    for past, now in zip(found, (first, last), strict=True):
        for p, q in zip(past.validation.points, now.points, strict=True):
            assert replace(p, network="") == replace(q, network="")
    assert found[0].started_unix_s < found[1].started_unix_s
    assert found[0].validation.points[0].network == name_network(NETWORKS["(8,)"])


def interrupt_at(step: int) -> Progress:
    def progress(done: int, total: int, text: str) -> None:
        if done >= step:
            raise KeyboardInterrupt

    return progress


def test_drawn_networks_are_different_and_new() -> None:
    space = make_space("accel-nasbench", resolution=32)
    drawn = draw_networks(space, 30, seed=2)
    assert len(set(drawn)) == 30
    assert drawn == draw_networks(space, 30, seed=2)
    used = MeasuredNetwork(format_network(drawn[0]), (), 1.0, None, 1, "ok", 1.0, "f" * 64)
    table = LatencyTable.from_rows("t", CONDITION, [], provenance=PROVENANCE, networks=[used])
    assert drawn[0] not in draw_networks(space, 30, seed=2, table=table)
    assert draw_networks(space, 0, seed=2) == ()


@pytest.mark.parametrize("with_intervals", [True, False])
@pytest.mark.parametrize("ending", [".svg", ".PNG"])
def test_a_plot_is_written(tmp_path: Path, ending: str, with_intervals: bool) -> None:
    reach = 0.03 if with_intervals else None
    result = compare([point(n, n * 1.01, n * 1.02, n, reach) for n in (1, 2, 4)])
    figure = plot_validation(result, title="mnasnet@224")
    file = tmp_path / f"plot{ending}"
    write_figure(figure, file)
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG" if ending == ".PNG" else b"<?xml")
    left, right = figure.axes
    assert left.get_xlim() == left.get_ylim()
    assert ("90 % intervals" in right.get_title()) is with_intervals
    # every measurement is in view, and the intervals where there are any
    bars = [p for p in right.containers if isinstance(p, ErrorbarContainer) and p.has_yerr]
    assert bool(bars) is with_intervals
    assert right.get_ylim()[0] < 0 < 2 < right.get_ylim()[1]


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=5), st.floats(0.1, 10))
def test_an_interval_holds_its_middle_and_scales(values: list[float], factor: float) -> None:
    middle, (low, high) = prediction_interval(values)
    assert 0 < low <= middle * (1 + 1e-12)
    assert middle <= high * (1 + 1e-12)
    scaled, _ = prediction_interval([factor * value for value in values])
    assert scaled == pytest.approx(factor * middle)


def test_nine_of_ten_further_sessions_lie_in_the_interval() -> None:
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(2000):
        *values, further = np.exp(rng.normal(0, 0.02, 4))
        _, (low, high) = prediction_interval(values)
        inside += low <= further <= high
    assert inside / 2000 == pytest.approx(0.9, abs=0.02)


def test_a_file_is_measured_end_to_end(tmp_path: Path) -> None:
    exported = export_network(NETWORKS["(8, 8)"], tmp_path / "n.tflite")
    model = ModelFile(exported.path, exported.sha256, "network")
    agent = SimulatedAgent(lambda _: 2e6)
    result = measure_model(agent, model, plan=PLAN)
    assert result.latency_ms == pytest.approx(2.0, rel=0.02)
    assert result.interval_ms[0] < result.latency_ms < result.interval_ms[1]
    assert result.condition == agent.condition(precision="float32", plan=PLAN)
    refusing = SimulatedAgent(faults={exported.sha256: ["rejected"]})
    with pytest.raises(NotMeasured, match="found 0: rejected"):
        measure_model(refusing, model, plan=PLAN)
    with pytest.raises(ValueError, match="2 sessions or more"):
        measure_model(agent, model, plan=PLAN, sessions=1)


def test_a_file_is_measured_on_this_machine(tmp_path: Path) -> None:
    exported = export_network(NETWORKS["(32, 8)"], tmp_path / "n.tflite")
    model = ModelFile(exported.path, exported.sha256, "network")
    with LocalAgent() as agent:
        result = measure_model(agent, model, plan=replace(PLAN, tolerance=1.0), sessions=2)
    low, high = result.interval_ms
    assert 0 < low <= result.latency_ms <= high < math.inf
    assert result.statistic == "thread-cpu-time"
    assert Calibration(1.0, None, 1).residual is None
