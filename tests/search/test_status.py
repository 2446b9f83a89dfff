"""Where a run stands, read from outside: while it runs, when it was killed, and of old formats."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.errors import NotARun
from search.run import load, run_search
from search.searchers import make_searcher
from search.status import RunStatus, format_status, status_of, status_table
from search.trials import FailedTrial, Trial
from tests.search.spaces import Additive, ConvSpace, config

SPACE = ConvSpace(4, 3, 4)
ROOT = Path(__file__).parents[2]


def run(out: Path, *, stop_after: int | None = None) -> None:
    evaluator = Additive(SPACE, fails=frozenset({5}), stop_after=stop_after)
    run_search(
        config(), SPACE, evaluator.latency_ms, evaluator, make_searcher("random", SPACE, seed=3),
        out=out,
    )  # fmt: skip


def picture(status: RunStatus) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(status_table(status))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_a_finished_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    status, result = status_of(tmp_path / "run"), load(tmp_path / "run")
    failed = [t for t in result.trials if isinstance(t, FailedTrial) and not t.is_repeat]
    assert (status.state, status.told, status.distinct) == ("finished", 60, result.distinct)
    assert (status.failed, status.last_failure) == (len(failed), "loss is not finite")
    assert status.best == result.best
    assert status.last == result.trials[-1]
    assert status.left_s is None
    assert status.per_minute is not None
    within = [t for t in result.trials if isinstance(t, Trial) and not t.is_repeat
              and t.latency_ms <= 50]  # fmt: skip
    assert [t.quality for t in status.leaders] == sorted(t.quality for t in within)[::-1][:5]
    values = json.loads(json.dumps(status.to_dict(), allow_nan=False))
    assert (values["state"], values["trials"], values["meets_target"]) == ("finished", 60, True)
    assert result.best is not None
    for text in (format_status(status), picture(status)):
        assert "finished, 60 of 60 proposals" in text
        assert f"{result.best.quality:.4f}" in text
        assert "failed, the last one: loss is not finite" in text


def test_a_stopped_run_has_its_budget_left(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", stop_after=20)
    status = status_of(tmp_path / "run")
    assert status.state == "stopped"
    assert status.told == len(load(tmp_path / "run").trials) < 60
    assert status.left_s is None
    assert "stopped" in format_status(status)


def test_it_is_read_while_another_process_writes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "tests.search.searching", str(out), "random", "0.1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        next(line for line in process.stdout if int(line) > 16)  # it says how many it has told
        status = status_of(out)
        assert status.told > 16
        assert status.state == "running"
        assert status.per_minute is not None
        assert status.left_s == pytest.approx((60 - status.told) / status.per_minute * 60)
        assert "left" in format_status(status)
    finally:
        process.kill()
        process.communicate()
    assert status_of(out).state == "stopped"


def test_no_network_within_the_target(tmp_path: Path) -> None:
    evaluator = Additive(SPACE)
    run_search(
        config(budget=16), SPACE, lambda genotypes: evaluator.latency_ms(genotypes) + 100,
        evaluator, make_searcher("random", SPACE), out=tmp_path / "run",
    )  # fmt: skip
    status = status_of(tmp_path / "run")
    assert status.best is None
    assert status.to_dict()["meets_target"] is False
    for text in (format_status(status), picture(status)):
        assert "none yet within the target of 50 ms" in text


def test_without_a_target_the_reward_decides(tmp_path: Path) -> None:
    from search.objective import Penalty

    evaluator = Additive(SPACE)
    settings = replace(config(), reward=Penalty(0.01))
    result = run_search(
        settings, SPACE, evaluator.latency_ms, evaluator, make_searcher("random", SPACE),
        out=tmp_path / "run",
    )  # fmt: skip
    assert status_of(tmp_path / "run").best == result.best


def test_a_run_of_format_1_is_read(tmp_path: Path) -> None:
    run(tmp_path / "run")
    now = status_of(tmp_path / "run")
    file = tmp_path / "run" / "trials.sqlite"
    db = sqlite3.connect(file)
    db.executescript(
        "DROP VIEW trial; DROP TABLE measured; DROP TABLE spent;"
        "ALTER TABLE proposal DROP COLUMN asked_unix_s;"
        "ALTER TABLE result DROP COLUMN latency_std_ms; ALTER TABLE result DROP COLUMN violation;"
        "ALTER TABLE result DROP COLUMN costs; PRAGMA user_version = 1;"
    )
    db.close()
    before = file.read_bytes()
    assert status_of(tmp_path / "run") == replace(now, per_minute=None)
    assert file.read_bytes() == before


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"no run\.toml"):
        status_of(tmp_path)
