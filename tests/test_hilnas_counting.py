"""hilnas table count, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hilnas import app
from latency_tables.exact import price_space
from latency_tables.store import TableStore
from latency_tables.table import Calibration, LatencyTable
from networks.names import find_chain
from networks.spaces import make_space
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row

SPACE = make_space("accel-nasbench", resolution=64)


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    prices_ms = np.random.default_rng(0).uniform(0.05, 0.5, len(SPACE.layers))
    rows = [make_row(layer.key, ms) for layer, ms in zip(SPACE.layers, prices_ms, strict=True)]
    found = LatencyTable.from_rows(
        "accel", CONDITION, rows, provenance=PROVENANCE, calibration=Calibration(1.1, 0.02, 9, 0.01)
    )
    TableStore(tmp_path / "hilnas" / "tables").directory("accel").publish(found)
    return found


def count(*arguments: str, space: str = "accel-nasbench", resolution: int = 64) -> Result:
    fixed = ["table", "count", "accel", "--space", space, "--resolution", str(resolution)]
    return CliRunner().invoke(app, [*fixed, *arguments])


def test_json_has_the_counts_exactly(table: LatencyTable) -> None:
    priced = price_space(table, SPACE)
    target_ms = priced.networks.quantile_ms(0.5)
    result = count("--target-ms", str(target_ms), "--quantiles", "0,0.5,1", "--json")
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    within = priced.within(target_ms)
    assert (values["genotypes"], values["networks"]) == (SPACE.n_genotypes, SPACE.n_networks)
    assert values["within_target"] == within.networks
    assert (values["within_target_low"], values["within_target_high"]) == (within.low, within.high)
    assert values["within_target_scale_low"] == within.scale_low
    assert values["within_target_scale_high"] == within.scale_high
    assert values["within_target_genotypes"] == within.genotypes
    assert values["target_ms"] == target_ms
    assert values["fastest_ms"] == pytest.approx(priced.fastest_ms)
    assert find_chain(values["fastest"]) == SPACE.decode(priced.fastest)
    shares = {point["share"]: point["latency_ms"] for point in values["quantiles"]}
    assert shares[0.5] == pytest.approx(target_ms)
    assert shares[0.0] == pytest.approx(priced.fastest_ms, abs=0.01)
    assert shares[1.0] == pytest.approx(values["slowest_ms"], abs=0.01)


def test_large_numbers_are_strings_in_json(tmp_path: Path, table: LatencyTable) -> None:
    space = make_space("mnasnet", resolution=64)
    rows = [make_row(layer.key, 0.1) for layer in space.layers]
    large = LatencyTable.from_rows(
        "large", CONDITION, rows, provenance=PROVENANCE, calibration=Calibration(1.0, None, 1)
    )
    path = TableStore(tmp_path / "hilnas" / "tables").directory("large").publish(large)
    options = ["--space", "mnasnet", "--resolution", "64", "--target-ms", "1000", "--json"]
    values = json.loads(CliRunner().invoke(app, ["table", "count", str(path), *options]).stdout)
    assert values["networks"] == values["within_target"] == str(space.n_networks)
    assert values["genotypes"] == str(432**7)
    assert values["within_target_scale_low"] is None
    assert values["share"] == 1.0


def test_text_says_what_is_counted(table: LatencyTable) -> None:
    result = count("--target-ms", "4")
    assert result.exit_code == 0
    assert f"{SPACE.n_networks:,}" in result.stdout
    assert f"{price_space(table, SPACE).within(4).networks:,}" in result.stdout
    assert "is not the probability" in " ".join(result.stdout.split())
    help_text = CliRunner().invoke(app, ["table", "count", "--help"]).stdout
    assert "is not the probability" in " ".join(help_text.split())


def test_a_target_below_the_fastest_is_answered(table: LatencyTable) -> None:
    fastest_ms = price_space(table, SPACE).fastest_ms
    result = count("--target-ms", "0.1")
    assert result.exit_code == 0
    assert f"No network is that fast: the fastest takes {fastest_ms:.4g} ms." in result.stdout
    values = json.loads(count("--target-ms", "0.1", "--json").stdout)
    assert (values["within_target"], values["within_target_high"]) == (0, 0)
    assert values["fastest_ms"] == pytest.approx(fastest_ms)


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("target_ms", ["0.1", "4", "1000"])
def test_the_distribution_is_drawn(tmp_path: Path, suffix: str, target_ms: str) -> None:
    file = tmp_path / f"distribution.{suffix}"
    assert count("--target-ms", target_ms, "--plot", str(file)).exit_code == 0
    head = file.read_bytes()[:300]
    assert head.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in head or b"<?xml" in head


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--target-ms", "0"], 2, "expected a number over 0, found 0"),
        (["--target-ms", "nan"], 2, "expected a number over 0, found nan"),
        (["--target-ms", "4", "--step-us", "-1"], 2, "expected a number over 0, found -1"),
        (["--target-ms", "4", "--step-us", "1e-6"], 1, "take a step of"),
        (["--target-ms", "4", "--quantiles", "50"], 2, "expected shares from 0 to 1"),
        (["--target-ms", "4", "--quantiles", "half"], 2, "expected shares from 0 to 1"),
        (["--target-ms", "4", "--plot", "d.gif"], 1, "d.gif"),
        (["--target-ms", "4", "--width", "1.5"], 1, "table 'accel' has no layer"),
    ],
)
def test_bad_input_gets_one_line(options: list[str], code: int, message: str) -> None:
    result = count(*options)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr


def test_an_unknown_space_is_named() -> None:
    result = count("--target-ms", "4", space="mnasnt")
    assert result.exit_code == 1
    assert "mnasnet" in result.stderr
