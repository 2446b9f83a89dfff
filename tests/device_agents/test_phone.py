from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from device_agents.conditions.limits import LIMITS
from device_agents.emulator.faults import parse_fault
from device_agents.emulator.phone import EmulatedPhone
from device_agents.errors import (
    BinaryRefused,
    DeviceBusy,
    DeviceSwapped,
    DeviceUnusable,
    NeedsHuman,
)
from device_agents.measurement import (
    Agent,
    Condition,
    FailedVisit,
    ModelFile,
    Outcome,
    ResidentPlan,
)
from device_agents.packs import PackedPlan, PackVisit
from device_agents.phone import PhoneAgent
from device_agents.processes import ProcessPlan, ProcessVisit, is_measured
from device_agents.transports.local import LocalTransport
from tests.device_agents.models import store, write_model
from tests.device_agents.phones import (
    IMPATIENT,
    ONCE,
    PLAN,
    agent_for,
    emulated_phone,
    tool_for,
)

JOBS = "data/local/tmp/hilnas/jobs"


@pytest.fixture
def models(tmp_path: Path) -> list[ModelFile]:
    return [
        write_model(tmp_path, "dense", "convolution", width=64, size=16, seed=n) for n in range(2)
    ]


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[EmulatedPhone]:
    with emulated_phone(tmp_path) as opened:
        yield opened


def visits_of(outcomes: list[Outcome]) -> list[ProcessVisit]:
    return [outcome for outcome in outcomes if isinstance(outcome, ProcessVisit)]


def failures_of(outcomes: list[Outcome]) -> list[FailedVisit]:
    return [outcome for outcome in outcomes if isinstance(outcome, FailedVisit)]


def counts(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(visit.sha256 for visit in visits_of(outcomes))


def left_on(phone: EmulatedPhone) -> list[str]:
    """Return the jobs that are still on the phone."""
    folder = phone.root / JOBS
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_session_measures_every_model_and_leaves_the_phone_as_it_was(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    before = dict(phone.state.settings)
    with agent_for(phone, tmp_path) as agent:
        opened: Agent = agent
        outcomes = list(opened.measure(models, PLAN))
        again = list(opened.measure(models, PLAN, done={m.sha256: visits_of(
            [o for o in outcomes if o.sha256 == m.sha256]) for m in models}))  # fmt: skip
    assert again == []
    assert counts(outcomes) == {model.sha256: 2 for model in models}
    assert failures_of(outcomes) == []
    for visit in visits_of(outcomes):
        assert visit.raw.startswith("INFO: STARTING!\n")
        assert visit.runs == PLAN.runs
        assert abs(visit.started_unix_s - time.time()) < 60
    origins = [visit.origin for visit in visits_of(outcomes)]
    assert len(set(origins)) == len(origins)
    assert None not in origins
    assert phone.state.settings == before
    assert not phone.state.fixed_performance
    assert left_on(phone) == []
    assert phone.sandbox.processes() == {}


def test_the_condition_names_what_makes_two_latencies_comparable(
    tmp_path: Path, phone: EmulatedPhone
) -> None:
    binary = tool_for(tmp_path)
    with agent_for(phone, tmp_path, binary=binary) as agent:
        condition = agent.condition(precision="float32")
        assert condition == agent.condition(precision="float32", plan=agent.default_plan)
        assert agent.serial == phone.serial
    assert Condition.from_dict(condition.to_dict()) == condition
    assert (condition.device, condition.os_build) == ("Pixel 4", phone.state.fingerprint)
    assert binary.sha256[:12] in condition.runtime
    assert (condition.method, condition.statistic) == ("process", "wall-time")
    assert (condition.cores, condition.power_mode) == ("cpu7", "fixed")
    assert "" not in condition.to_dict().values()


def test_visits_are_interleaved(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    with agent_for(phone, tmp_path) as agent:
        order = [outcome.sha256 for outcome in agent.measure(models, PLAN)]
    assert Counter(order[:2]) == Counter(order[2:]) == Counter(m.sha256 for m in models)


def test_models_that_cannot_be_timed_fail_once_and_the_others_go_on(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    refused = write_model(tmp_path, "cumulative-sum")
    damaged = store(tmp_path, b"no model\0" * 100)
    missing = ModelFile(tmp_path / "gone.tflite", "1" * 64)
    changed = ModelFile(models[0].path, "0" * 64)
    with agent_for(phone, tmp_path) as agent:
        outcomes = list(agent.measure([refused, damaged, missing, changed, *models], PLAN))
    failed = {failure.sha256: failure for failure in failures_of(outcomes)}
    assert len(failed) == len(failures_of(outcomes)) == 4
    assert failed[refused.sha256].reason == failed[damaged.sha256].reason == "rejected"
    assert failed[missing.sha256].reason == failed[changed.sha256].reason == "unreadable"
    assert "gone.tflite" in failed[missing.sha256].detail
    assert counts(outcomes) == {model.sha256: 2 for model in models}


def test_no_models_need_no_phone(tmp_path: Path) -> None:
    transport = LocalTransport()
    transport.close()
    with PhoneAgent(transport, binary=tool_for(tmp_path), state_folder=tmp_path) as agent:
        assert list(agent.measure([], PLAN)) == []


def test_a_plan_of_another_method_is_refused(tmp_path: Path, models: list[ModelFile]) -> None:
    with (
        PhoneAgent(LocalTransport(), binary=tool_for(tmp_path), state_folder=tmp_path) as agent,
        pytest.raises(DeviceUnusable, match="process method"),
    ):
        list(agent.measure(models, ResidentPlan()))


def test_a_model_is_pushed_once(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    def held() -> dict[str, float]:
        folder = phone.root / "data/local/tmp/hilnas/models"
        return {path.name: path.stat().st_mtime for path in folder.iterdir()}

    more = write_model(tmp_path, "dense")
    with agent_for(phone, tmp_path) as agent:
        list(agent.measure(models, ONCE))
        first = held()
        torn = phone.root / "data/local/tmp/hilnas/models" / f"{models[0].sha256}.tflite"
        torn.write_bytes(torn.read_bytes()[:-1])
        list(agent.measure([*models, more], ONCE))
    last = held()
    assert set(first) == {f"{model.sha256}.tflite" for model in models}
    assert last[f"{models[1].sha256}.tflite"] == first[f"{models[1].sha256}.tflite"]
    assert hashlib.sha256(torn.read_bytes()).hexdigest() == models[0].sha256


def test_models_too_large_for_the_phone_are_refused_before_the_push(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    phone.state.free_bytes = phone.sandbox.used_bytes() + 1000
    with agent_for(phone, tmp_path) as agent, pytest.raises(DeviceUnusable, match="free"):
        list(agent.measure(models, PLAN))
    assert not (phone.root / "data/local/tmp/hilnas/models").exists()


def test_a_tool_for_another_processor_is_refused_before_the_push(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    agent = agent_for(phone, tmp_path, binary=tool_for(tmp_path, "x86_64"))
    with agent, pytest.raises(BinaryRefused, match="x86_64"):
        list(agent.measure(models, PLAN))
    assert not (phone.root / "data/local/tmp/hilnas/tools").exists()


def test_a_tool_that_the_phone_does_not_execute_is_no_fault_of_a_model(
    tmp_path: Path, models: list[ModelFile]
) -> None:
    faults = [parse_fault("run 1+", "wrong-abi")]
    with (
        emulated_phone(tmp_path, faults) as phone,
        agent_for(phone, tmp_path) as agent,
        pytest.raises(BinaryRefused, match="126"),
    ):
        list(agent.measure(models, PLAN))


@pytest.mark.parametrize("fault", ["crash 139", "garbage", "empty", "cpu-fallback"])
def test_a_tool_that_goes_wrong_once_gives_no_number(
    tmp_path: Path, models: list[ModelFile], fault: str
) -> None:
    with (
        emulated_phone(tmp_path, [parse_fault("run 2", fault)]) as phone,
        agent_for(phone, tmp_path) as agent,
    ):
        outcomes = list(agent.measure(models, PLAN))
    (failed,) = failures_of(outcomes)
    assert failed.reason == ("crashed" if fault.startswith("crash") else "rejected")
    others = [model for model in models if model.sha256 != failed.sha256]
    assert all(counts(outcomes)[model.sha256] == 2 for model in others)
    if failed.reason == "crashed":  # it gets another chance
        assert counts(outcomes)[failed.sha256] == 2


def test_a_tool_that_hangs_is_ended_by_the_phone(tmp_path: Path, models: list[ModelFile]) -> None:
    plan = replace(PLAN, max_s=0.5, load_allowance_s=1.0)
    with (
        emulated_phone(tmp_path, [parse_fault("run 1", "hang")]) as phone,
        agent_for(phone, tmp_path) as agent,
    ):
        outcomes = list(agent.measure(models, plan))
        assert phone.sandbox.processes() == {}
    (failed,) = failures_of(outcomes)
    assert failed.reason == "hung"
    assert counts(outcomes) == {model.sha256: 2 for model in models}


def test_a_dropped_cable_costs_nothing(tmp_path: Path, models: list[ModelFile]) -> None:
    faults = [parse_fault(f"run {n}", "drop") for n in (1, 3, 4)]
    with (
        emulated_phone(tmp_path, faults) as phone,
        agent_for(phone, tmp_path) as agent,
    ):
        outcomes = list(agent.measure(models, PLAN))
        assert left_on(phone) == []
    assert counts(outcomes) == {model.sha256: 2 for model in models}
    assert failures_of(outcomes) == []
    assert len({visit.origin[0] for visit in visits_of(outcomes) if visit.origin}) == 1


@pytest.mark.parametrize("number", [7, 16])
def test_a_command_that_is_cut_is_done_again(
    tmp_path: Path, models: list[ModelFile], number: int
) -> None:
    faults = [parse_fault(f"shell {number}", "drop", after_bytes=10)]
    with (
        emulated_phone(tmp_path, faults) as phone,
        agent_for(phone, tmp_path) as agent,
    ):
        outcomes = list(agent.measure(models, PLAN))
        assert left_on(phone) == []
        assert not phone.state.fixed_performance
    assert counts(outcomes) == {model.sha256: 2 for model in models}
    assert failures_of(outcomes) == []


def test_a_reboot_loses_the_visit_in_flight_only(tmp_path: Path, models: list[ModelFile]) -> None:
    with (
        emulated_phone(tmp_path, [parse_fault("run 3", "reboot")]) as phone,
        agent_for(phone, tmp_path) as agent,
    ):
        outcomes = list(agent.measure(models, PLAN))
        assert not phone.state.fixed_performance
    assert counts(outcomes) == {model.sha256: 2 for model in models}
    assert failures_of(outcomes) == []
    by_job = Counter(visit.origin[0] for visit in visits_of(outcomes) if visit.origin)
    assert sorted(by_job.values()) == [2, 2]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("thermal 2", "thermal status: expected 0, found 2"),
        ("cap 70", "frequency cap"),
    ],
)
def test_a_phone_that_changed_meanwhile_invalidates_the_span(
    tmp_path: Path, models: list[ModelFile], fault: str, cause: str
) -> None:
    faults = [parse_fault("run 2", fault)]
    with (
        emulated_phone(tmp_path, faults) as phone,
        agent_for(phone, tmp_path) as agent,
    ):
        measuring = agent.measure(models, PLAN)
        outcomes = list(islice(measuring, 4))
        phone.state.thermal_status, phone.state.battery_level = 0, 90
        phone.state.power_saver = False
        phone.state.caps_khz.clear()
        outcomes += list(measuring)
    invalid = failures_of(outcomes)
    assert [failure.reason for failure in invalid] == ["invalid"] * 4
    assert all(cause in failure.detail for failure in invalid)
    assert all(failure.raw.startswith("INFO: STARTING!") for failure in invalid)
    assert counts(outcomes) == {model.sha256: 2 for model in models}


def test_a_phone_that_is_too_hot_is_waited_for(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    waited_s = [0.0]

    def sleep(seconds: float) -> None:
        if seconds > 1:
            waited_s[0] += seconds
            phone.state.thermal_status = 0
        else:
            time.sleep(seconds)

    phone.state.thermal_status = 1
    patience = replace(IMPATIENT, clock=lambda: time.monotonic() + waited_s[0], sleep=sleep)
    with agent_for(phone, tmp_path, limits=LIMITS, patience=patience) as agent:
        assert counts(list(agent.measure(models[:1], ONCE))).total() == 1
    assert waited_s[0] == pytest.approx(LIMITS.thermal_poll_s, abs=0.1)


def test_a_phone_that_is_not_fit_is_refused_with_its_remedy(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    phone.state.power_saver = True
    with (
        agent_for(phone, tmp_path) as agent,
        pytest.raises(DeviceUnusable, match="power saver: on: switch it off"),
    ):
        list(agent.measure(models, PLAN))


def test_another_phone_than_the_expected_one_is_refused(
    tmp_path: Path, phone: EmulatedPhone
) -> None:
    with agent_for(phone, tmp_path, serial="OTHER") as agent, pytest.raises(DeviceSwapped):
        agent.condition(precision="float32")


def test_a_phone_that_was_swapped_while_away_is_not_measured(
    tmp_path: Path, models: list[ModelFile]
) -> None:
    with emulated_phone(tmp_path) as phone, agent_for(phone, tmp_path) as agent:
        measuring = agent.measure(models, replace(PLAN, max_processes=100, min_processes=100))
        next(measuring)
        phone.state.serial = "SWAPPED"
        phone.drop_connections()
        with pytest.raises(NeedsHuman, match="SWAPPED"):
            list(measuring)


def test_a_phone_that_another_session_has_is_busy(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    with agent_for(phone, tmp_path) as agent, agent_for(phone, tmp_path) as other:
        measuring = agent.measure(models, PLAN)
        next(measuring)
        with pytest.raises(DeviceBusy):
            next(other.measure(models, PLAN))
        del measuring
        assert list(other.measure(models[:1], PLAN))


def test_what_a_caller_who_stops_did_not_take_is_handed_in_by_the_next_session(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    plan = replace(PLAN, min_processes=100, max_processes=100)
    with agent_for(phone, tmp_path) as agent:
        measuring = agent.measure(models, plan)
        first = next(measuring)
        measuring.close()  # type: ignore[attr-defined]
        assert phone.sandbox.processes() == {}
        assert not phone.state.fixed_performance
        (job,) = left_on(phone)
        runs = phone.faults.count("run")
        measuring = agent.measure(models, plan)
        handed_in = list(islice(measuring, runs - 1))  # the last one was ended in the middle
        assert handed_in[0].origin == first.origin
        assert {visit.origin[0] for visit in visits_of(handed_in) if visit.origin} == {job}
        measuring.close()  # type: ignore[attr-defined]


KILLED = """
import sys, time
from pathlib import Path
from dataclasses import replace
from device_agents.measurement import ModelFile
from tests.device_agents.phones import HURRIED, PLAN, agent_for
class Phone:
    address = sys.argv[1]
agent = agent_for(Phone, Path(sys.argv[2]), limits=HURRIED)
models = [ModelFile(Path(path), path.rpartition("/")[2]) for path in sys.argv[3:]]
visits = agent.measure(models, replace(PLAN, min_processes=30, max_processes=30))
print(next(visits).origin, flush=True)
time.sleep(600)
"""


def test_what_a_killed_session_measured_is_handed_in_by_the_next(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    paths = []
    for model in models:
        path = tmp_path / model.sha256
        path.write_bytes(model.path.read_bytes())
        paths.append(str(path))
    argv = [sys.executable, "-c", KILLED, phone.address, str(tmp_path), *paths]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        first = killed.stdout.readline().strip()
        killed.send_signal(signal.SIGKILL)
    (job,) = left_on(phone)
    assert phone.state.fixed_performance
    plan = replace(PLAN, min_processes=30, max_processes=30)
    with agent_for(phone, tmp_path) as agent:
        measuring = agent.measure(models, plan)
        handed_in = list(islice(measuring, 5))
        assert str(handed_in[0].origin) == first
        assert {visit.origin[0] for visit in visits_of(handed_in) if visit.origin} == {job}
        measuring.close()  # type: ignore[attr-defined]
        assert not phone.state.fixed_performance
    assert phone.sandbox.processes() == {}


def test_models_with_few_visits_get_more_until_they_agree_or_have_the_most(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    plan = ProcessPlan(
        min_processes=2, max_processes=4, tolerance=0.0, warmup_runs=1, warmup_s=0.0, runs=3,
        min_s=0.0, pause_s=0.0,
    )  # fmt: skip
    with agent_for(phone, tmp_path) as agent:
        outcomes = list(agent.measure(models, plan))
    for model in models:
        mine = [visit for visit in visits_of(outcomes) if visit.sha256 == model.sha256]
        assert is_measured(mine, plan)
        assert len(mine) in (2, 4)


def test_a_pack_is_profiled_and_what_is_clean_is_timed(
    tmp_path: Path, phone: EmulatedPhone, models: list[ModelFile]
) -> None:
    pack = write_model(tmp_path, "convolution", "convolution", width=64, size=16)
    plan = PackedPlan(runs=5, warmup_s=0.01, pause_s=0.0, clean=ONCE)
    with agent_for(phone, tmp_path) as agent:
        assert agent.condition(precision="float32", plan=plan).method == "packed"
        outcomes = list(agent.measure([replace(pack, role="pack"), models[0]], plan))
    assert counts(outcomes) == {models[0].sha256: 1}
    (found,) = [outcome for outcome in outcomes if isinstance(outcome, PackVisit)]
    assert found.sha256 == pack.sha256
    assert [row.index for row in found.profile.rows] == [0, 1]
    assert found.origin is not None
