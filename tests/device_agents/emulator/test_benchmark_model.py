"""The stand-in beside recorded output of the real tool, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.profiles import OLD_32_BIT
from device_agents.emulator.stand_in import stand_in_binary
from device_agents.emulator.statistics_line import statistic, statistic_with_percentiles
from device_agents.tools.op_profile import parse_op_profile
from device_agents.tools.output import parse_run
from device_agents.tools.result_file import check_agreement, parse_result_file
from exporters.direct import DirectExporter
from exporters.weights import random_weights
from networks.graph import Shape
from networks.layers import Bottleneck, SqueezeExcite, lower_layer
from tests.device_agents.emulator.commands import Done, put, run_on
from tests.device_agents.models import build_model
from tests.device_agents.tools.logs import recorded

NUMBER = re.compile(r"(?<![\w.:/])-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?=ms|us|%|\b)")
QUICK = "--num_threads=1 --num_runs=5 --min_secs=0 --warmup_min_secs=0"


@pytest.fixture(scope="module")
def phone() -> Iterator[EmulatedPhone]:
    with EmulatedPhone() as opened:
        layer = Bottleneck(
            Shape(14, 14, 16), 24, kernel=5, stride=2, expanded=96, se=SqueezeExcite(4)
        )
        graph = lower_layer(layer)
        put(opened, "benchmark_model", stand_in_binary("arm64-v8a"))
        put(opened, "mb6_k5s2.tflite", DirectExporter().export(graph, random_weights(graph)))
        put(opened, "truncated.tflite", build_model(("dense",))[:1000])
        put(opened, "part.tflite", build_model(("dense", "cumulative-sum")))
        yield opened


def shape(text: str) -> list[str]:
    """Return lines with every measured number as N; what the flags said stays."""
    return [
        line if re.search(r": \[.*\]$", line) else NUMBER.sub("N", line)
        for line in text.splitlines()
    ]


def run_tool(phone: EmulatedPhone, flags: str) -> Done:
    """Run the stand-in in /data/local/tmp."""
    return run_on(phone, f"taskset 80 ./benchmark_model {flags}")


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "plain_exact_50_runs",
        "one_run",
        "max_secs_short",
        "missing_graph",
        "no_graph_flag",
        "corrupt_truncated",
        "unknown_flag",
        "use_gpu_desktop_build",
        "xnnpack_false",
        "peak_memory",
    ],
)
def test_it_says_what_the_real_tool_says(phone: EmulatedPhone, name: str) -> None:
    real = recorded(name)
    done = run_tool(phone, " ".join(real.argv[1:]))
    assert shape(done.stdout) == shape(real.stdout.replace("0.95972", "N"))
    assert shape(done.stderr) == shape(real.stderr)
    assert done.code == real.exit_code


def test_a_profile_has_the_rows_of_the_real_one(phone: EmulatedPhone) -> None:
    real = recorded("op_profiling")
    done = run_tool(phone, " ".join(real.argv[1:]))
    found, expected = shape(done.stdout), shape(real.stdout)
    assert [s.split("\t")[0] for s in found] == [s.split("\t")[0] for s in expected]
    kinds = [row.node_type for row in parse_op_profile(done.stdout).rows]
    assert kinds == [row.node_type for row in parse_op_profile(real.stdout).rows]
    header = next(line for line in expected if "[node type]" in line)
    assert found.count(header) == expected.count(header) == 4
    assert shape(done.stderr) == shape(real.stderr)


def test_a_profile_as_a_file_and_as_text_agree(phone: EmulatedPhone) -> None:
    path = phone.root / "data/local/tmp/profile.csv"
    flags = f"--graph=mb6_k5s2.tflite {QUICK} --enable_op_profiling=true"
    csv = "--op_profiling_output_mode=csv --op_profiling_output_file=/data/local/tmp/profile.csv"
    done = run_tool(phone, f"{flags} {csv}")
    assert (done.code, "Run Order" in done.stdout) == (0, False)
    rows = parse_op_profile(path.read_text()).rows
    text = parse_op_profile(run_tool(phone, flags).stdout).rows
    assert [(r.name, r.index) for r in rows] == [(r.name, r.index) for r in text]
    assert all(row.in_delegate for row in rows)
    lost = run_tool(phone, f"{flags} {csv.replace('profile.csv', 'no/profile.csv')}")
    assert "avg_ms, %, cdf%" in lost.stdout


def test_operators_that_no_delegate_takes_have_the_names_of_what_they_write(
    phone: EmulatedPhone,
) -> None:
    done = run_tool(phone, f"--graph=part.tflite {QUICK} --enable_op_profiling=true")
    dense, cumulative = parse_op_profile(done.stdout).rows
    assert (dense.in_delegate, dense.index) == (True, 0)
    assert (cumulative.in_delegate, cumulative.name) == (False, "[t5]:1")


def test_its_output_passes_for_a_run_and_its_result_file_agrees(phone: EmulatedPhone) -> None:
    flags = f"--graph=/data/local/tmp/mb6_k5s2.tflite {QUICK} --use_xnnpack=true"
    flags += " --require_full_delegation=true --result_file_path=/data/local/tmp/result"
    done = run_tool(phone, flags)
    argv = ["/data/local/tmp/benchmark_model", *flags.split()]
    run = parse_run(argv, done.code, done.stdout, done.stderr)
    assert (run.timed.runs, run.warmup.runs) == (5, 1)
    data = (phone.root / "data/local/tmp/result").read_bytes()
    check_agreement(run, parse_result_file(data))


def test_a_part_on_the_cpu_is_told_and_can_be_refused(phone: EmulatedPhone) -> None:
    done = run_tool(phone, f"--graph=part.tflite {QUICK} --use_xnnpack=true")
    assert "partially executed by the delegate w/ 1 delegate kernels." in done.stdout
    assert done.code == 0
    flags = f"--graph=part.tflite {QUICK} --use_xnnpack=true --require_full_delegation=true"
    done = run_tool(phone, flags)
    assert done.code == 1
    assert "ERROR: Disallowed CPU fallback detected.\nERROR: Benchmarking failed." in done.stderr


def test_a_value_of_another_kind(phone: EmulatedPhone) -> None:
    done = run_tool(phone, "--graph=x --num_runs=many")
    assert done.code == 1
    assert "Failed to parse flag 'num_runs'" in done.stderr


def test_little_cores_are_slower_by_their_clock(phone: EmulatedPhone) -> None:
    state, all_cores = phone.state, phone.profile.cpus
    assert state.pace((7,)) == state.pace(all_cores) == 1
    assert state.pace((0, 1)) == pytest.approx(2_841_600 / 1_785_600)
    state.caps_khz[7] = 1_420_800
    assert state.pace((7,)) == 2
    state.caps_khz.clear()


@pytest.mark.parametrize(
    ("do", "code", "stdout", "stderr"),
    [
        ("crash 134", 134, "STARTING!", ""),
        ("crash 139", 139, "STARTING!", ""),
        ("empty", 0, "INFO: STARTING!\n", ""),
        ("garbage", 0, "avg=-1", ""),
        ("wrong-abi", 126, "", "not executable"),
        ("cpu-fallback", 0, "will not be executed by the delegate", ""),
    ],
)
def test_it_goes_wrong_when_told(
    phone: EmulatedPhone, do: str, code: int, stdout: str, stderr: str
) -> None:
    phone.faults.add_next("run", do)
    command = f"taskset 80 ./benchmark_model --graph=mb6_k5s2.tflite {QUICK} --use_xnnpack=true"
    done = run_on(
        phone,
        f"{command} --require_full_delegation=true > out; code=$?\n"
        "tr -dc '[:print:]\\n' < out; exit $code",
    )
    assert done.code == code
    assert stdout in done.stdout
    assert stderr in done.stderr
    assert phone.faults.pending == ()


def test_it_hangs_until_it_is_killed(phone: EmulatedPhone) -> None:
    phone.faults.add_next("run", "hang")
    done = run_on(
        phone,
        "./benchmark_model --graph=x > out & until grep -q STARTING out; do sleep 0.05; done\n"
        "sleep 0.3; pidof benchmark_model > running || exit 3\n"
        "kill -9 $!; wait; cat out; pidof benchmark_model",
    )
    assert done.stdout.startswith("INFO: STARTING!")
    assert done.code == 1


def test_clocks_that_step_down_are_felt(phone: EmulatedPhone) -> None:
    flags = "--graph=mb6_k5s2.tflite --num_threads=1 --num_runs=50 --min_secs=0"

    def minimum_us() -> int:
        found = re.findall(r" min=(\d+) ", run_tool(phone, flags).stdout)
        return int(found[1])

    before = minimum_us()
    phone.faults.add_next("run", "slow 4")
    assert minimum_us() > 2 * before
    phone.state.slowdown = 1.0


def test_a_binary_for_another_processor() -> None:
    with EmulatedPhone(OLD_32_BIT) as old:
        put(old, "tool64", stand_in_binary("arm64-v8a"))
        put(old, "tool32", stand_in_binary("armeabi-v7a"))
        assert run_on(old, "./tool64 --graph=x").code == 126
        assert run_on(old, "taskset 1 ./tool64 --graph=x").code == 126
        assert run_on(old, "./tool32 --graph=x").code == 1


@pytest.mark.parametrize(
    ("runs_us", "line"),
    [
        ((), "count=0 p5=0 median=0 p95=0"),
        ((27,), "count=1 curr=27 p5=27 median=27 p95=27"),
        ((0, 0, 0), "count=3 curr=0(all same) p5=0 median=0 p95=0"),
        (
            (2407075, 2599754, 2394355),
            "count=3 first=2407075 curr=2394355 min=2394355 max=2599754 avg=2.46706e+06 std=93971 "
            "p5=2394355 median=2407075 p95=2599754",
        ),
    ],
)
def test_statistics_as_recorded(runs_us: tuple[int, ...], line: str) -> None:
    assert statistic_with_percentiles(runs_us) == line
    assert line.startswith(statistic(runs_us))
