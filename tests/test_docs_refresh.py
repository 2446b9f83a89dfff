"""docs/refresh.md: its units are what systemd reads, and its commands are ones that there are."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilnas import app
from latency_tables.drift_report import DriftReport

TEXT = (Path(__file__).parent.parent / "docs" / "refresh.md").read_text()
COMMANDS = sorted(set(re.findall(r"hilnas (refresh [^>\n`]*?)(?:$| >>|`)", TEXT, re.MULTILINE)))


def unit(suffix: str) -> configparser.ConfigParser:
    """Return the unit that the page spells below the name of its file."""
    (block,) = re.findall(rf"hilnas-refresh@\.{suffix}`[^\n]*\n\n((?:(?:    .*)?\n)+)", TEXT)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string("\n".join(line[4:] for line in block.splitlines()))
    return parser


def test_the_units_are_whole() -> None:
    service, timer = unit("service")["Service"], unit("timer")
    assert service["Type"] == "oneshot"
    assert service["SuccessExitStatus"] == "3"
    assert service["ExecStart"].startswith("%h/hilnas/.venv/bin/hilnas refresh %I ")
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    words = shlex.split(command.replace("%I", "mnasnet@224"))
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1  # there is no such table yet: the options were understood
    assert "no table is named 'mnasnet@224'" in result.stderr


def test_the_page_names_every_key_and_cause() -> None:
    values = DriftReport("none", "").to_dict()
    assert [key for key in values if f"`{key}`" not in TEXT] == []
    assert json.loads(json.dumps(values)) == values
    for cause in ("os-build", "uniform", "pace", "kind", "mixed"):
        assert f"| `{cause}` |" in TEXT
