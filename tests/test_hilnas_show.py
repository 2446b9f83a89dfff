"""table show: everything that a table knows of itself, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hilnas import app
from latency_tables.store import write_whole
from latency_tables.table import Anchor, Calibration, LatencyTable, Row
from tests.latency_tables.conftest import CONDITION, PROVENANCE

STEM, BODY, HEAD = "v1/conv/stem", "v1/bottleneck/body", "v1/classifier/head"
ROWS = [
    Row(
        STEM, 1.0, 1.2, 12, "ok", 0.01, 1.7e9, "a" * 64, low_ms=0.97, high_ms=1.03, p90_ms=1.1,
        samples=60, serial="S1", journal_rows=(1, 2),
    ),
    Row(
        BODY, 2.0, None, 60, "unstable", 0.05, 1.7e9 + 3600, "b" * 64, low_ms=1.8, high_ms=2.2,
        reason="the 3 smallest of 60 visits differ by 5.00 %, over 1.5 %",
    ),
    Row(HEAD, 0.1, None, 0, "predicted", 0.0, 1.7e9, "c" * 64, low_ms=0.05, high_ms=0.2),
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> str:
    table = LatencyTable.from_rows(
        "made", CONDITION, ROWS, provenance=replace(PROVENANCE, serial="S1"),
        calibration=Calibration(1.1, 0.02, 9, scale_std=0.01), invalid={"v1/x": "crashed: signal"},
        anchors=[Anchor("conv", STEM, "a" * 64, 1.0, 0.03)],
    )  # fmt: skip
    path = tmp_path / "made.parquet"
    write_whole(path, table.to_bytes())
    return str(path)


def show(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["table", "show", *arguments])


def test_the_whole_table_is_in_its_json(file: str) -> None:
    values = json.loads(show(file, "--json").stdout)
    assert values["counts"] == {"ok": 1, "unstable": 1, "predicted": 1, "invalid": 1}
    assert (values["table"], values["layers"], values["unstable"]) == ("made", 3, 1)
    assert values["condition"] == CONDITION.to_dict()
    assert values["calibration"]["scale"] == 1.1
    low, high = values["scale_interval"]
    assert 1.07 < low < 1.1 < high < 1.13
    assert [anchor["label"] for anchor in values["anchors"]] == [STEM]
    assert (values["oldest_unix_s"], values["newest_unix_s"]) == (1.7e9, 1.7e9 + 3600)
    assert values["versions"] == {"hilnas": "0", "runtime": CONDITION.runtime}
    assert values["invalid"] == {"v1/x": "crashed: signal"}
    assert values["provenance"]["serial"] == "S1"
    rows = [Row(**{**row, "journal_rows": tuple(row["journal_rows"])}) for row in values["rows"]]
    assert rows == [ROWS[1], ROWS[0], ROWS[2]]


def test_rows_are_chosen_by_text_status_and_size(file: str) -> None:
    def keys(*options: str) -> list[str]:
        return [row["layer"] for row in json.loads(show(file, *options, "--json").stdout)["rows"]]

    assert keys("--slowest", "2") == [BODY, STEM]
    assert keys("--layers", "conv") == [STEM]
    assert keys("--status", "predicted") == [HEAD]
    assert keys("--layers", "conv", "--status", "unstable") == []


def test_people_read_intervals_and_why_a_row_is_unstable(file: str) -> None:
    text = show(file).stdout
    assert text.startswith("made: 3 rows: 1 ok, 1 unstable, 1 predicted, 1 invalid\n")
    for part in (
        "scale       1.1000, 1.0797 to 1.1206 in another session (90 %)",
        "measured    2023-11-14 22:13 UTC to 2023-11-14 23:13 UTC",
        "address     test:, serial S1",
        "invalid     v1/x: crashed: signal",
        "over 1.5 %",
    ):
        assert part in text
    (line,) = (line for line in text.splitlines() if line.startswith(f"{STEM} "))
    assert line.split() == [
        STEM, "1.0000", "0.9700", "1.0300", "1.1000", "1.2000", "12", "ok",
    ]  # fmt: skip
    few = show(file, "--slowest", "1").stdout
    assert few.endswith("and 2 more: --slowest N, --layers TEXT\n")
    assert show(file, "--status", "ok").stdout.startswith("1 of 3 rows, the slowest first\nlayer")


def test_bad_input_gets_one_line(file: str, tmp_path: Path) -> None:
    missing = show(file, "--layers", "depthwise")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr == (
        "hilnas: table 'made': expected rows whose key holds 'depthwise', found none of 3;"
        " leave out --layers to see some\n"
    )
    assert show(file, "--slowest", "0").exit_code == 2
    assert show(file, "--status", "bad").exit_code == 2
    data = bytearray(Path(file).read_bytes())
    data[100] ^= 1
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(data)
    damaged = show(str(broken))
    assert (damaged.exit_code, damaged.stdout) == (1, "")
    assert "changed after it was written; restore a copy" in damaged.stderr
