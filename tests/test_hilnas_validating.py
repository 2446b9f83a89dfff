"""hilnas table validate, on this machine: what it measures, prints, draws and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from device_agents.local import LocalAgent
from device_agents.measurement import ResidentPlan
from hilnas import app
from latency_tables.profile import profile
from latency_tables.store import TableStore
from latency_tables.validation import draw_networks
from networks.names import find_network, name_network
from networks.spaces import make_space

NAME = "accel-nasbench@32"
PLAN = ResidentPlan(hot=2, min_visits=4, max_visits=5, min_span_s=0.1)
SEEN, NEW = 2, 3


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table that prices three unseen networks, made on this machine."""
    space = make_space("accel-nasbench", resolution=32)
    networks = draw_networks(space, NEW, seed=1)
    calibration = draw_networks(space, SEEN, seed=2)
    layers = dict.fromkeys(layer for net in (*networks, *calibration) for layer in net.layers)
    data = tmp_path_factory.mktemp("data")
    directory = TableStore(data / "hilnas" / "tables").directory(NAME)
    with LocalAgent() as agent:
        profile(agent, list(layers), directory, networks=calibration, plan=PLAN)
    return data


@pytest.fixture(autouse=True)
def here(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tables))
    monkeypatch.chdir(tmp_path)


def validate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["table", "validate", *arguments])


def test_unseen_networks_are_measured_and_compared(tables: Path) -> None:
    result = validate(
        NAME, "--networks", "3", "--published", "--span", "0.1s", "--plot", "truth.png", "--json"
    )
    values = json.loads(result.stdout)
    assert set(values) >= {
        "networks", "mape_pct", "bias_pct", "spearman", "kendall", "repeatability_pct",
    }  # fmt: skip
    assert values["networks"] == 3
    points = values["points"]
    drawn = draw_networks(make_space("accel-nasbench", resolution=32), NEW, seed=1)
    assert [point["text"] for point in points] == [name_network(network) for network in drawn]
    for point in points:
        assert find_network(point["text"])
        low, high = point["interval_ms"]
        assert low < point["predicted_ms"] < high
        assert point["first_ms"] > 0
    # none of the published networks has only layers of these; each is named with the reason
    assert len(values["unpriced"]) == 6
    assert "has no layer v1/conv/32x32x3/c32" in values["unpriced"]["mobilenet-v2"]
    assert result.exit_code == (0 if values["intervals_hold"] else 3)
    assert Path("truth.png").read_bytes().startswith(b"\x89PNG")


def test_networks_may_be_drawn_from_a_file(tables: Path) -> None:
    Path("mine.toml").write_text(
        'name = "mine"\nimage = [32, 32, 3]\nstem = ["cn_r1_k3_s2_c16"]\nclasses = 10\n'
        '[[block]]\noptions = ["cn_r1_k3_s2_c32", "ds_r1_k3_s2_c32", "cn_r1_k5_s2_c32"]\n'
    )
    result = validate(NAME, "--space", "mine.toml", "--networks", "3")
    assert result.exit_code == 1
    assert "found 0 of 3; random-1: table 'accel-nasbench@32' has no layer" in result.stderr


def test_a_table_of_another_name_says_that_it_needs_a_space(tables: Path) -> None:
    store = TableStore(tables / "hilnas" / "tables")
    store.directory("pixel-4").publish(replace(store.load(NAME), name="pixel-4"))
    result = validate("pixel-4")
    assert result.exit_code == 1
    assert "or --space NAME|FILE.toml to draw networks from, found neither" in result.stderr


def test_people_get_a_table_of_networks() -> None:
    result = validate(NAME, "--networks", "3", "--span", "0.1s")
    assert result.exit_code in (0, 3)
    lines = result.stdout.splitlines()
    assert any(line.startswith("repeatability_pct ") for line in lines)
    assert sum(line.startswith("random-") for line in lines) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no table is named 'nothing'"),
        ([NAME, "--networks", "2"], "expected 3 networks or more that table"),
        ([NAME, "--space", "none"], "no space is named 'none'"),
        ([NAME, "--resolution", "64"], "found 0 of 20; random-1: table"),
        ([NAME, "--plot", "truth.gif"], "expected a file of .png, .svg, .pdf"),
        ([NAME, "--plot", "no/truth.svg"], "expected an existing folder"),
        ([NAME, "--networks", "3", "--device", "nowhere"], "expected an address such as local"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(
    arguments: list[str], message: str, tables: Path
) -> None:
    journal = tables / "hilnas" / "tables" / NAME / "journal.sqlite"
    before = journal.stat().st_size
    result = validate(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert message in line
    assert journal.stat().st_size == before


def test_a_file_by_itself_has_no_journal(tables: Path) -> None:
    file = tables / "hilnas" / "tables" / NAME / "versions" / "0001.parquet"
    Path("alone.parquet").write_bytes(file.read_bytes())
    result = validate("alone.parquet", "--space", "accel-nasbench", "--resolution", "32")
    assert result.exit_code == 1
    assert "a file alone cannot be measured again" in result.stderr
