from __future__ import annotations

import errno
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.errors import (
    ConditionMismatch,
    InvalidRow,
    TableDamaged,
    TableError,
    TableNewer,
    TableNotFound,
)
from latency_tables.store import TableStore, write_whole
from latency_tables.table import Calibration, LatencyTable, MeasuredNetwork, PackCheck, Row
from tests.latency_tables.conftest import CONDITION, OTHER_CONDITION, PROVENANCE, make_row

HERE = Path("x.parquet")
latencies = st.floats(min_value=1e-6, max_value=1e6)
rows = st.builds(
    Row,
    layer=st.text("abc/v1", min_size=1, max_size=8),
    hot_ms=latencies,
    cold_ms=st.none() | latencies,
    visits=st.integers(1, 60),
    status=st.sampled_from(["ok", "unstable"]),
    spread=st.floats(0, 1),
    measured_unix_s=st.floats(0, 2e9),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)
networks = st.builds(
    MeasuredNetwork,
    label=st.text(max_size=5),
    layers=st.lists(st.text(max_size=5)).map(tuple),
    latency_ms=latencies,
    cold_ms=st.none() | latencies,
    visits=st.integers(1, 60),
    status=st.sampled_from(["ok", "unstable"]),
    measured_unix_s=st.floats(0, 2e9),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)
tables = st.builds(
    LatencyTable.from_rows,
    st.text(max_size=8),
    st.just(CONDITION),
    st.lists(rows, max_size=6, unique_by=lambda row: row.layer),
    provenance=st.just(PROVENANCE),
    networks=st.lists(networks, max_size=2),
    calibration=st.none() | st.builds(Calibration, latencies, st.floats(0, 1), st.integers(1, 9)),
    invalid=st.dictionaries(st.text(max_size=4), st.text(max_size=9), max_size=2),
    check=st.none()
    | st.builds(
        PackCheck,
        latencies, st.integers(0, 60), st.integers(0, 60), st.floats(0, 1), st.integers(0, 9),
        st.none() | st.floats(0, 1), st.just(0.05), st.integers(0, 9),
    ),
)  # fmt: skip


@given(tables)
@settings(max_examples=60, deadline=None)
def test_reading_inverts_writing(table: LatencyTable) -> None:
    assert LatencyTable.from_bytes(table.to_bytes(), HERE) == table


@settings(deadline=None)
@given(st.permutations(["c", "a", "b"]))
def test_rows_come_in_any_order(layers: list[str]) -> None:
    made = LatencyTable.from_rows("t", CONDITION, map(make_row, layers), provenance=PROVENANCE)
    assert made.rows["layer"].to_pylist() == ["a", "b", "c"]
    assert made.row("b") == make_row("b")


def test_a_flip_of_any_byte_is_refused(table: LatencyTable) -> None:
    data = bytearray(table.to_bytes())
    rng = random.Random(1)
    for place in range(len(data)):
        mask = rng.randrange(1, 256)
        data[place] ^= mask
        with pytest.raises(TableDamaged):
            LatencyTable.from_bytes(bytes(data), HERE)
        data[place] ^= mask


def test_a_table_cut_anywhere_is_refused(table: LatencyTable) -> None:
    data = table.to_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(TableDamaged, match=r"^x\.parquet: expected"):
            LatencyTable.from_bytes(data[:length], HERE)


def test_a_newer_table_is_refused(table: LatencyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("latency_tables.table.SCHEMA_VERSION", 9)
        data = table.to_bytes()
    with pytest.raises(TableNewer, match="schema 3 or older, found 9"):
        LatencyTable.from_bytes(data, HERE)


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pd.DataFrame({"hot_ms": [1.0]}).to_parquet(path)
    with pytest.raises(TableDamaged, match="no latency table"):
        LatencyTable.load(path)
    with pytest.raises(TableError, match="No such file"):
        LatencyTable.load(tmp_path / "none.parquet")


def test_pandas_reads_it_alone(tmp_path: Path, table: LatencyTable) -> None:
    path = tmp_path / "t.parquet"
    write_whole(path, table.to_bytes())
    pd.testing.assert_frame_equal(pd.read_parquet(path), table.to_pandas())
    assert pq.read_table(path)["hot_ms"].to_pylist() == table.rows["hot_ms"].to_pylist()


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["hot_ms", "cold_ms", "low_ms", "high_ms", "p90_ms"])
def test_no_latency_is_not_positive(table: LatencyTable, column: str, value: float) -> None:
    with pytest.raises(InvalidRow, match="finite and over 0"):
        Row(**{**asdict(make_row("a")), column: value})
    columns = table.rows.to_pydict()
    columns[column][1] = value
    with pytest.raises(InvalidRow, match="finite and over 0"):
        replace(table, rows=type(table.rows).from_pydict(columns, schema=table.rows.schema))


def test_one_layer_has_one_row() -> None:
    with pytest.raises(InvalidRow, match="no layer is twice"):
        LatencyTable.from_rows(
            "t", CONDITION, [make_row("a"), make_row("a", 2.0)], provenance=PROVENANCE
        )


def test_the_later_row_stays_whichever_comes_first(table: LatencyTable) -> None:
    layer = table.rows["layer"][0].as_py()
    newer = LatencyTable.from_rows(
        "test", CONDITION, [make_row(layer, 9.0, at=2.0), make_row("z")], provenance=PROVENANCE
    )
    both = table.extend(newer)
    assert both.rows.equals(newer.extend(table).rows)
    assert both.row(layer).hot_ms == 9.0
    assert len(both) == 4
    assert both.calibration is None


def test_rows_of_two_conditions_never_mix(table: LatencyTable) -> None:
    other = replace(table, condition=OTHER_CONDITION)
    with pytest.raises(ConditionMismatch) as caught:
        table.extend(other)
    assert "threads 1 | 4" in str(caught.value)
    assert "precision 'float32' | 'int8'" in str(caught.value)
    assert set(caught.value.fields) == {"threads", "precision"}


def test_a_version_is_a_new_file(tmp_path: Path, table: LatencyTable) -> None:
    store = TableStore(tmp_path)
    first = store.directory("pixel").publish(table)
    data = first.read_bytes()
    second = store.directory("pixel").publish(replace(table, name="second"))
    assert (first.name, second.name) == ("0001.parquet", "0002.parquet")
    assert first.read_bytes() == data
    assert store.load("pixel").name == "second"
    assert store.load(str(first)) == table
    assert store.load(str(tmp_path / "pixel")).name == "second"
    assert store.names() == ("pixel",)
    assert not list(tmp_path.rglob(".*"))


def test_an_unknown_name_lists_the_nearest(tmp_path: Path, table: LatencyTable) -> None:
    store = TableStore(tmp_path)
    with pytest.raises(TableNotFound, match="there are none yet"):
        store.load("pixel")
    store.directory("pixel-4").publish(table)
    with pytest.raises(TableNotFound, match="did you mean pixel-4"):
        store.load("pixel")
    with pytest.raises(TableError, match="name starts with"):
        store.load("..")


def test_a_pointer_to_nowhere_is_said_and_mended_by_the_next_version(
    tmp_path: Path, table: LatencyTable
) -> None:
    directory = TableStore(tmp_path).directory("pixel")
    file = directory.publish(table)
    pointer = tmp_path / "pixel" / "current"
    for text in ("0009.parquet\n", "../../elsewhere.parquet\n", "", "\udc00"):
        pointer.write_bytes(text.encode(errors="surrogatepass"))
        with pytest.raises(TableDamaged, match=r"expected the name of a version.*0001\.parquet$"):
            directory.load()
    pointer.unlink()
    with pytest.raises(TableDamaged, match="found 'no such file'; write the one to use there"):
        directory.load()
    assert directory.publish(table).name == "0002.parquet"
    assert directory.load() == table
    assert file.is_file()


def test_what_may_not_be_read_is_said(
    tmp_path: Path, table: LatencyTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = TableStore(tmp_path).directory("pixel")
    directory.publish(table)

    def refuse(path: Path, *args: object, **kwargs: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for method in ("iterdir", "read_text", "read_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, refuse)
            with pytest.raises(TableError, match="cannot be read: Permission denied"):
                directory.load()


def test_a_table_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, table: LatencyTable
) -> None:
    directory = TableStore(tmp_path).directory("pixel")
    directory.publish(table)
    (tmp_path / "pixel" / "versions" / "0002.parquet").mkdir()
    (tmp_path / "pixel" / "versions" / "0003.parquet").mkdir()
    with pytest.raises(TableError, match="cannot be written"):
        write_whole(tmp_path / "pixel" / "versions" / "0002.parquet", b"x")
    assert directory.load() == table
