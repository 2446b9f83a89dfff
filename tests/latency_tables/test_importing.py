from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables import peer_tables
from latency_tables.errors import ImportFailed, TableDamaged, TableError
from latency_tables.exporting_tables import export_table
from latency_tables.importing import UNKNOWN, Imported, Origin, import_file
from latency_tables.table import LatencyTable, Row
from tests.latency_tables.conftest import CONDITION, PROVENANCE
from tests.latency_tables.test_table import tables

PHONE = Origin("a phone")
KEYS = [f"v1/conv/8x8x{c}/c8/k1/s1/relu/se0/none" for c in range(1, 9)]
CONV, OPERATOR = KEYS[0], "op1/dense/1x1x1280/c1000/linear"
BLOCK = "expanded_conv-input:56x56x24-output:28x28x40-expand:6-kernel:5-stride:2-idskip:0"
latencies = st.floats(min_value=1e-6, max_value=1e6)
texts = st.text(max_size=9)


@st.composite
def whole_rows(draw: st.DrawFn, layer: str) -> Row:
    low, hot, high = sorted(draw(st.lists(latencies, min_size=3, max_size=3)))
    interval = draw(st.booleans())
    return Row(
        layer=layer,
        hot_ms=hot,
        cold_ms=draw(st.none() | latencies),
        visits=draw(st.integers(1, 60)),
        status=draw(st.sampled_from(["ok", "unstable", *["predicted"] * interval])),
        spread=draw(st.floats(0, 1)),
        measured_unix_s=draw(st.floats(0, 2e9)),
        sha256=draw(texts),
        low_ms=low if interval else None,
        high_ms=high if interval else None,
        p90_ms=draw(st.none() | latencies),
        samples=draw(st.integers(0, 300)),
        reason=draw(texts),
        serial=draw(st.none() | st.text(min_size=1, max_size=9)),
        journal_rows=tuple(draw(st.lists(st.integers(0, 2**40), max_size=3))),
    )


@st.composite
def many_rows(draw: st.DrawFn) -> list[Row]:
    return [draw(whole_rows(layer)) for layer in draw(st.sets(st.sampled_from(KEYS)))]


def imported(folder: Path, text: str, *, suffix: str = ".yaml") -> Imported:
    path = folder / f"rows{suffix}"
    path.write_text(text, newline="")
    return import_file(path, name="theirs", origin=PHONE)


def refused(folder: Path, text: str, *, suffix: str = ".yaml") -> str:
    with pytest.raises(ImportFailed) as caught:
        imported(folder, text, suffix=suffix)
    (line,) = str(caught.value).removeprefix(str(folder) + "/").splitlines()
    return line


@given(tables)
@settings(max_examples=40, deadline=None)
def test_json_gives_back_an_equal_table(
    tmp_path_factory: pytest.TempPathFactory, table: LatencyTable
) -> None:
    path = tmp_path_factory.mktemp("json") / "t.json"
    export_table(table, path)
    assert import_file(path, name=table.name) == Imported(table, {})


@given(many_rows())
@settings(max_examples=60, deadline=None)
def test_csv_gives_back_equal_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    table = LatencyTable.from_rows("t", CONDITION, rows, provenance=PROVENANCE)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    export_table(table, path)
    found = import_file(path, name="t", origin=PHONE).table
    assert found.rows.equals(table.rows)


@given(tables)
@settings(max_examples=5, deadline=None)
def test_parquet_is_the_tables_own_file(
    tmp_path_factory: pytest.TempPathFactory, table: LatencyTable
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "t.parquet"
    export_table(table, path)
    assert import_file(path, name="other").table == replace(table, name="other")


def test_an_imported_condition_is_nothing_that_was_measured(tmp_path: Path) -> None:
    text = f"layer,hot_ms\n{CONV},1.5\n"
    table = imported(tmp_path, text, suffix=".csv").table
    assert table.row(CONV) == Row(CONV, 1.5, None, 1, "ok", 0.0, 0.0, "")
    assert table.calibration is None
    assert table.condition.device == "a phone"
    assert {table.condition.method, table.condition.precision, table.condition.soc} == {UNKNOWN}
    assert table.provenance.address.startswith("imported from rows.csv, sha256 ")
    with pytest.raises(TableError, match="conditions differ"):
        LatencyTable.from_rows("m", CONDITION, [], provenance=PROVENANCE).extend(table)
    said = Origin("a phone", precision="int8", threads=4).condition("csv")
    assert set(said.differences(table.condition)) == {"precision", "threads"}


def test_peers_figures_become_rows(tmp_path: Path) -> None:
    found = imported(
        tmp_path, f"{BLOCK}:\n  count: 154\n  mean: 2.0\n  var: 0.25\nsomething: {{mean: 1}}\n"
    )
    (layer,) = found.table.rows["layer"].to_pylist()
    assert layer == "v1/bottleneck/56x56x24/c40/k5/s2/m144/relu6/se0/none"
    row = found.table.row(layer)
    assert (row.hot_ms, row.visits, row.samples, row.spread) == (2.0, 154, 154, 0.25)
    assert (row.low_ms, row.status) == (None, "ok")
    assert found.left_out == {"something": "not a key of proxylessnas"}
    deviated = imported(tmp_path, f"{BLOCK}-se:0-hs:1: {{mean: 2.0, std: 0.5}}\n").table
    assert [row["visits"] for row in deviated.rows.to_pylist()] == [1]
    assert [row["spread"] for row in deviated.rows.to_pylist()] == [0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BLOCK}: {{mean: 0.0}}\n", "line 1: v1/bottleneck"),
        (f"{BLOCK}: {{mean: -1.0}}\n", "line 1: expected mean of 0 or more, found -1.0"),
        (f"{BLOCK}: {{mean: .nan}}\n", "line 1: expected mean of 0 or more, found .nan"),
        (f"{BLOCK}: {{mean: .inf}}\n", "found .inf"),
        (f"{BLOCK}: {{mean: 1e999}}\n", "found 1e999"),
        (f"{BLOCK}: {{mean: true}}\n", "found true"),
        (f"{BLOCK}: {{count: 0, mean: 1}}\n", "expected count of 1 or more, found 0"),
        (f"{BLOCK}: {{count: 1.5, mean: 1}}\n", "whole count, found 1.5"),
        (f"{BLOCK}: {{mean: 1, std: -1}}\n", "expected std of 0 or more"),
        (f"\n{BLOCK}: {{count: 3}}\n", "line 2: expected a mean, found count"),
        (f"{BLOCK}: {{}}\n", "expected a mean, found nothing"),
        (f"{BLOCK}: {{mean: 1}}\n{BLOCK}: {{mean: 2}}\n", "line 2: expected each key once"),
        (f"{BLOCK}: {{mean: 1, mean: 2}}\n", "expected each figure once"),
        (f"{BLOCK}: {{mean: 1.5}}", "expected a newline at its end"),
        (f"{BLOCK}: {{mean: 1.5\n", "line 2:"),
        (f"{BLOCK}: 1.5\n", "expected KEY: {mean: ...}, found '1.5'"),
        (f"{BLOCK}: [1.5]\n", "an alias or list"),
        (f"{BLOCK}: {{mean: {{a: 1}}}}\n", "found more"),
        (f"{BLOCK}: &a {{mean: 1}}\nb: *a\n", "line 2: expected KEY: {mean: ...}, found an alias"),
        (f"{BLOCK}: !!python/object/apply:os.system ['true']\n", "an alias or list"),
        (f"{BLOCK}: !!python/object:os.stat {{mean: 1}}\n", "expected no tags"),
        (f"{BLOCK}: {{mean: !!python/name:os.system 1}}\n", "expected no tags"),
        (f"{BLOCK}: {{mean: 1}}\n{BLOCK}-se:0-hs:0: {{mean: 1}}\n", "found both"),
        ("Conv-input:8x8x3-output:4x4x8: {mean: 1}\n", "found neither"),
        ("- 1\n", "an alias or list"),
        ("", "expected a newline"),
        ("\n", "found neither"),
        ("words\n", "found 'words'"),
        ("\x00\n", "characters are not allowed"),
        ("? {a: 1}\n: {mean: 1}\n", "expected two levels"),
        ("[" * 100_000 + "\n", "line 1:"),
        ("{" * 100_000 + "\n", "line 1:"),
    ],
)  # fmt: skip
def test_what_yaml_cannot_be_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text)


def test_a_tag_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    tag = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]"
    assert "rows.yaml: line 1" in refused(tmp_path, f"a: {tag}\n")
    assert not mark.exists()


def test_a_file_cut_anywhere_gives_no_other_number(tmp_path: Path) -> None:
    text = "".join(
        f"{BLOCK.replace('kernel:5', f'kernel:{k}')}:\n  count: 54\n  mean: {k}.25\n  std: 0.5\n"
        for k in (3, 5, 7)
    )
    whole = imported(tmp_path, text).table.to_pandas().set_index("layer")["hot_ms"]
    for length in range(len(text)):
        try:
            part = imported(tmp_path, text[:length]).table
        except ImportFailed:
            continue
        for row in part.rows.to_pylist():
            assert row["hot_ms"] == whole[row["layer"]]


def test_a_yaml_of_monstrous_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_tables, "LIMIT_CHARACTERS", 100)
    assert "at most 100 characters" in refused(tmp_path, f"{BLOCK}: {{mean: 1}}\n" * 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"layer\n{CONV}\n", "line 1: expected columns hot_ms, found ['layer']"),
        ("", "expected a newline"),
        ("\n", "line 1: expected columns layer and hot_ms, found []"),
        (f"layer,hot_ms,hot\n{CONV},1,1\n", "line 1: expected columns of layer, hot_ms"),
        (f"layer,hot_ms,hot_ms\n{CONV},1,1\n", "found one twice"),
        (f"layer,hot_ms\n{CONV},1\n{CONV},2\n", "line 3: expected each layer once"),
        (f"layer,hot_ms\n{CONV}\n", "line 2: expected 2 values, found 1"),
        ("layer,hot_ms\nconv,1\n", "line 2: not a layer key"),
        (f"layer,hot_ms\n{CONV},fast\n", "line 2: expected a number as hot_ms, found 'fast'"),
        (f"layer,hot_ms\n{CONV},\n", "line 2: v1/conv/8x8x1/c8/k1/s1/relu/se0/none: hot_ms"),
        (f"layer,hot_ms\n{CONV},0\n", "finite and over 0, found 0.0"),
        (f"layer,hot_ms\n{CONV},nan\n", "expected a number as hot_ms"),
        (f"layer,hot_ms\n{CONV},1_0\n", "expected a number as hot_ms"),
        (f"layer,hot_ms\n{CONV},1e999\n", "finite and over 0, found inf"),
        (f"layer,hot_ms,visits\n{CONV},1,1.5\n", "expected a number as visits, found '1.5'"),
        (f"layer,hot_ms,status\n{CONV},1,fine\n", "status is one of ok"),
        (f"layer,hot_ms,low_ms\n{CONV},1,0.5\n", "an interval has two ends"),
        (f"layer,hot_ms,journal_rows\n{CONV},1,a\n", "line 2: expected a whole number"),
        (f'layer,hot_ms\n"{CONV},1\n', "line 2:"),
        (f"layer,hot_ms\n{CONV},1", "expected a newline at its end"),
        (f"layer,hot_ms\n{CONV},1\nop1/x,1\n", "line 3: not an operator key"),
        (f"layer,hot_ms\n{CONV},1\n{OPERATOR},1\n", "rows.csv: "),
    ],
)
def test_what_csv_cannot_be_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text, suffix=".csv")


def test_files_that_are_none_of_these_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "x", suffix=".xlsx") == (
        "rows.xlsx: expected a file of .csv, .json, .parquet, .yaml, .yml, found '.xlsx'"
    )
    (tmp_path / "latin.csv").write_bytes(b"layer,hot_ms\n\xff\n")
    for name, message in (("latin.csv", "UTF-8"), ("none.csv", "No such file"), (".", "found ''")):
        with pytest.raises(ImportFailed, match=message):
            import_file(tmp_path / name, name="t", origin=PHONE)
    with pytest.raises(ImportFailed, match="expected the device"):
        import_file(tmp_path / "latin.csv", name="t")


def test_a_changed_json_is_refused(tmp_path: Path, table: LatencyTable) -> None:
    path = tmp_path / "t.json"
    export_table(table, path)
    with pytest.raises(ImportFailed, match="holds its own condition"):
        import_file(path, name="t", origin=PHONE)
    found = json.loads(path.read_text())
    found["rows"][0]["hot_ms"] *= 1.01
    path.write_text(json.dumps(found))
    with pytest.raises(TableDamaged, match="changed after it was written"):
        import_file(path, name="t")
    for text in ("", "{}", "[]", '{"table": 1, "rows": 2, "sha256": 3}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(TableError):
            import_file(path, name="t")
