from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents import timing_batch
from device_agents.batch import BatchOutput, format_plan
from device_agents.errors import UnreadableAnswer
from device_agents.floor import is_done
from device_agents.measurement import FailedVisit, ModelFile, ResidentPlan, Visit
from device_agents.timing_batch import Batch, is_enough, sample_of
from tests.device_agents.visits import visit

PROGRAM = Path(timing_batch.__file__)
PLAN = ResidentPlan(hot=3, min_visits=3, agree=2, max_visits=5, min_span_s=0.0)
LONG_PLAN = ResidentPlan(min_visits=3, max_visits=35)


class Residents:
    """Stands in for models in memory: each visit is one nanosecond faster than the last."""

    def __init__(self) -> None:
        self.visits = 0

    def __contains__(self, sha256: str) -> bool:
        return True

    def visit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.visits += 1
        return _answer(request["sha256"], 1_000_000 - self.visits)

    def forget(self, request: Mapping[str, Any]) -> None:
        pass


def _answer(sha256: str, hot_ns: int, pace_ns: int = 10_000) -> dict[str, Any]:
    times = [2 * hot_ns, hot_ns + 7, hot_ns]
    return {
        "visit": sha256, "started_unix_s": 0.0, "wall_ns": times, "cpu_ns": times,
        "pace_ns": pace_ns, "preemptions": 0, "load": 0.0, "steal": 0.0,
    }  # fmt: skip


@pytest.fixture
def models(tmp_path: Path) -> list[ModelFile]:
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
    return [ModelFile(tmp_path / name, name) for name in "abc"]


def plan_for(models: list[ModelFile], plan: ResidentPlan = PLAN, seed: int = 0) -> dict[str, Any]:
    content = format_plan(
        models, plan, done={}, folder="/m", delegate="xnnpack", capacity_bytes=1 << 30, seed=seed
    )
    return dict(json.loads(content))


def run(plan: dict[str, Any], output: Path) -> list[dict[str, Any]]:
    Batch(Residents(), plan, str(output)).run()  # type: ignore[arg-type]
    return [json.loads(line) for line in output.read_text().splitlines() if line.startswith("{")]


def test_it_needs_an_old_python_and_the_timing_program_only() -> None:
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 8))
    imported = {
        str(node.module) if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    own = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert own == {"device_agents.timing_program"}


def test_models_are_visited_in_rounds_until_they_are_done(
    models: list[ModelFile], tmp_path: Path
) -> None:
    lines = run(plan_for(models), tmp_path / "out")
    order = [line["visit"] for line in lines]
    assert [set(order[i : i + 3]) for i in (0, 3, 6)] == [{"a", "b", "c"}] * 3
    assert len(order) == 9
    assert order != run(plan_for(models, seed=1), tmp_path / "other")


def test_a_batch_that_was_killed_goes_on_where_it_was(
    models: list[ModelFile], tmp_path: Path
) -> None:
    plan, whole, part = plan_for(models), tmp_path / "whole", tmp_path / "part"
    run(plan, whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:9]) + b'\n{"visit": "a", "wal')
    found = part.read_bytes()
    Batch(Residents(), plan, str(part)).run()  # type: ignore[arg-type]
    assert part.read_bytes().startswith(found)
    output = BatchOutput("job")
    visits = list(output.feed(part.read_bytes(), booted_unix_s=0.0, now_unix_s=1e9))
    assert sorted(v.sha256 for v in visits) == sorted("abc" * 3)


@pytest.mark.parametrize("hung", [b"", b"Timeout (0:00:30)!\n"])
def test_the_model_that_it_was_lost_in_is_known_and_dropped_the_second_time(
    models: list[ModelFile], tmp_path: Path, hung: bytes
) -> None:
    output = tmp_path / "out"
    for _ in range(2):
        (tmp_path / "out.at").write_bytes(b"b")
        (tmp_path / "out.hung").write_bytes(hung)
        lines = run(plan_for(models), output)
    failed = [line for line in lines if "failed" in line]
    assert [(f["failed"], f["sha256"]) for f in failed] == [
        ("hung" if hung else "crashed", "b")
    ] * 2
    assert sum(line.get("visit") == "a" for line in lines) == 3


def test_a_visit_that_hangs_ends_the_program(models: list[ModelFile], tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_text(json.dumps({**plan_for(models), "timeout_s": 0.2}))
    program = (
        "import json, sys, time\n"
        "from device_agents.timing_batch import Batch\n"
        "class Hanging:\n"
        "    def __contains__(self, sha256): return True\n"
        "    def visit(self, request): time.sleep(60)\n"
        "Batch(Hanging(), json.load(open(sys.argv[1])), sys.argv[2]).run()\n"
    )
    argv = [sys.executable, "-W", "ignore", "-c", program, str(plan), str(tmp_path / "out")]
    assert subprocess.run(argv, check=False, cwd=PROGRAM.parents[1]).returncode == 1
    lines = run(plan_for(models), tmp_path / "out")
    assert [line["failed"] for line in lines if "failed" in line] == ["hung"]


@given(st.lists(st.tuples(st.integers(10**6, 11 * 10**5), st.integers(9_000, 13_000)), max_size=40))
def test_the_rule_is_the_one_of_floors(samples: list[tuple[int, int]]) -> None:
    done = [visit(hot_ns, sha256="a", pace_ns=pace_ns) for hot_ns, pace_ns in samples]
    model = ModelFile(PROGRAM, "a")
    content = format_plan(
        [model], LONG_PLAN, done={"a": done}, folder="/m", delegate="none",
        capacity_bytes=1 << 30, seed=0,
    )  # fmt: skip
    plan = json.loads(content)
    ((found,),) = plan["shards"]
    made = [sample_of(visit) for visit in found["done"]]
    assert is_enough(made, found, plan) == is_done(done, "thread-cpu-time", LONG_PLAN)


def test_lines_come_in_pieces_among_chatter() -> None:
    first, second = (
        json.dumps({**_answer("a", 1000), "uptime_s": 5.0}),
        json.dumps({"failed": "rejected", "sha256": "b", "detail": "no"}),
    )
    text = f"INFO: Created\n\n{first}\nchatter{{\n\n{second}\n\n{first[:40]}".encode()
    output = BatchOutput("job")
    found: list[Visit | FailedVisit] = []
    for start in range(0, len(text), 7):
        piece = text[start : start + 7]
        found += output.feed(piece, booted_unix_s=1000.0, now_unix_s=2000.0)
    assert [(o.sha256, o.origin, o.started_unix_s) for o in found] == [
        ("a", ("job", 1), 1005.0),
        ("b", ("job", 2), 2000.0),
    ]
    assert output.last_words == "chatter{"


@pytest.mark.parametrize("line", ['{"visit": "a"}', '{"failed": "bored", "sha256": "a"}', "{x}"])
def test_a_line_that_is_not_as_agreed_is_a_defect(line: str) -> None:
    with pytest.raises(UnreadableAnswer):
        list(BatchOutput("job").feed(f"{line}\n".encode(), booted_unix_s=0.0, now_unix_s=0.0))
