"""hilnas table predict: networks by any name, with the interval of each; bad input in one line."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hilnas import app
from latency_tables.predictor import compile_predictor, predict_network
from latency_tables.store import TableStore
from latency_tables.table import Calibration, LatencyTable
from networks.block_strings import format_network
from networks.spaces import make_space
from search.assembly import start
from search.config import RunConfig
from search.rewards import make_reward
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

SPACE = make_space("accel-nasbench", resolution=32)


def hilnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def fails(*arguments: str) -> str:
    result = hilnas(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    """A table of every layer of the space, named ``t`` in the user's store."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    rows = []
    for layer in SPACE.layers:
        row = make_row(layer.key, float(rng.uniform(0.1, 1)))
        rows.append(replace(row, low_ms=row.hot_ms * 0.98, high_ms=row.hot_ms * 1.02))
    made = LatencyTable.from_rows(
        "t", CONDITION, rows, provenance=PROVENANCE, calibration=Calibration(1.05, 0.02, 9)
    )
    publish(made)
    return made


def publish(table: LatencyTable) -> None:
    directory = TableStore(Path("hilnas/tables")).directory(table.name)
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.publish(table)


def test_a_network_has_a_latency_and_where_another_session_would_find_it(
    table: LatencyTable,
) -> None:
    network = SPACE.decode(SPACE.sample(1, np.random.default_rng(2))[0])
    text = format_network(network)
    (found,) = json.loads(hilnas("table", "predict", "t", text, "--json").stdout)["predictions"]
    expected = predict_network(table, network)
    assert found["network"] == text
    assert found["latency_ms"] == pytest.approx(expected.latency_ms)
    assert found["std_ms"] == pytest.approx(expected.std_ms)
    low, high = found["interval_ms"]
    assert low < found["latency_ms"] - 1.6 * found["std_ms"]
    assert low * high == pytest.approx(found["latency_ms"] ** 2)
    shown = hilnas("table", "predict", "t", text)
    assert shown.stderr == ""
    assert f"{high:.3f}" in shown.stdout


def test_a_run_s_trials_are_networks(table: LatencyTable) -> None:
    file = TableStore(Path("hilnas/tables")).file("t")
    config = RunConfig(
        space="accel-nasbench", latency=f"table:{file}", evaluator="imagenet-proxy",
        searcher="local", reward=make_reward("absolute", target_ms=50.0), budget=5, batch=5,
        settings={"resolution": 32},
    )  # fmt: skip
    trials = start(config, Path("run")).trials
    result = hilnas("table", "predict", "t", "run:3", "run", "--json")
    found = json.loads(result.stdout)["predictions"]
    predictor = compile_predictor(table, SPACE)
    latency_ms, std_ms = predictor.predict_with_std(np.array([trials[3].canonical], np.int8))
    assert found[0]["latency_ms"] == pytest.approx(latency_ms[0])
    assert found[0]["std_ms"] == pytest.approx(std_ms[0])
    assert "expected a trial of 0 to 4, found 9" in fails("table", "predict", "t", "run:9")


def test_what_is_not_known_is_said(table: LatencyTable) -> None:
    text = format_network(SPACE.decode(SPACE.sample(1, np.random.default_rng(2))[0]))
    publish(replace(table, calibration=Calibration(1.05, None, 1)))
    result = hilnas("table", "predict", "t", text, "--json")
    (found,) = json.loads(result.stdout)["predictions"]
    assert found["std_ms"] is None
    assert found["interval_ms"] is None
    assert "cannot tell how far" in result.stderr
    assert "unknown" in hilnas("table", "predict", "t", text).stdout
    rows = [make_row(layer.key, 1.0) for layer in SPACE.layers]
    publish(
        LatencyTable.from_rows(
            "t", CONDITION, rows, provenance=PROVENANCE, calibration=Calibration(1.05, 0.02, 9)
        )
    )
    result = hilnas("table", "predict", "t", text, "--json")
    (found,) = json.loads(result.stdout)["predictions"]
    assert found["std_ms"] == pytest.approx(found["latency_ms"] * 0.02 * math.sqrt(1 + 1 / 9))
    assert f"{len(rows)} of {len(rows)} rows have no interval" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("t", "mobilenet-v22"), "mobilenet-v2"),
        (("t", "mobilenet-v2"), "has no layer"),
        (("t", "32x32x3:cn_r1_k3_s2"), "32x32x3"),
        (("t", "nasnet-a-mobile"), "cells"),
        (("u", "mobilenet-v2"), "no table is named"),
    ],
)
def test_bad_input_is_one_line(table: LatencyTable, arguments: tuple[str, ...], words: str) -> None:
    assert words in fails("table", "predict", *arguments)
