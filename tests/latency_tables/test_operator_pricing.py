"""Operator pricing: on a device whose latencies are known, what tables by operators say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from device_agents.measurement import ResidentPlan
from device_agents.simulated import SimulatedAgent
from exporters.exporter import export_network
from exporters.layer_files import export_layers
from latency_tables.calibration import calibrated_ms
from latency_tables.errors import InvalidRow, MissingLayers, Uncalibrated, WrongGranularity
from latency_tables.granularity import (
    BASELINE,
    granularity_of,
    only_layers,
    units_of,
    units_to_price,
)
from latency_tables.operator_pricing import (
    CALL,
    nearest_operators,
    predict_any,
    predict_operators,
    shares_by_kind,
    shares_by_operator,
    sum_operators,
)
from latency_tables.predictor import compile_predictor
from latency_tables.profile import ProfileResult, profile
from latency_tables.store import TableDirectory, TableStore
from latency_tables.table import LatencyTable
from latency_tables.validation import validate
from latency_tables.validation_history import validations
from networks.cell_strings import parse_cell_network
from networks.errors import NotAChain
from networks.graph import Shape
from networks.layers import Bottleneck, Classifier, Conv, Layer, SqueezeExcite, lower_layer
from networks.names import NamedNetwork, name_network
from networks.network import Network
from networks.operators import (
    SingleOperator,
    Unit,
    lower_unit,
    operators_of,
    operators_of_graph,
)
from networks.spaces import make_space
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

PLAN = ResidentPlan(hot=2, min_visits=4, max_visits=12, min_span_s=0.2)
CALL_NS = 1500.0
SCALE = 1.1

STEM = Conv(Shape(16, 16, 3), 8, kernel=3, stride=2)
BODIES = [
    Bottleneck(STEM.output, 8, kernel=k, expanded=e, se=SqueezeExcite(2), skip="pool")
    for k in (3, 5)
    for e in (8, 16, 24)
]
HEAD = Classifier(BODIES[0].output, 10)
LAYERS: list[Layer] = [STEM, *BODIES, HEAD]
CHAINS = [Network((STEM, *BODIES[:n], HEAD)) for n in (1, 4, 6)]
CELLS = parse_cell_network(
    "12x12x3:cifar_c4:normal_r1_c8_sep3@0+max5@1_dil3@2+1x7@0_cat3:reduction_avg3@0++id@1_cat2:fc_c3"
)
UNITS = units_to_price("operator", LAYERS, [CELLS])
NETWORKS: list[NamedNetwork] = [*CHAINS, CELLS]


def cost_ns(operators: Sequence[SingleOperator]) -> float:
    """Operators of more numbers take longer; the baseline takes nothing but the call."""
    shapes = (operator.operator.shape for operator in operators if operator != BASELINE)
    return sum(50.0 * (s.height * s.width + s.channels) for s in shapes)


@pytest.fixture(scope="module")
def latency_ns(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], float]:
    """The device: a call, and its operators, which take 10 % longer inside a network."""
    work = tmp_path_factory.mktemp("models")
    known = {}
    layers: list[Unit] = [*UNITS, *LAYERS]
    for unit, model in export_layers(layers, work):
        known[model.sha256] = CALL_NS + cost_ns(operators_of_graph(lower_unit(unit)))
    for network in NETWORKS:
        sha256 = export_network(network, work / "network.tflite").sha256
        known[sha256] = CALL_NS + SCALE * cost_ns(operators_of(network))
    return known.__getitem__


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, latency_ns: Callable[[str], float]
) -> tuple[ProfileResult, TableDirectory]:
    directory = TableStore(tmp_path_factory.mktemp("tables")).directory("operators")
    agent = SimulatedAgent(latency_ns, noise=1e-9)
    return profile(agent, UNITS, directory, networks=CHAINS, plan=PLAN), directory


@pytest.fixture(scope="module")
def table(made: tuple[ProfileResult, TableDirectory]) -> LatencyTable:
    return made[1].load()


def test_operators_are_profiled_as_layers_are(made: tuple[ProfileResult, TableDirectory]) -> None:
    result, directory = made
    table = directory.load()
    assert (result.layers, result.measured, result.invalid) == (len(UNITS), len(UNITS), {})
    assert granularity_of(table) == "operator"
    assert table.rows["layer"].to_pylist() == sorted(unit.key for unit in UNITS)
    expected = {tuple(operator.key for operator in operators_of(chain)) for chain in CHAINS}
    assert {network.layers for network in table.networks} == expected


def test_the_call_is_paid_once_and_the_scale_is_found(table: LatencyTable) -> None:
    assert table.calibration is not None
    assert table.calibration.scale == pytest.approx(SCALE, rel=1e-3)
    for network in NETWORKS:  # of cells, though only chains were measured whole
        truth_ms = (CALL_NS + SCALE * cost_ns(operators_of(network))) / 1e6
        prediction = predict_any(table, network)
        assert prediction.latency_ms == pytest.approx(truth_ms, rel=1e-3)
        assert prediction.std_ms is not None
        name, call_ms = prediction.layers[0]
        assert name == CALL
        assert call_ms == pytest.approx(CALL_NS / 1e6, rel=1e-3)
        assert math.fsum(ms for _, ms in prediction.layers) == pytest.approx(prediction.latency_ms)


def test_cells_are_validated_and_told_again_from_the_journal(
    made: tuple[ProfileResult, TableDirectory],
    table: LatencyTable,
    latency_ns: Callable[[str], float],
) -> None:
    agent, named = SimulatedAgent(latency_ns, noise=1e-9), {str(n): n for n in NETWORKS}
    validation = validate(agent, table, named, made[1].journal, plan=PLAN)
    assert (validation.networks, validation.unpriced) == (len(NETWORKS), {})
    assert validation.mape_pct < 0.1
    (past,) = validations(made[1].journal, table, plan=PLAN)
    assert name_network(CELLS) in {point.network for point in past.validation.points}
    assert past.validation.mape_pct == pytest.approx(validation.mape_pct)


def test_layers_that_were_never_timed_are_sums_without_the_scale(table: LatencyTable) -> None:
    truth_ms = [(CALL_NS + cost_ns(operators_of_graph(lower_layer(x)))) / 1e6 for x in LAYERS]
    assert sum_operators(table, LAYERS) == pytest.approx(truth_ms, rel=1e-3)


def test_shares_by_kind_are_all_of_the_latency(table: LatencyTable) -> None:
    shares = shares_by_kind(predict_any(table, CELLS))
    assert sum(share.share for share in shares) == pytest.approx(1.0)
    assert sum(share.operators for share in shares) == len(operators_of(CELLS)) + 1
    assert {share.name for share in shares} > {CALL, "conv", "depthwise", "relu", "add", "shift"}
    each = shares_by_operator(predict_any(table, CELLS))
    assert sum(share.latency_ms for share in each) == pytest.approx(
        sum(s.latency_ms for s in shares)
    )
    assert {share.name for share in each} == {CALL, *(o.key for o in operators_of(CELLS))}
    assert [s.latency_ms for s in shares] == sorted((s.latency_ms for s in shares), reverse=True)


def test_a_table_by_layers_prices_chains_alone(
    tmp_path: Path, latency_ns: Callable[[str], float]
) -> None:
    directory = TableStore(tmp_path).directory("layers")
    profile(SimulatedAgent(latency_ns), LAYERS, directory, networks=CHAINS, plan=PLAN)
    table = directory.load()
    assert predict_any(table, CHAINS[0]).latency_ms > 0
    with pytest.raises(NotAChain, match="found a network of cells, which only a table by operat"):
        predict_any(table, CELLS)
    with pytest.raises(NotAChain):
        units_of("layer", CELLS)
    with pytest.raises(WrongGranularity, match="found one by layers: make one"):
        predict_operators(table, operators_of(CELLS))
    with pytest.raises(WrongGranularity, match="found one by layers"):
        sum_operators(table, LAYERS)
    with pytest.raises(NotAChain, match="network of cells"):
        profile(SimulatedAgent(latency_ns), LAYERS, directory, networks=[CELLS], plan=PLAN)
    with pytest.raises(WrongGranularity, match=r"expected operators, found layers in it.*--table"):
        profile(SimulatedAgent(latency_ns), UNITS, directory, plan=PLAN)


def test_a_table_by_operators_is_refused_where_layers_are_needed(
    made: tuple[ProfileResult, TableDirectory], table: LatencyTable
) -> None:
    for use in (
        lambda: calibrated_ms(table, LAYERS),
        lambda: compile_predictor(table, make_space("mnasnet", resolution=32)),
    ):
        with pytest.raises(WrongGranularity, match="expected a table by layers"):
            use()
    before = made[1].load()
    with pytest.raises(WrongGranularity, match="expected layers, found operators in it"):
        profile(SimulatedAgent(), LAYERS, made[1], plan=PLAN)
    assert made[1].load().to_bytes() == before.to_bytes()


def test_rows_of_both_never_share_a_table() -> None:
    rows = [make_row(STEM.key), make_row(BASELINE.key)]
    with pytest.raises(InvalidRow, match="rows are of layers or of operators, found both"):
        LatencyTable.from_rows("both", CONDITION, rows, provenance=PROVENANCE)


def test_operators_are_not_packed() -> None:
    assert only_layers(LAYERS, "--method packed") == tuple(LAYERS)
    with pytest.raises(WrongGranularity, match="--method packed: expected layers, found single op"):
        only_layers(UNITS, "--method packed")


def test_without_its_baseline_a_table_by_operators_has_no_scale(
    tmp_path: Path, latency_ns: Callable[[str], float]
) -> None:
    directory = TableStore(tmp_path).directory("partial")
    others = [unit for unit in UNITS if unit != BASELINE]
    profile(SimulatedAgent(latency_ns), others, directory, networks=CHAINS, plan=PLAN)
    table = directory.load()
    assert table.calibration is None
    with pytest.raises(MissingLayers, match=rf"has no operator {BASELINE.key}"):
        predict_any(table, CHAINS[0])


def test_a_table_without_whole_networks_has_no_scale(
    tmp_path: Path, latency_ns: Callable[[str], float]
) -> None:
    directory = TableStore(tmp_path).directory("alone")
    profile(SimulatedAgent(latency_ns), UNITS, directory, plan=PLAN)
    with pytest.raises(Uncalibrated):
        predict_any(directory.load(), CELLS)


def test_a_missing_operator_is_named_with_its_neighbours(table: LatencyTable) -> None:
    wider = Network((Conv(Shape(16, 16, 3), 9, kernel=3, stride=2),))
    with pytest.raises(MissingLayers, match=r"operator op1/conv/16x16x3/c9/.* \(nearest are op1/"):
        predict_any(table, wider)
    near = nearest_operators(table, "op1/conv/16x16x3/c9/k3x3/s2/d1/same/relu")
    assert near[0] == "op1/conv/16x16x3/c8/k3x3/s2/d1/same/relu"
    assert nearest_operators(table, near[0] + "6")[0] == near[0]
    assert nearest_operators(table, "op1/hard-swish/1x1x1") == ()
