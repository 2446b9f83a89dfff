from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agents.local import LocalAgent
from device_agents.measurement import ModelFile, ResidentPlan
from device_agents.simulated import SimulatedAgent
from exporters.exporter import export_layer, export_network
from latency_tables.calibration import fit_calibration
from latency_tables.end_to_end import measure_model, prediction_interval
from latency_tables.errors import ConditionMismatch, NotMeasured, ValidationError
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import Calibration, LatencyTable, MeasuredNetwork
from latency_tables.validation import ValidatedNetwork, compare, validate
from networks.graph import Shape
from networks.layers import Classifier, Conv
from networks.network import Network
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

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


def network_of(layers: list[str], latency_ms: float) -> MeasuredNetwork:
    return MeasuredNetwork("n", tuple(layers), latency_ms, 1.0, 6, "ok", 1.0, "f" * 64)


@settings(deadline=None)
@given(
    st.floats(0.5, 2),
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), min_size=1, max_size=6),
)
def test_an_exact_factor_is_found(scale: float, networks: list[list[str]]) -> None:
    rows = [make_row(key, value) for key, value in (("a", 1.0), ("b", 0.3), ("c", 5.0))]
    table = LatencyTable.from_rows("t", CONDITION, rows, provenance=PROVENANCE)
    measured = [network_of(keys, scale * float(table.hot_ms(keys).sum())) for keys in networks]
    found = fit_calibration(table, measured)
    assert found is not None
    assert found.scale == pytest.approx(scale)
    assert found.networks == len(networks)
    assert found.residual == (None if len(networks) == 1 else pytest.approx(0.0, abs=1e-9))


def test_one_disturbed_network_does_not_move_the_scale() -> None:
    table = LatencyTable.from_rows("t", CONDITION, [make_row("a", 1.0)], provenance=PROVENANCE)
    networks = [network_of(["a"] * n, 1.1 * n) for n in range(3, 7)]
    found = fit_calibration(table, [*networks, network_of(["a"], 1.9), network_of(["?"], 9.0)])
    assert found is not None
    assert found.scale == pytest.approx(1.1)
    assert found.networks == 5
    assert fit_calibration(table, [network_of(["?"], 9.0)]) is None


def point(predicted: float, first: float, second: float, madds: int) -> ValidatedNetwork:
    return ValidatedNetwork(str(madds), predicted, first, second, madds)


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


def test_perfect_madds_have_no_error_after_scaling() -> None:
    result = compare([point(madds / 5, madds / 7, madds / 7, madds) for madds in (3, 5, 14)])
    assert result.madds_mape_pct == pytest.approx(0.0, abs=1e-9)


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
