"""Verbs that live with others: what they print, what they refuse, and that nothing is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hilnas import app
from latency_tables.rows import Row
from latency_tables.store import TableStore
from latency_tables.table import LatencyTable
from networks.names import find_chain
from networks.spaces import make_space
from tests.latency_tables.conftest import CONDITION, OTHER_CONDITION, PROVENANCE, make_row

YAML = """\
expanded_conv-input:56x56x24-output:28x28x40-expand:144-kernel:5-stride:2-idskip:0-se:1-hs:0:
  count: 50
  mean: 1.25
  std: 0.05
Logits-input:1x1x1536-output:1000:
  count: 50
  mean: 0.7
"""
LAYERS = [layer.key for layer in make_space("accel-nasbench", resolution=32).layers]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableStore:
    """The store of tables that the verbs find, with ``a`` and a slower ``b`` in it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    Path("peer.yaml").write_text(YAML)
    found = TableStore(tmp_path / "data" / "hilnas" / "tables")
    publish(found, "a", 1.0)
    publish(found, "b", 1.01)
    return found


def publish(store: TableStore, name: str, factor: float) -> LatencyTable:
    rows = [interval(make_row(key, factor * (1 + n))) for n, key in enumerate(LAYERS)]
    table = LatencyTable.from_rows(name, CONDITION, rows, provenance=PROVENANCE)
    store.directory(name).publish(table)
    return table


def interval(row: Row) -> Row:
    return replace(row, low_ms=0.995 * row.hot_ms, high_ms=1.005 * row.hot_ms)


def hilnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["table", *arguments])


def done(*arguments: str) -> dict[str, object]:
    """Run a verb that must succeed, and return what it says in JSON."""
    result = hilnas(*arguments, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert isinstance(values, dict)
    return values


def fails(*arguments: str) -> str:
    """Run a verb that must fail with one line; return that line."""
    result = hilnas(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("hilnas: ")
    return line


def test_a_peers_table_becomes_one_of_ours(store: TableStore) -> None:
    values = done("import", "peer.yaml", "--table", "note10", "--device-name", "note10")
    assert (values["layers"], values["unit"]) == (1, "ms")
    assert list(values["left_out"]) == ["Logits-input:1x1x1536-output:1000"]  # type: ignore[call-overload]
    table = store.load("note10")
    assert str(store.file("note10")) == values["table"]
    assert table.provenance.address == values["provenance"]
    assert table.hot_ms(table.rows["layer"].to_pylist()).tolist() == [1.25]
    shown = hilnas("import", "peer.yaml", "--table", "again", "--device-name", "note10")
    assert "again: 1 layers in ms, 1 left out" in shown.stdout
    assert "left out Logits-input:1x1x1536-output:1000: once-for-all prices" in shown.stderr
    assert "conditions differ" in fails("merge", "a", "note10", "-o", "m")


def test_what_is_said_of_it_is_in_its_condition(store: TableStore) -> None:
    done(
        "import", "peer.yaml", "--table", "t", "--device-name", "x", "--precision", "int8",
        "--threads", "4", "--os-build", "9",
    )  # fmt: skip
    condition = store.load("t").condition
    assert (condition.precision, condition.threads, condition.os_build) == ("int8", 4, "9")
    assert condition.runtime == "unknown"


def test_networks_are_predicted_by_the_scale_that_was_said(store: TableStore) -> None:
    layer = "32x32x3:cn_r1_k3_s2_c8:fc_c10"
    keys = [layer.key for layer in find_chain(layer).layers]
    Path("rows.csv").write_text("layer,hot_ms\n" + "".join(f"{key},2.0\n" for key in keys))
    arguments = ("import", "rows.csv", "--device-name", "x", "--table")
    shown = hilnas(*arguments, "plain").stdout
    assert "none is predicted without --scale" in shown
    assert "no calibration network" in fails("predict", "plain", layer)
    done(*arguments, "said", "--scale", "1.5")
    (prediction,) = json.loads(hilnas("predict", "said", layer, "--json").stdout)["predictions"]
    assert prediction["latency_ms"] == pytest.approx(6.0)
    assert prediction["std_ms"] is None
    Path("rows.csv").write_text(f"layer,hot_ms\n{LAYERS[0]},2.0\n")
    done(*arguments, "more", "--scale", "1.5")
    done("merge", "said", "more", "-o", "both")
    assert store.load("both").calibration == store.load("said").calibration
    assert "scale is finite and over 0" in fails(*arguments, "none", "--scale", "0")


def test_an_export_comes_back(store: TableStore) -> None:
    for suffix in ("json", "parquet"):
        done("export", "a", "-o", f"a.{suffix}")
        done("import", f"a.{suffix}", "--table", f"from-{suffix}")
        assert replace(store.load(f"from-{suffix}"), name="a") == store.load("a")
    done("export", "a", "-o", "a.csv")
    done("import", "a.csv", "--table", "copy.parquet", "--device-name", "x")
    assert LatencyTable.load(Path("copy.parquet")).rows.equals(store.load("a").rows)


def test_a_difference_is_told_row_by_row() -> None:
    values = done("diff", "a", "b")
    assert values["ratio"] == pytest.approx(1.01)
    assert values["significant"] == values["layers"] == len(LAYERS)
    assert (values["conditions"], values["added"], values["removed"]) == ({}, [], [])
    shown = hilnas("diff", "a", "b").stdout
    assert f"{len(LAYERS)} layers in both, {len(LAYERS)} changed by more than noise" in shown
    assert "+1.00" in shown


def test_two_conditions_are_reported_and_not_merged(store: TableStore) -> None:
    other = replace(store.load("a"), condition=OTHER_CONDITION)
    store.directory("other").publish(other)
    assert "a report of both, not a change" in hilnas("diff", "a", "other").stdout
    assert done("diff", "a", "other")["conditions"] == {
        "threads": [1, 4], "precision": ["float32", "int8"],
    }  # fmt: skip


def test_tables_merge_in_any_order(store: TableStore) -> None:
    values = done("merge", "a", "b", "-o", "m")
    assert values["layers"] == len(LAYERS)
    done("merge", "b", "a", "-o", "m.parquet")
    assert LatencyTable.load(Path("m.parquet")) == store.load("m")
    publish(store, "far", 1.5)
    assert "expected tables that agree within noise" in fails("merge", "a", "far", "-o", "n")
    assert "n" not in store.names()


def test_what_is_there_is_not_replaced(store: TableStore) -> None:
    for out in ("a.csv", "a.png", "a.parquet"):
        Path(out).write_text("mine")
    again = ("--table", "b", "--device-name", "x")
    for arguments in (
        ("export", "a", "-o", "a.csv"),
        ("plot", "a", "--kind", "drift", "-o", "a.png"),
        ("merge", "a", "b", "-o", "a.parquet"),
        ("merge", "a", "b", "-o", "a"),
        ("import", "peer.yaml", *again),
    ):
        assert "--force" in fails(*arguments)
    assert {Path(out).read_text() for out in ("a.csv", "a.png", "a.parquet")} == {"mine"}
    before = store.file("b")
    done("import", "peer.yaml", *again, "--force")
    assert before.is_file()  # the version before stays
    assert len(store.load("b")) == 1
    done("export", "a", "-o", "a.csv", "--force")


def test_every_plot_becomes_a_file(store: TableStore) -> None:
    done(
        "plot", "a", "--kind", "heatmap", "--space", "accel-nasbench", "--resolution", "32",
        "-o", "heat.svg",
    )  # fmt: skip
    assert "two versions" in fails("plot", "a", "--kind", "drift", "-o", "drift.svg")
    store.directory("a").publish(replace(store.load("b"), name="a"))
    done("plot", "a", "--kind", "drift", "-o", "drift.svg")
    assert "no calibration network" in fails("plot", "a", "--kind", "calibration", "-o", "c.svg")
    assert sorted(path.name for path in Path().glob("*.svg")) == ["drift.svg", "heat.svg"]
    result = hilnas("plot", "a", "--kind", "heatmap", "-o", "h.svg")
    assert result.exit_code == 2
    assert "--space" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "none.yaml", "--table", "t", "--device-name", "x"), "No such file"),
        (("import", "peer.yaml", "--table", "t"), "expected the device its rows are of"),
        (("import", "peer.yaml", "--table", "t", "--precision", "int8"), "--device-name beside"),
        (("import", "peer.yaml", "--table", "t t", "--device-name", "x"), "name starts with"),
        (("export", "a", "-o", "a.xls"), "expected a file of .csv, .json, .parquet"),
        (("export", "a", "-o", "nowhere/a.csv"), "expected an existing folder"),
        (("export", "nosuch", "-o", "a.csv"), "no table is named 'nosuch'"),
        (("diff", "a", "nosuch"), "no table is named 'nosuch'"),
        (("merge", "a", "-o", "m"), "two different tables or more, found 1"),
        (("plot", "a", "--kind", "drift", "-o", "a.gif"), "expected a file of .png, .svg, .pdf"),
        (
            ("plot", "a", "--kind", "heatmap", "--space", "accel-nasbench", "-o", "a.png"),
            "expected layers of accel-nasbench at 224x224x3",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    store: TableStore, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(Path().rglob("*"))
    assert message in fails(*arguments)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("name", ["diff", "merge", "import", "export", "plot"])
def test_every_verb_has_an_example(name: str) -> None:
    result = hilnas(name, "--help")
    assert "Example" in result.stdout
    assert f"hilnas table {name} " in result.stdout
