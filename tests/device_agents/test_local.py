from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from device_agents.errors import DeviceUnusable, ModelRefused
from device_agents.floor import summarize
from device_agents.local import LocalAgent
from device_agents.measurement import Agent, FailedVisit, ModelFile, ResidentPlan, Visit
from device_agents.open import open_agent, open_local
from exporters.catalog import make_exporter
from exporters.exporter import export_layer
from exporters.runner import Runner
from networks.graph import Shape
from networks.layers import Conv
from tests.contracts.agent_contract import AgentContract, visits_of
from tests.device_agents.models import build_model, store, write_model

PLAN = ResidentPlan(hot=3, min_visits=4, max_visits=8, min_span_s=0.0)
ENDLESS = ResidentPlan(min_visits=10**6, max_visits=10**6, min_span_s=0.0)


@pytest.fixture
def agent() -> Iterator[LocalAgent]:
    with open_local() as opened:
        yield opened


@pytest.fixture
def models(tmp_path: Path) -> list[ModelFile]:
    return [write_model(tmp_path, "dense", "convolution", seed=seed) for seed in range(3)]


class TestLocalAgent(AgentContract):
    @pytest.fixture
    def agent(self) -> Iterator[Agent]:
        with open_agent("local") as opened:
            yield opened

    @pytest.fixture
    def models(self, tmp_path: Path) -> list[ModelFile]:
        return [write_model(tmp_path, "dense", "convolution", seed=seed) for seed in range(3)]

    @pytest.fixture
    def refused_model(self, tmp_path: Path) -> ModelFile:
        return write_model(tmp_path, "cumulative-sum")


def failures(visits: list[Visit | FailedVisit]) -> list[FailedVisit]:
    return [visit for visit in visits if isinstance(visit, FailedVisit)]


def test_a_larger_model_takes_longer(agent: LocalAgent, tmp_path: Path) -> None:
    small = write_model(tmp_path, "convolution", width=8, size=8)
    large = write_model(tmp_path, "convolution", width=64, size=16)
    visits = list(agent.measure([small, large], PLAN))
    floors = [summarize(visits_of(m, visits), "thread-cpu-time", PLAN) for m in (small, large)]
    assert floors[0].hot_ns < floors[1].hot_ns
    assert all(f.cold_ns is not None and f.cold_ns > 0 for f in floors)


@pytest.mark.parametrize(
    "steps",
    [
        ("cumulative-sum",),
        ("dense", "cumulative-sum"),
        ("cumulative-sum", "dense"),
        ("dense", "cumulative-sum", "dense"),
    ],
)
def test_what_is_not_one_whole_delegate_is_rejected(tmp_path: Path, steps: tuple[str, ...]) -> None:
    model = write_model(tmp_path, *steps)  # type: ignore[arg-type]
    with LocalAgent() as agent:
        (failed,) = failures(list(agent.measure([model], PLAN)))
    assert failed.reason == "rejected"
    assert "CUMSUM" in failed.detail
    with LocalAgent(delegate="none") as agent:
        assert visits_of(model, list(agent.measure([model], PLAN)))


@pytest.mark.parametrize("keep", [0, 3, 100, 700])
def test_a_damaged_file_is_unreadable(agent: LocalAgent, tmp_path: Path, keep: int) -> None:
    model = store(tmp_path, build_model(("dense",))[:keep])
    (failed,) = failures(list(agent.measure([model], PLAN)))
    assert failed.reason == "unreadable"
    assert str(model.path) in failed.detail


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_a_failed_visit_and_the_worker_is_replaced(
    agent: LocalAgent, models: list[ModelFile], number: signal.Signals
) -> None:
    visits = agent.measure(models, ENDLESS)
    assert isinstance(next(visits), Visit)
    first = _worker(agent)
    os.kill(first, number)
    failed = next(v for v in visits if isinstance(v, FailedVisit))
    assert failed.reason == "crashed"
    assert number.name in failed.detail
    assert isinstance(next(visits), Visit)
    assert _worker(agent) != first


def test_a_model_lost_twice_is_dropped(agent: LocalAgent, models: list[ModelFile]) -> None:
    reasons = []
    for visit in agent.measure(models[:1], ENDLESS):
        if isinstance(visit, FailedVisit):
            reasons.append(visit.reason)
        else:
            os.kill(_worker(agent), signal.SIGKILL)
    assert reasons == ["crashed", "crashed"]


def test_a_hang_is_a_failed_visit(agent: LocalAgent, models: list[ModelFile]) -> None:
    plan = ResidentPlan(min_visits=10**6, max_visits=10**6, min_span_s=0.0, visit_timeout_s=0.5)
    visits = agent.measure(models, plan)
    next(visits)
    stopped = _worker(agent)
    os.kill(stopped, signal.SIGSTOP)
    failed = next(v for v in visits if isinstance(v, FailedVisit))
    assert failed.reason == "hung"
    assert not _is_running(stopped)
    assert isinstance(next(visits), Visit)


def test_models_that_do_not_fit_together_take_turns(models: list[ModelFile]) -> None:
    with LocalAgent(capacity_bytes=1) as agent:
        order = [visit.sha256 for visit in agent.measure(models, PLAN)]
    turns = [sha256 for i, sha256 in enumerate(order) if i == 0 or order[i - 1] != sha256]
    assert sorted(turns) == sorted(model.sha256 for model in models)


def test_the_caller_keeps_its_cores(agent: LocalAgent, models: list[ModelFile]) -> None:
    before = os.sched_getaffinity(0)
    visits = agent.measure(models, PLAN)
    next(visits)
    if len(before) > 1:
        assert not os.sched_getaffinity(0) & os.sched_getaffinity(_worker(agent))
    list(visits)
    assert os.sched_getaffinity(0) == before


def test_the_worker_has_a_session_of_its_own_and_ends_with_the_measuring(
    agent: LocalAgent, models: list[ModelFile]
) -> None:
    visits = agent.measure(models, ENDLESS)
    next(visits)
    worker = _worker(agent)
    assert os.getsid(worker) == worker  # so that Ctrl-C does not reach it
    agent.close()
    assert not _is_running(worker)
    assert agent.worker_pid is None


def test_the_worker_ends_when_the_harness_is_killed(models: list[ModelFile]) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from device_agents.local import LocalAgent\n"
        "from device_agents.measurement import ModelFile, ResidentPlan\n"
        "agent = LocalAgent()\n"
        "visits = agent.measure([ModelFile(Path(sys.argv[1]), sys.argv[2])], ResidentPlan())\n"
        "next(visits)\n"
        "print(agent.worker_pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    arguments = [sys.executable, "-c", program, str(models[0].path), models[0].sha256]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        worker = int(harness.stdout.readline())
        assert _is_running(worker)
        harness.kill()
    deadline = time.monotonic() + 20
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_running(worker)


def test_a_core_that_is_not_ours_is_refused() -> None:
    with pytest.raises(DeviceUnusable, match="expected one of the cores"):
        open_agent("local:cpu=99999")


def test_the_core_of_the_address_is_used() -> None:
    core = min(os.sched_getaffinity(0))
    with open_agent(f"local:cpu={core}") as agent:
        assert agent.condition(precision="float32").cores == f"cpu{core}"
        assert agent.address == f"local:cpu={core}"


def test_a_timing_program_that_cannot_start_says_why(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such thing here >&2\nexit 3\n")
    python.chmod(0o755)
    with (
        LocalAgent(python=str(python)) as agent,
        pytest.raises(DeviceUnusable, match="exited with 3; its last line: no such thing here"),
    ):
        agent.condition(precision="float32")


def test_invoke_gives_what_the_runtime_gives(agent: LocalAgent, tmp_path: Path) -> None:
    model = write_model(tmp_path, "dense", "convolution")
    inputs = np.random.default_rng(1).normal(size=(70, 8, 8, 16)).astype(np.float32)
    interpreter = Interpreter(model_path=str(model.path), num_threads=1)
    interpreter.allocate_tensors()
    expected = []
    for item in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], item[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    np.testing.assert_allclose(agent.invoke(model, inputs), np.stack(expected), rtol=1e-6)


def test_invoke_of_an_int8_model_takes_and_gives_real_numbers(
    agent: LocalAgent, tmp_path: Path
) -> None:
    layer = Conv(Shape(8, 8, 3), 4, kernel=3)
    found = export_layer(layer, tmp_path / "q.tflite", exporter=make_exporter(precision="int8"))
    inputs = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)
    expected = Runner(found.path.read_bytes()).run_batch(inputs)
    model = ModelFile(found.path, found.sha256)
    np.testing.assert_array_equal(agent.invoke(model, inputs), expected)


def test_invoke_refuses_what_measuring_refuses(agent: LocalAgent, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="one XNNPACK delegate"):
        agent.invoke(write_model(tmp_path, "cumulative-sum"), np.zeros((1, 8, 8, 16), np.float32))


def _worker(agent: LocalAgent) -> int:
    assert agent.worker_pid is not None
    return agent.worker_pid


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
