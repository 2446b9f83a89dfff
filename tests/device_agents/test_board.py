from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_agents.board import BoardAgent
from device_agents.conditions.limits import LIMITS
from device_agents.errors import DeviceBusy, DeviceSwapped, DeviceUnusable
from device_agents.floor import is_done
from device_agents.measurement import Agent, FailedVisit, ModelFile, ResidentPlan, Visit
from device_agents.open import AgentOptions, open_agent
from device_agents.transports.local import LocalTransport
from exporters.catalog import make_exporter
from exporters.exporter import export_layer
from networks.graph import Shape
from networks.layers import Conv
from tests.contracts.agent_contract import AgentContract, visits_of
from tests.device_agents.models import write_model
from tests.device_agents.transports.sshd import running_sshd


class TestBoardAgent(AgentContract):
    @pytest.fixture
    def agent(self, tmp_path: Path) -> Iterator[Agent]:
        with BoardAgent(
            LocalTransport(),
            state_folder=tmp_path / "state",
            python=sys.executable,
            folder=str(tmp_path / "board"),
        ) as opened:
            yield opened

    @pytest.fixture
    def models(self, tmp_path: Path) -> list[ModelFile]:
        return [write_model(tmp_path, "dense", "convolution", seed=seed) for seed in range(3)]

    @pytest.fixture
    def refused_model(self, tmp_path: Path) -> ModelFile:
        return write_model(tmp_path, "cumulative-sum")


ENDLESS = ResidentPlan(min_visits=10**6, max_visits=10**6, min_span_s=0.0)
PLAN = ResidentPlan(hot=3, min_visits=4, max_visits=8, min_span_s=0.0)
HURRIED = replace(LIMITS, cool_downs_s=(0.0, 0.0))


def open_board(folder: Path, *, python: str = sys.executable, **options: Any) -> BoardAgent:
    return BoardAgent(
        LocalTransport(),
        state_folder=folder / "state",
        python=python,
        folder=str(folder / "board"),
        limits=HURRIED,
        **options,
    )


@pytest.fixture
def models(tmp_path: Path) -> list[ModelFile]:
    return [write_model(tmp_path, "dense", "convolution", seed=seed) for seed in range(2)]


def batches(folder: Path) -> list[int]:
    """Return the processes that time something on this board."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            environment = (process / "environ").read_bytes()
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder / "board").encode() in environment and b"plan.json" in words:
            found.append(int(process.name))
    return found


def wait_for_batch(folder: Path) -> int:
    deadline_s = time.monotonic() + 20
    while not batches(folder) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return batches(folder)[0]


def test_nothing_is_left_on_the_board(tmp_path: Path, models: list[ModelFile]) -> None:
    with open_board(tmp_path) as agent:
        assert all(visits_of(m, list(agent.measure(models, PLAN))) for m in models)
        assert agent.serial == open_board(tmp_path).serial
    assert list((tmp_path / "board/jobs").iterdir()) == []
    assert batches(tmp_path) == []


def test_a_crash_is_a_failed_visit_and_the_batch_goes_on(
    tmp_path: Path, models: list[ModelFile]
) -> None:
    plan = ResidentPlan(hot=3, min_visits=600, max_visits=600, min_span_s=0.0)

    def crash() -> None:
        pid = wait_for_batch(tmp_path)
        out = next((tmp_path / "board/jobs").iterdir()) / "out"
        while out.stat().st_size < 5000:
            time.sleep(0.01)
        os.kill(pid, signal.SIGSEGV)

    with open_board(tmp_path) as agent:
        crasher = threading.Thread(target=crash)
        crasher.start()
        visits = list(agent.measure(models, plan))
        crasher.join()
    failed = [v for v in visits if isinstance(v, FailedVisit)]
    assert [v.reason for v in failed] in (["crashed"], [])  # between two visits it costs none
    assert [len(visits_of(model, visits)) for model in models] == [600, 600]
    assert len({v.origin for v in visits}) == len(visits)


def test_what_a_killed_session_measured_is_handed_in_by_the_next(
    tmp_path: Path, models: list[ModelFile]
) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from device_agents.measurement import ModelFile\n"
        "from tests.device_agents.test_board import PLAN, open_board\n"
        "models = [ModelFile(Path(p), s) for p, s in zip(sys.argv[2::2], sys.argv[3::2])]\n"
        "visits = open_board(Path(sys.argv[1])).measure(models, PLAN)\n"
        "print(next(visits).origin[0], flush=True)\n"
        "time.sleep(600)\n"
    )
    words = [word for model in models for word in (str(model.path), model.sha256)]
    argv = [sys.executable, "-c", program, str(tmp_path), *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        job = killed.stdout.readline().strip()
        killed.kill()
    with open_board(tmp_path) as agent:
        visits = list(agent.measure(models, PLAN))
    assert {v.origin[0] for v in visits if v.origin} == {job}
    assert [is_done(visits_of(m, visits), "thread-cpu-time", PLAN) for m in models] == [True, True]
    assert list((tmp_path / "board/jobs").iterdir()) == []


def test_a_caller_who_stops_leaves_nothing_running(tmp_path: Path, models: list[ModelFile]) -> None:
    with open_board(tmp_path, check_s=0.1) as agent:
        measuring = agent.measure(models, ENDLESS)
        next(measuring)
        assert len(batches(tmp_path)) == 1
        measuring.close()  # type: ignore[attr-defined]
        assert batches(tmp_path) == []


def test_models_that_do_not_fit_together_take_turns(
    tmp_path: Path, models: list[ModelFile]
) -> None:
    with open_board(tmp_path, capacity_bytes=1) as agent:
        order = [visit.sha256 for visit in agent.measure(models, PLAN)]
    turns = [sha256 for i, sha256 in enumerate(order) if i == 0 or order[i - 1] != sha256]
    assert sorted(turns) == sorted(model.sha256 for model in models)


def test_a_board_that_throttles_invalidates_its_visits_and_they_are_made_again(
    tmp_path: Path, models: list[ModelFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = tmp_path / "bin" / "vcgencmd"
    firmware.parent.mkdir()
    counter = tmp_path / "asked"
    firmware.write_text(
        f"#!/bin/sh\n[ $1 = get_throttled ] || exit 1\necho x >>{counter}\n"
        f"if [ $(wc -l <{counter}) = 3 ]; then echo throttled=0x4; else echo throttled=0x0; fi\n"
    )
    firmware.chmod(0o755)
    monkeypatch.setenv("PATH", f"{firmware.parent}:{os.environ['PATH']}")
    with open_board(tmp_path) as agent:
        visits = list(agent.measure(models, PLAN))
    invalid = [v for v in visits if isinstance(v, FailedVisit)]
    assert {failed.reason for failed in invalid} == {"invalid"}
    assert all("throttled" in failed.detail and failed.raw for failed in invalid)
    assert all(is_done(visits_of(m, visits), "thread-cpu-time", PLAN) for m in models)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no such thing here >&2; exit 3", "exit code 3.*no such thing here"),
        ("echo chatter", "does not run the timing program"),
    ],
)
def test_an_interpreter_that_cannot_time_says_why(
    tmp_path: Path, script: str, message: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with (
        open_board(tmp_path, python=str(python)) as agent,
        pytest.raises(DeviceUnusable, match=message),
    ):
        agent.condition(precision="float32")


def test_another_board_than_the_expected_one_is_refused(tmp_path: Path) -> None:
    with open_board(tmp_path, serial="OTHER") as agent, pytest.raises(DeviceSwapped):
        agent.condition(precision="float32")


def test_a_board_that_another_session_has_is_busy(tmp_path: Path, models: list[ModelFile]) -> None:
    with open_board(tmp_path, check_s=0.1) as agent, open_board(tmp_path) as other:
        measuring = agent.measure(models, ENDLESS)
        next(measuring)
        with pytest.raises(DeviceBusy):
            next(other.measure(models, PLAN))
        measuring.close()  # type: ignore[attr-defined]


def test_a_board_behind_a_real_sshd_loses_nothing_when_its_connections_are_cut(
    tmp_path: Path, models: list[ModelFile]
) -> None:
    plan = ResidentPlan(hot=3, min_visits=100, max_visits=100, min_span_s=3.0)
    (tmp_path / "sshd").mkdir()
    with running_sshd(tmp_path / "sshd") as sshd:
        options = AgentOptions(
            python=sys.executable,
            ssh_key=sshd.key_file,
            known_hosts=sshd.known_hosts,
            state_folder=tmp_path / "state",
            device_folder=str(tmp_path / "board"),
        )

        def cut() -> None:
            wait_for_batch(tmp_path)
            for pid in sshd.sessions():
                os.kill(pid, signal.SIGKILL)

        with open_agent(str(sshd.address), options=options) as agent:
            cutter = threading.Thread(target=cut)
            cutter.start()
            visits = list(agent.measure(models, plan))
            cutter.join()
    assert [len(visits_of(model, visits)) for model in models] == [100, 100]
    assert len({v.origin[0] for v in visits if isinstance(v, Visit) and v.origin}) == 1
    assert not [v for v in visits if isinstance(v, FailedVisit)]


OLD_PYTHON = Path(os.environ.get("HILNAS_TFLITE_PYTHON", ".venv-tflite/bin/python"))


@pytest.mark.skipif(
    not OLD_PYTHON.exists(),
    reason=f"{OLD_PYTHON} is not there: an environment with tflite-runtime 2.14 and numpy 1;"
    " name another in HILNAS_TFLITE_PYTHON",
)
class TestOldRuntime:
    """tflite-runtime 2.14 beside NumPy 1, as boards have it."""

    def test_it_measures(self, tmp_path: Path, models: list[ModelFile]) -> None:
        with open_board(tmp_path, python=str(OLD_PYTHON.absolute())) as agent:
            assert agent.condition(precision="float32").runtime == "tflite-runtime 2.14.0"
            visits = list(agent.measure(models, PLAN))
        assert not [v for v in visits if isinstance(v, FailedVisit)]
        assert all(is_done(visits_of(m, visits), "thread-cpu-time", PLAN) for m in models)

    def test_what_it_leaves_undelegated_is_rejected_unless_that_is_asked_for(
        self, tmp_path: Path
    ) -> None:
        layer = Conv(Shape(8, 8, 3), 4, kernel=3)
        exporter = make_exporter(precision="int8")
        found = export_layer(layer, tmp_path / "q.tflite", exporter=exporter)
        model = ModelFile(found.path, found.sha256)
        python = str(OLD_PYTHON.absolute())
        with open_board(tmp_path, python=python) as agent:
            (failed,) = list(agent.measure([model], PLAN))
        assert isinstance(failed, FailedVisit)
        assert failed.reason == "rejected"
        assert "one XNNPACK delegate" in failed.detail
        with open_board(tmp_path, python=python, delegate="none") as agent:
            assert visits_of(model, list(agent.measure([model], PLAN)))
