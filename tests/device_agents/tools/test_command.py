from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.errors import DeviceUnusable, RunRejected
from device_agents.processes import ProcessPlan
from device_agents.tools.command import (
    Delegate,
    Tool,
    benchmark_command,
    request_of,
    tool_identity,
    tool_of,
)

SECONDS = st.integers(0, 600).map(lambda tenths: tenths / 10)
PLANS = st.builds(
    ProcessPlan,
    warmup_runs=st.integers(0, 500),
    warmup_s=SECONDS,
    runs=st.integers(1, 5000),
    min_s=SECONDS,
    max_s=SECONDS,
)
PATHS = st.from_regex(r"/data/local/tmp/[ -~]{1,20}", fullmatch=True)
TOOLS: list[Tool] = ["benchmark_model", "benchmark_litert_model"]
DELEGATES: list[Delegate] = ["xnnpack", "none", "gpu"]


@given(PLANS, PATHS, st.integers(1, 8), st.sampled_from(DELEGATES), st.none() | PATHS)
def test_a_request_is_what_the_command_was_built_of(
    plan: ProcessPlan, model: str, threads: int, delegate: Delegate, op_profile: str | None
) -> None:
    argv = benchmark_command(
        "./bench", model, plan=plan, threads=threads, delegate=delegate, op_profile=op_profile
    )
    request = request_of(("taskset", "80", *argv))
    assert (request.warmup_runs, request.warmup_s) == (plan.warmup_runs, plan.warmup_s)
    assert (request.runs, request.min_s, request.max_s) == (plan.runs, plan.min_s, plan.max_s)
    assert request.delegate == delegate
    assert request.flags["graph"] == model
    assert request.flags["num_threads"] == str(threads)
    assert request.op_profile == op_profile
    assert bool(request.disturbances) == (op_profile is not None)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("delegate", ["xnnpack", "gpu"])
def test_a_delegate_is_named_and_must_have_the_whole_model(tool: Tool, delegate: Delegate) -> None:
    argv = benchmark_command(
        "./bench", "m", plan=ProcessPlan(), threads=2, delegate=delegate, tool=tool
    )
    assert "--require_full_delegation=true" in argv
    assert request_of(argv).delegate == delegate


def test_the_successor_is_not_asked_what_it_cannot_do() -> None:
    with pytest.raises(DeviceUnusable, match="cannot run without a delegate"):
        benchmark_command(
            "b", "m", plan=ProcessPlan(), threads=1, delegate="none", tool="benchmark_litert_model"
        )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("b", "--num_threads=1", "--num_threads=4"), "num_threads more than once"),
        (("b", "--num_runs=many"), "expected numbers"),
    ],
)
def test_a_command_line_that_says_two_things_is_refused(
    argv: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RunRejected, match=message):
        request_of(argv)


def test_the_successor_is_known_by_its_bytes_under_any_name() -> None:
    assert tool_of(b"\x7fELF...Inference timings in us: ") == "benchmark_model"
    assert tool_of(b"\x7fELF...\n===== BENCHMARK RESULTS =====") == "benchmark_litert_model"
    assert tool_identity("benchmark_model", "0123456789abcdef" * 4) == (
        "benchmark_model sha256:0123456789ab"
    )
