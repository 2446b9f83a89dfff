"""The front door to tables by operators: cells are priced, time is told by kind, nothing mixes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from device_agents.simulated import SimulatedAgent
from hilnas import app
from latency_tables.granularity import units_to_price
from latency_tables.profile import profile
from latency_tables.store import TableStore
from networks.names import name_network
from networks.operators import operators_of
from tests.latency_tables.test_operator_pricing import CELLS, CHAINS, LAYERS, PLAN

TEXT = name_network(CELLS)


@pytest.fixture(scope="module")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a table of each granularity is."""
    home = tmp_path_factory.mktemp("data")
    store = TableStore(home / "hilnas" / "tables")
    units = units_to_price("operator", LAYERS, [CELLS])
    profile(SimulatedAgent(), units, store.directory("operators"), networks=CHAINS, plan=PLAN)
    profile(SimulatedAgent(), LAYERS, store.directory("layers"), networks=CHAINS, plan=PLAN)
    return home


@pytest.fixture(autouse=True)
def here(data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(data_home))
    monkeypatch.chdir(tmp_path)


def hilnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_cells_are_predicted_from_operators() -> None:
    result = hilnas("table", "predict", "operators", TEXT, name_network(CHAINS[0]), "--json")
    assert result.exit_code == 0, result.output
    cells, chain = json.loads(result.stdout)["predictions"]
    assert cells["latency_ms"] > chain["latency_ms"] > 0


def test_where_the_time_goes() -> None:
    result = hilnas("table", "show", "operators", "--by", "operator", "--network", TEXT, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert sum(kind["share"] for kind in found["kinds"]) == pytest.approx(1.0)
    assert sum(kind["latency_ms"] for kind in found["kinds"]) == pytest.approx(found["latency_ms"])
    text = hilnas("table", "show", "operators", "--by", "operator", "--network", TEXT).stdout
    assert f"in {len(operators_of(CELLS))} operators" in text.splitlines()[0]
    assert "depthwise" in text


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("table", "predict", "layers", TEXT), "expected a chain of layers, found a network of c"),
        (
            ("table", "show", "layers", "--by", "operator", "--network", TEXT),
            "expected a table by operators, found one by layers",
        ),
        (
            ("table", "show", "operators", "--by", "operator", "--network", "mobilenet-v2"),
            "table 'operators' has no operator op1/conv/224x224x3/c32/k3x3/s2/d1/same/relu6",
        ),
        (
            ("search", "--space", "accel-nasbench", "--resolution", "32", "--table", "operators",
             "--target-ms", "1", "--budget", "1", "--out", "run", "--evaluator", "digits"),
            "expected a table by layers, found one by operators",
        ),
        (
            ("profile", "local", "--space", "accel-nasbench", "--granularity", "operator",
             "--table", "layers"),
            "table 'layers': expected operators, found layers in it",
        ),
        (
            ("profile", "local", "--space", "accel-nasbench", "--table", "operators"),
            "table 'operators': expected layers, found operators in it",
        ),
    ],
)  # fmt: skip
def test_the_wrong_table_is_one_line_that_says_so(command: tuple[str, ...], line: str) -> None:
    result = hilnas(*command)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("hilnas: ")
    assert line in last


def test_by_operator_needs_a_network() -> None:
    assert hilnas("table", "show", "operators", "--by", "operator").exit_code == 2
    assert hilnas("table", "show", "operators", "--network", TEXT).exit_code == 2
