from __future__ import annotations

import re
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.errors import RunRejected
from device_agents.processes import ProcessPlan, ProcessVisit
from device_agents.tools.command import Delegate
from device_agents.tools.output import ToolRun, parse_run, to_visit
from tests.device_agents.tools.logs import (
    GENERATIONS,
    LITERT,
    MIDDLE,
    NEW,
    OLDEST,
    PLAN,
    RECORDED,
    Generation,
    Run,
    recorded,
    write_run,
)

EACH_GENERATION = pytest.mark.parametrize("generation", GENERATIONS, ids=lambda g: g.words)
TIMES_US = st.lists(st.integers(1, 30_000_000), min_size=1, max_size=9)

# name -> (init, first inference, count, min, mean, median, max) in microseconds, coverage
ACCEPTED = {
    "max_secs_short": (2282, 492, 646, 408, 461.319, 455, 1188, "unknown"),
    "one_run": (2438, 572, 1, 2331, 2331, 2331, 2331, "unknown"),
    "op_profiling": (2662, 616, 1917, 442, 515.07, 491, 4806, "unknown"),
    "op_profiling_csv_file": (2839, 612, 1973, 442, 501.065, 481, 4836, "unknown"),
    "peak_memory": (2467, 703, 2213, 408, 448.867, 428, 2564, "unknown"),
    "plain": (1828, 493, 2208, 408, 449.488, 435, 2668, "unknown"),
    "plain_exact_50_runs": (2500, 593, 50, 431, 510.94, 437, 3491, "unknown"),
    "slow_over_1s": (482, 14549007, 3, 2394355, 2467060, 2407075, 2599754, "none"),
    "xnnpack_false": (1080, 3807, 404, 1638, 2466.36, 2539, 6011, "none"),
}
REJECTED = {
    "all_same_values": "a run of 0 us",
    "corrupt_truncated": "found 1 .*not a valid Flatbuffer",
    "invoke_fails": "found 1 .*failed to reshape runtime",
    "missing_graph": "found 1 .*Could not open",
    "no_graph_flag": "found 1 .*Please specify the name",
    "unknown_flag": "does not know a flag: .*--no_such_flag=1",
    "use_gpu_desktop_build": "ran on the CPU: GPU acceleration is unsupported",
}


def parse(run: Run) -> ToolRun:
    return parse_run(run.argv, run.exit_code, run.stdout, run.stderr)


def visit(run: Run) -> ProcessVisit:
    raw = run.stdout + run.stderr
    return to_visit(parse(run), sha256="a" * 64, started_unix_s=0, raw=raw)


def reject(run: Run, reason: str) -> None:
    with pytest.raises(RunRejected, match=reason) as caught:
        parse(run)
    assert "\n" not in caught.value.reason
    assert caught.value.raw == run.stdout + run.stderr


def merged(run: Run) -> Run:
    """As an old adb shell gives it: one stream, CR LF."""
    lines = run.stdout.splitlines(keepends=True)
    text = "".join([*lines[:9], run.stderr, *lines[9:]])
    return replace(run, stdout=text.replace("\n", "\r\n"), stderr="")


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_recorded_run_gives_its_numbers(name: str) -> None:
    run = recorded(name)
    init, first, runs, least, mean, median, most, coverage = ACCEPTED[name]
    found = parse(run)
    assert found.generation == NEW.words
    assert found.coverage == coverage
    assert found.capped == (name == "max_secs_short")
    assert (found.init_ns, found.warmup.first_ns) == (init * 1000, first * 1000)
    timed = found.timed
    assert (timed.runs, timed.min_ns, timed.max_ns) == (runs, least * 1000, most * 1000)
    assert (timed.mean_ns, timed.median_ns) == (round(mean * 1000), median * 1000)
    assert parse(merged(run)) == found
    if name in ("op_profiling", "op_profiling_csv_file", "peak_memory"):
        with pytest.raises(RunRejected, match="expected an undisturbed run"):
            visit(run)
    else:
        assert visit(run).value_ns == median * 1000


@pytest.mark.parametrize("name", REJECTED)
def test_a_recorded_failure_gives_its_reason(name: str) -> None:
    reject(recorded(name), REJECTED[name])


def test_every_recording_is_expected_here() -> None:
    recorded("plain")  # or skip
    assert {path.stem for path in RECORDED.glob("*.cmd")} == {*ACCEPTED, *REJECTED}


@EACH_GENERATION
def test_each_generation_is_recognised(generation: Generation) -> None:
    run = write_run(generation)
    found = parse(run)
    assert (found.tool, found.generation) == (generation.tool, generation.words)
    assert found.coverage == "whole"
    value_us = 601 if generation.percentiles else fmean((604, 598, 601, 633, 600))
    assert visit(run).value_ns == round(value_us * 1000)
    assert visit(run).median_ns == (601_000 if generation.percentiles else None)
    assert parse(merged(run)) == found


@EACH_GENERATION
@given(warmup_us=TIMES_US, timed_us=TIMES_US, init_us=st.integers(1, 10**8))
def test_reading_is_the_inverse_of_writing(
    generation: Generation, warmup_us: list[int], timed_us: list[int], init_us: int
) -> None:
    plan = ProcessPlan(
        warmup_runs=len(warmup_us), warmup_s=0, runs=len(timed_us), min_s=0, max_s=10**4
    )
    run = write_run(generation, plan=plan, warmup_us=warmup_us, timed_us=timed_us, init_us=init_us)
    found = visit(run)
    assert found.first_ns == warmup_us[0] * 1000
    assert (found.warmup_runs, found.runs) == (len(warmup_us), len(timed_us))
    assert (found.min_ns, found.max_ns) == (min(timed_us) * 1000, max(timed_us) * 1000)
    assert found.mean_ns == pytest.approx(fmean(timed_us) * 1000, rel=1e-5, abs=0.5)
    assert found.init_ns == pytest.approx(init_us * 1000, rel=1e-5)
    assert 0 < found.min_ns <= found.value_ns <= found.max_ns


def numbers(run: Run) -> tuple[object, ...] | None:
    try:
        found = parse(run)
    except RunRejected:
        return None
    return found.init_ns, found.warmup, found.timed


def good_runs() -> list[Run]:
    return [write_run(generation) for generation in GENERATIONS] + [
        write_run(delegate="none"),
        write_run(delegate="gpu"),
        write_run(LITERT, delegate="gpu"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_run_cut_anywhere_gives_the_same_numbers_or_none(number: int) -> None:
    run = good_runs()[number]
    whole = numbers(run)
    assert whole is not None
    end = max(run.stdout.rfind("Inference timings"), run.stdout.rfind("==\n"))
    for at in range(len(run.stdout)):
        found = numbers(replace(run, stdout=run.stdout[:at]))
        assert found is None or (found == whole and at > end)


@given(number=st.integers(0, 6), at=st.integers(0, 60), again=st.booleans())
def test_a_line_lost_or_doubled_gives_the_same_numbers_or_none(
    number: int, at: int, again: bool
) -> None:
    run = good_runs()[number]
    lines = (run.stdout + run.stderr).splitlines(keepends=True)
    at %= len(lines)
    damaged = [*lines[:at], *(lines[at : at + 1] * 2 if again else []), *lines[at + 1 :]]
    assert numbers(replace(run, stdout="".join(damaged), stderr="")) in (None, numbers(run))


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("copies", [0, 2])
def test_a_recorded_line_lost_or_doubled_gives_the_same_numbers_or_none(
    name: str, copies: int
) -> None:
    run = recorded(name)
    whole, lines = numbers(run), run.stdout.splitlines(keepends=True)
    for at, line in enumerate(lines):
        damaged = "".join([*lines[:at], line * copies, *lines[at + 1 :]])
        found = numbers(replace(run, stdout=damaged))
        assert found in (None, whole)
        if re.search(r"STARTING|Running benchmark|^INFO: count=|timings in us", line):
            assert found is None


@given(st.integers(0, 6), st.integers(1, 255))
def test_no_exit_code_but_0_gives_a_number(number: int, exit_code: int) -> None:
    assert numbers(replace(good_runs()[number], exit_code=exit_code)) is None


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 60))
def test_two_runs_in_one_output_give_no_number(first: int, second: int, at: int) -> None:
    run, other = good_runs()[first], good_runs()[second]
    lines = run.stdout.splitlines(keepends=True)
    at %= len(lines)
    mixed = "".join([*lines[:at], other.stdout, *lines[at:]])
    assert numbers(replace(run, stdout=mixed)) is None


@EACH_GENERATION
@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("num_threads", "4"),
        ("warmup_runs", "4"),
        ("warmup_min_secs", "0.5"),
        ("num_runs", "4"),
        ("min_secs", "1"),
        ("max_secs", "150"),
        ("run_delay", "0.1"),
        ("use_gpu", "true"),
        ("dry_run", "true"),
    ],
)
def test_a_run_of_something_else_gives_no_number(
    generation: Generation, flag: str, value: str
) -> None:
    run = write_run(generation)
    others = [word for word in run.argv if not word.startswith(f"--{flag}=")]
    assert numbers(replace(run, argv=(*others, f"--{flag}={value}"))) is None


@pytest.mark.parametrize("flag", ["graph=other.tflite", "use_xnnpack=false"])
def test_a_run_of_another_model_or_delegate_gives_no_number(flag: str) -> None:
    run = write_run()
    name = flag.partition("=")[0]
    others = [word for word in run.argv if not word.startswith(f"--{name}=")]
    reject(replace(run, argv=(*others, f"--{flag}")), "expected '(Graph|Use xnnpack)'")


CREATED = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


@pytest.mark.parametrize(
    ("generation", "delegate", "old", "new", "reason"),
    [
        (NEW, "xnnpack", "completely executed by the delegate.",
         "partially executed by the delegate w/ 2 delegate kernels.", "had a part of it"),
        (NEW, "gpu", "completely executed by the delegate.",
         "partially executed by the delegate w/ 1 delegate kernels.", "had a part of it"),
        (NEW, "gpu", "Explicitly applied GPU delegate, and the model graph will be completely "
         "executed by the delegate.", "Though GPU delegate is explicitly applied, the model graph "
         "will not be executed by the delegate.", "ran on the CPU"),
        (NEW, "gpu", "applied GPU", "applied XNNPACK", "expected GPU to be applied"),
        (NEW, "gpu", "STARTING!", "STARTING!\nINFO: Going to apply 2 delegates one after another.",
         "several delegates"),
        (OLDEST, "gpu", "STARTING!", "STARTING!\nFailed to apply GPU delegate.", "tool failed"),
        (LITERT, "xnnpack", CREATED, "", "expected XNNPACK to be created"),
        (LITERT, "xnnpack", "Replacing 8", "Replacing 7", "had a part of it"),
        (LITERT, "gpu", "LITERT_CL", "TfLiteXNNPackDelegate", "ran on the CPU"),
        (LITERT, "gpu", "Replacing 8", "Replacing 7", "had a part of it"),
        (NEW, "none", "INFO: Initialized TensorFlow", CREATED + "INFO: Initialized TensorFlow",
         "without a delegate, found that it had one"),
    ],
)  # fmt: skip
def test_a_delegate_that_had_not_the_whole_model_gives_no_number(
    generation: Generation, delegate: Delegate, old: str, new: str, reason: str
) -> None:
    run = write_run(generation, delegate=delegate)
    assert old in run.stdout + run.stderr
    reject(
        replace(run, stdout=run.stdout.replace(old, new), stderr=run.stderr.replace(old, new)),
        reason,
    )


def test_a_part_of_the_model_is_enough_where_the_command_says_so() -> None:
    run = write_run()
    argv = tuple(word.replace("delegation=true", "delegation=false") for word in run.argv)
    part = run.stdout.replace("completely", "partially")
    assert parse(replace(run, argv=argv, stdout=part)).coverage == "part"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (r"count=5 .*", "count=0 p5=0 median=0 p95=0", "at least one run"),
        (r"count=5 .*", "count=5 curr=0(all same) p5=0 median=0 p95=0", "a run of 0 us"),
        (r"min=598", "min=0", "a run of 0 us"),
        (r"min=598", "min=602", "min <= p5"),
        (r"median=601", "median=700", "min <= p5"),
        (r"count=5 ", "count=4 ", "expected 5 runs or 60 s of them, found 4"),
        (r"count=5 ", "count=6 ", "expected 5 runs, or more within 0 s, found 6"),
        (r"avg=607.2", "avg=6.072e+02", "the same times as in the lines above"),
        (r"avg=607.2", "avg=6.072e+05", "min <= p5"),
        (r"avg=607.2", "avg=nan", "expected statistics of a phase"),
        (r"Inference \(avg\): 607.2", "Inference (avg): 607", "the same times"),
        (r"First inference: 930", "First inference: 93", "the same times"),
        (r"Init: 1828", "Init: 182", "the same times"),
        (r"Num threads: \[1\]", "Num threads: [4]", "'Num threads' .1., found .4."),
        (r"inference: \[1\]", "inference: [4]", "expected 1 threads, found 4"),
        (r"at least 3 iterations", "at least 1 iterations", "at least 3 runs"),
        (r"STARTING!", "STARTING!\nWARN: Duplicate flags: num_threads", "given twice"),
        (r"STARTING!", "STARTING!\nWARN: Unconsumed cmdline flags: --x=1", "not know a flag"),
        (r"STARTING!", "STARTING!\nERROR: Op type not registered", "without errors"),
        (r"STARTING!", "STARTING!\nINFO: Run w/o invoking kernels: [1]", "invoking kernels"),
        (r"INFO: STARTING!", "STARTING!", "a mixture of several"),
        (r"(?s)$", "ERROR: Benchmarking failed.", "the tool failed"),
    ],
)
def test_a_line_that_cannot_be_gives_no_number(old: str, new: str, reason: str) -> None:
    run = write_run()
    changed = re.sub(old, new, run.stdout, count=1)
    assert changed != run.stdout
    reject(replace(run, stdout=changed), reason)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"BENCHMARK RESULTS", "RESULTS"),
        (r"Inference \(avg\):      0.61", "Inference (avg):      0.62"),
        (r"\(5 runs\)", "(6 runs)"),
        (r"Model initialization: 1.83", "Model initialization: 1.93"),
        (r"Inference \(min\):      0.60 ms", "Inference (min):"),
    ],
)
def test_the_closing_block_of_the_successor_is_held_against_its_lines(old: str, new: str) -> None:
    run = write_run(LITERT)
    changed = re.sub(old, new, run.stdout, count=1)
    assert changed != run.stdout
    assert numbers(replace(run, stdout=changed)) is None


def test_tools_of_2018_and_2019_are_known_and_refused() -> None:
    start, count = (
        "STARTING!\nNum threads: [1]\n",
        "count=50 first=9 curr=8 min=7 max=9 avg=8 std=1",
    )
    old = "Running benchmark for {} iterations{}\n" + count + "\n\n"
    timings = "Average inference timings in us: Warmup: 577904, Init: 9890, no stats: 420334\n"
    argv = ("benchmark_model", "--graph=m.tflite", "--num_threads=1")
    for tail in ("", timings):
        text = start + old.format(1, "") + old.format(50, "") + tail
        reject(Run(argv, text, ""), "a tool of 2018")
    seconds = " and at least 1 seconds"
    text = start + old.format("at least 1", seconds) + old.format("at least 50", seconds) + timings
    reject(Run(argv, text, ""), "a tool of 2018-19: take a newer one")


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [(126, "not for this processor"), (127, "library"), (134, "aborted"), (139, "segmentation")],
)
def test_how_a_process_ended_is_said(exit_code: int, words: str) -> None:
    reject(Run(("b", "--graph=m"), "", "", exit_code), f"found {exit_code} .*{words}.*nothing")


def test_a_profile_that_went_to_the_screen_is_refused() -> None:
    run = recorded("op_profiling")
    argv = (*run.argv, "--op_profiling_output_mode=csv", "--op_profiling_output_file=/x/p.csv")
    echoes = "INFO: Enable op profiling: [1]\nINFO: Op profiling output file.: [/x/p.csv]"
    text = run.stdout.replace("INFO: Enable op profiling: [1]", echoes)
    reject(replace(run, argv=argv, stdout=text), "found it printed instead")


def test_a_slow_model_may_have_fewer_runs_in_its_time() -> None:
    plan = replace(PLAN, max_s=3.0)
    slow = [900_000, 880_000, 870_000, 860_000]
    run = write_run(MIDDLE, plan=plan, timed_us=slow)
    assert parse(run).capped
    reject(write_run(MIDDLE, plan=plan, timed_us=slow[:3]), "5 runs or 3 s of them, found 3")
