"""hilnas refresh on this machine: its JSON line, its exit codes, and what bad input gets."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from device_agents.local import LocalAgent
from device_agents.measurement import DEFAULT_PLAN
from hilnas import app
from hilnas.refreshing import next_directory, parse_age
from latency_tables.journal import JournalWriter
from latency_tables.profile import profile
from latency_tables.store import TableDirectory, TableStore
from tests.latency_tables.test_profile import LAYERS, NETWORKS

KEYS = {
    "table", "layers", "measured", "invalid", "unstable", "coverage", "remaining", "wall_s",
    "journal", "wanting", "drift",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    with LocalAgent() as agent:
        profile(
            agent, LAYERS, TableStore(data / "hilnas" / "tables").directory("small"),
            networks=NETWORKS, plan=replace(DEFAULT_PLAN, min_span_s=1.0),
        )  # fmt: skip
    return data


@pytest.fixture(autouse=True)
def table(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableDirectory:
    shutil.copytree(made, tmp_path / "data")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return TableDirectory(tmp_path / "data" / "hilnas" / "tables" / "small")


def hilnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["refresh", *arguments])


def fails(*arguments: str) -> str:
    result = hilnas(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    return line


def test_one_json_line_tells_the_scheduler(table: TableDirectory) -> None:
    result = hilnas("small", "--span", "1s", "--json")
    (line,) = result.stdout.splitlines()
    values = json.loads(line)
    assert set(values) == KEYS
    assert (values["layers"], values["measured"], values["coverage"]) == (8, 8, 1.0)
    assert values["journal"] == str(table.journal)
    assert result.exit_code == (3 if values["drift"]["drifted"] or values["remaining"] else 0)
    assert len(values["drift"]["anchors"]) == 6


def test_bad_input_is_one_line(table: TableDirectory, tmp_path: Path) -> None:
    file = table.current().read_bytes()
    assert "no table is named 'none'" in fails("none")
    assert "expected a budget of" in fails("small", "--budget", "1s")
    assert "holds no run" in fails("small", "--run", "nowhere")
    assert "mnasnet" in fails("small", "--space", "mnasnt")
    shutil.copy(table.current(), tmp_path / "alone.parquet")
    assert "a file alone cannot be measured again" in fails("alone.parquet")
    with JournalWriter.open(table.journal):
        assert "expected no other writer" in fails("small")
    assert table.current().read_bytes() == file
    assert len(table.versions()) == 1


def test_ages_are_read_whole() -> None:
    assert (parse_age("7d"), parse_age("1.5h")) == (7 * 86400, 5400)
    for text in ("7", "0d", "d", "7d ", "-1d"):
        with pytest.raises(typer.BadParameter, match="expected an age such as 12h or 7d"):
            parse_age(text)


def test_a_rebased_table_has_the_next_name(table: TableDirectory) -> None:
    store = TableStore(table.path.parent)
    assert next_directory(store, table).name == "small-2"
    shutil.copytree(table.path, table.path.parent / "small-2")
    assert next_directory(store, table).name == "small-3"
    assert next_directory(store, store.directory("small-2")).name == "small-3"
