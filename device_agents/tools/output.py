"""ToolRun: what one process of the official timing tool measured, or why that is no measurement.

argv, exit code, stdout, stderr  --parse_run-->  ToolRun      --to_visit-->  ProcessVisit
                                            or   RunRejected  the reason in one line

The tool prints times, and mostly exits 0, also when its runs failed, a flag was misspelt, a
delegate declined or nothing ran at all. So a number leaves here only if every line that bears on
it is there once, all agree with each other, and all say what the command line asked.

The statistic is wall time: the tool has no other clock. The value of a run is its median; builds
before 2024 print none, and there the mean stands in (`ProcessVisit.value_ns`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from device_agents.errors import RunRejected
from device_agents.measurement import Origin, Statistic
from device_agents.processes import ProcessVisit
from device_agents.tools.command import DEFAULTS, Request, Tool, request_of
from device_agents.tools.delegation import Coverage, check_delegation
from device_agents.tools.litert_summary import check_litert_summary, is_litert
from device_agents.tools.phase import (
    AVERAGE_PRECISION,
    NUMBER,
    Phase,
    check_length,
    parse_phase,
)
from device_agents.tools.tool_log import ToolLog

STATISTIC: Statistic = "wall-time"
# (tool, whether its lines begin with INFO:, whether it prints percentiles) -> in words
RECOGNIZED: Mapping[tuple[Tool, bool, bool], str] = {
    ("benchmark_model", False, False): "benchmark_model of 2020-21: bare lines, mean only",
    ("benchmark_model", True, False): "benchmark_model of 2022-24: INFO: lines, mean only",
    ("benchmark_model", True, True): "benchmark_model since 2024: INFO: lines, median",
    ("benchmark_litert_model", True, False): "benchmark_litert_model, mean only",
    ("benchmark_litert_model", True, True): "benchmark_litert_model",
}

_STARTING = re.compile(r"STARTING!")
_INITIALIZED = re.compile(rf"Initialized session in ({NUMBER})ms\.")
_PHASE = re.compile(
    rf"Running benchmark for at least (\d+) iterations and at least ({NUMBER}) seconds but "
    rf"terminate if exceeding ({NUMBER}) seconds\."
)
_STATISTICS = re.compile(r"count=.*")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: (\d+), First inference: (\d+), "
    rf"Warmup \(avg\): ({NUMBER}), Inference \(avg\): ({NUMBER})"
)
_ECHO = re.compile(r"(.+?) ?: \[(.*)\]")
_PROFILE = re.compile(r"=+ Run Order =+")
_CPU_THREADS = "#threads used for CPU inference"
# The names under which the tool repeats what it was asked; the successor repeats the first ones
_ECHOES: Mapping[str, str] = {
    "num_runs": "Min num runs",
    "min_secs": "Min runs duration (seconds)",
    "max_secs": "Max runs duration (seconds)",
    "num_threads": "Num threads",
    "warmup_runs": "Min warmup runs",
    "warmup_min_secs": "Min warmup runs duration (seconds)",
    "run_delay": "Inter-run delay (seconds)",
    "run_frequency": "Number of prorated runs per second",
    "dry_run": "Run w/o invoking kernels",
    "report_peak_memory_footprint": "Report the peak memory footprint",
}
_TFLITE_ECHOES: Mapping[str, str] = {
    **_ECHOES,
    "graph": "Graph",
    "enable_op_profiling": "Enable op profiling",
    "op_profiling_output_file": "Op profiling output file.",
    "use_xnnpack": "Use xnnpack",
    "use_gpu": "Use gpu",
}
_REFUSALS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r".*Unconsumed cmdline flags: .*"), "the tool does not know a flag"),
    (re.compile(r".*Duplicate flags: .*"), "a flag is given twice"),
    (re.compile(r"Average inference timings in us: .*"), "a tool of 2018-19: take a newer one"),
    (re.compile(r"Running benchmark for \d+ iterations\s*"), "a tool of 2018: take a newer one"),
    (re.compile(r".*Benchmarking failed\."), "the tool failed"),
    (re.compile(r".*Disallowed CPU fallback detected\."), "the model is not wholly delegated"),
    (re.compile(r".*acceleration is unsupported on this platform\."), "it ran on the CPU"),
    (re.compile(r"Though .* delegate is explicitly applied, .*"), "it ran on the CPU"),
    (re.compile(r"Going to apply (?!1 )\d+ delegates .*"), "several delegates at once"),
    (re.compile(r"Failed to (?:apply|load|allocate|invoke|run|parse|open) .*"), "the tool failed"),
    (re.compile(r"No inference runs were performed\."), "nothing ran"),
)
_EXIT_CODES: Mapping[int, str] = {
    124: "timed out",
    126: "cannot be executed: not executable, or not for this processor",
    127: "not found, or a library that it needs is missing",
    134: "aborted",
    137: "killed",
    139: "crashed: segmentation fault",
}


@dataclass(frozen=True, slots=True)
class ToolRun:
    """A run that is what was asked for.

    ``generation`` is one of `RECOGNIZED`, ``coverage`` how much of the model the delegate had.
    ``capped`` says that the time limit came before the runs asked for. ``disturbances`` is what
    makes the run no latency, such as operator profiling.
    """

    tool: Tool
    generation: str
    coverage: Coverage
    init_ns: int
    warmup: Phase
    timed: Phase
    capped: bool
    disturbances: tuple[str, ...]


def parse_run(argv: Sequence[str], exit_code: int, stdout: str, stderr: str = "") -> ToolRun:
    """Return what one process of the tool measured.

    Args:
        argv: the command line, from which comes what was asked.
        exit_code: 128 + n of a process that ended by signal n.
        stdout, stderr: all that it printed; where they cannot be told apart, as through an old
            adb shell, both are the first.

    Raises:
        RunRejected: it is no measurement of what was asked; holds what was printed.
    """
    try:
        return _parse(request_of(argv), exit_code, ToolLog.read(stdout, stderr))
    except RunRejected as rejected:
        raise RunRejected(rejected.reason, stdout + stderr) from None


def to_visit(
    run: ToolRun,
    *,
    sha256: str,
    started_unix_s: float,
    raw: str,
    origin: Origin | None = None,
) -> ProcessVisit:
    """Return the visit that this run was to the model of this sha256.

    Raises:
        RunRejected: it was timed under a disturbance, such as operator profiling.
    """
    if run.disturbances:
        found = ", ".join(run.disturbances)
        raise RunRejected(f"expected an undisturbed run, found one with {found}", raw)
    return ProcessVisit(
        sha256=sha256,
        started_unix_s=started_unix_s,
        warmup_runs=run.warmup.runs,
        runs=run.timed.runs,
        init_ns=run.init_ns,
        first_ns=run.warmup.first_ns,
        min_ns=run.timed.min_ns,
        mean_ns=run.timed.mean_ns,
        max_ns=run.timed.max_ns,
        median_ns=run.timed.median_ns,
        p5_ns=run.timed.p5_ns,
        p95_ns=run.timed.p95_ns,
        raw=raw,
        origin=origin,
    )


def _parse(request: Request, exit_code: int, log: ToolLog) -> ToolRun:
    _check_refusals(exit_code, log)
    log.find_all(_STARTING, count=1, what="STARTING!")
    tool: Tool = "benchmark_litert_model" if is_litert(log) else "benchmark_model"
    _check_echoes(request, tool, log)
    warmup, timed = _phases(log)
    _check_headers(request, log)
    check_length(warmup, runs=request.warmup_runs, min_s=request.warmup_s, max_s=request.max_s)
    if request.op_profile is not None and log.find(_PROFILE):
        raise RunRejected(f"expected a profile in {request.op_profile}, found it printed instead")
    capped = check_length(timed, runs=request.runs, min_s=request.min_s, max_s=request.max_s)
    init_ns = _init_ns(tool, log, warmup, timed)
    return ToolRun(
        tool=tool,
        generation=_generation(tool, log, warmup, timed),
        coverage=check_delegation(request, tool, log),
        init_ns=init_ns,
        warmup=warmup,
        timed=timed,
        capped=capped,
        disturbances=request.disturbances,
    )


def _check_refusals(exit_code: int, log: ToolLog) -> None:
    for pattern, meaning in _REFUSALS[:2]:  # what was asked wrongly explains what failed
        _refuse(log, pattern, meaning)
    errors = [line.text for line in log if line.severity in ("ERROR", "FATAL")]
    if exit_code != 0:
        how = _EXIT_CODES.get(exit_code, "the tool failed")
        words = errors or [line.text for line in log if line.text.strip()][-1:]
        said = f"; it said: {words[0].strip()[:200]}" if words else "; it printed nothing"
        raise RunRejected(f"expected exit code 0, found {exit_code} ({how}){said}")
    for pattern, meaning in _REFUSALS[2:]:
        _refuse(log, pattern, meaning)
    if errors:
        raise RunRejected(f"expected a run without errors, found: {errors[0].strip()[:200]}")


def _refuse(log: ToolLog, pattern: re.Pattern[str], meaning: str) -> None:
    for line in log:
        if pattern.fullmatch(line.text):
            raise RunRejected(f"{meaning}: {line.text.strip()[:200]}")


def _check_echoes(request: Request, tool: Tool, log: ToolLog) -> None:
    echoes = _TFLITE_ECHOES if tool == "benchmark_model" else _ECHOES
    said = [(match[1], match[2]) for _, match in log.find(_ECHO)]
    asked = {**DEFAULTS, **request.flags}
    for flag, label in echoes.items():
        found = [value for name, value in said if name == label]
        if (flag in request.flags and not found) or len(found) > 1:
            raise RunRejected(f"expected the tool to say {label!r} once, found {len(found)} times")
        if found and flag in asked and not _is_same(found[0], asked[flag]):
            raise RunRejected(f"expected {label!r} [{asked[flag]}], found [{found[0]}]")
    threads = request.flags.get("num_threads")
    used = [value for name, value in said if name == _CPU_THREADS]
    if threads is not None and any(value != threads for value in used):
        raise RunRejected(f"expected {threads} threads, found {', '.join(used)}")


def _is_same(found: str, asked: str) -> bool:
    if asked in ("true", "false"):
        return found in ("1", "true") if asked == "true" else found in ("0", "false")
    try:
        return _is_close(float(found), float(asked))
    except ValueError:
        return found == asked


def _is_close(found: float, expected: float) -> bool:
    return abs(found - expected) <= AVERAGE_PRECISION * abs(expected)


def _phases(log: ToolLog) -> tuple[Phase, Phase]:
    """Return warm-up and timed runs: two headers, the statistics of each right behind it."""
    log.find_all(_PHASE, count=2, what="'Running benchmark for at least ...'")
    log.find_all(_STATISTICS, count=2, what="'count=...'")
    order = [n for n, _ in log.find(_STARTING) + log.find(_INITIALIZED)]
    for header, statistics in zip(log.find(_PHASE), log.find(_STATISTICS), strict=True):
        order += [header[0], statistics[0]]
    if order != sorted(order):
        raise RunRejected("expected the lines of one run in order, found them mixed")
    warmup, timed = [parse_phase(match[0]) for _, match in log.find(_STATISTICS)]
    return warmup, timed


def _check_headers(request: Request, log: ToolLog) -> None:
    asked = (
        (request.warmup_runs, request.warmup_s, request.max_s),
        (request.runs, request.min_s, request.max_s),
    )
    for (_, header), expected in zip(log.find(_PHASE), asked, strict=True):
        found = [float(value) for value in header.groups()]
        if not all(_is_close(f, e) for f, e in zip(found, expected, strict=True)):
            raise RunRejected(
                "expected at least {} runs, {:g} s and at most {:g} s, found ".format(*expected)
                + repr(header[0])
            )


def _init_ns(tool: Tool, log: ToolLog, warmup: Phase, timed: Phase) -> int:
    """Return the time of loading, having held the closing lines against those above them."""
    (line,) = log.find_all(_INITIALIZED, count=1, what="'Initialized session in ...'")
    said_ns = round(Decimal(line[1]) * 1_000_000)
    if tool == "benchmark_litert_model":
        check_litert_summary(log, init_ns=said_ns, warmup=warmup, timed=timed)
        return said_ns
    (times,) = log.find_all(_TIMINGS, count=1, what="'Inference timings in us: ...'")
    init_ns, first_ns = int(times[1]) * 1000, int(times[2]) * 1000
    if (
        not _is_close(said_ns, init_ns)
        or first_ns != warmup.first_ns
        or times[3] != warmup.mean_text
        or times[4] != timed.mean_text
        or log.find(_TIMINGS)[0][0] < log.find(_STATISTICS)[1][0]
    ):
        raise RunRejected(f"expected the same times as in the lines above, found {times[0]!r}")
    return init_ns


def _generation(tool: Tool, log: ToolLog, warmup: Phase, timed: Phase) -> str:
    bare = {log.lines[n].severity for n, _ in log.find(_STARTING) + log.find(_PHASE)}
    medians = {phase.median_ns is not None for phase in (warmup, timed)}
    known = {
        words
        for (name, prefixed, median), words in RECOGNIZED.items()
        if name == tool and bare == {"INFO" if prefixed else ""} and medians == {median}
    }
    if len(known) != 1:
        raise RunRejected("expected the words of a known tool, found a mixture of several")
    return known.pop()
