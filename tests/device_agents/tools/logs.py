"""Output of the timing tool in each generation of its text, written from the grammar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev

import pytest

from device_agents.processes import ProcessPlan
from device_agents.tools.command import Delegate, Tool, benchmark_command, request_of

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "benchmark_model_logs"
PLAN = ProcessPlan(warmup_runs=3, warmup_s=0, runs=5, min_s=0, max_s=60)
WARMUP_US, TIMED_US = (930, 611, 615), (604, 598, 601, 633, 600)
NOTE = "Note: as the benchmark tool itself affects memory footprint, the following is ..."
WHOLE = (
    "Explicitly applied {} delegate, and the model graph will be completely executed by the "
    "delegate."
)


@dataclass(frozen=True, slots=True)
class Generation:
    """How a generation of the tool writes."""

    words: str
    tool: Tool
    info: str
    percentiles: bool


OLDEST = Generation(
    "benchmark_model of 2020-21: bare lines, mean only", "benchmark_model", "", percentiles=False
)
MIDDLE = Generation(
    "benchmark_model of 2022-24: INFO: lines, mean only",
    "benchmark_model",
    "INFO: ",
    percentiles=False,
)
NEW = Generation(
    "benchmark_model since 2024: INFO: lines, median", "benchmark_model", "INFO: ", percentiles=True
)
LITERT = Generation("benchmark_litert_model", "benchmark_litert_model", "INFO: ", percentiles=True)
GENERATIONS = (OLDEST, MIDDLE, NEW, LITERT)


@dataclass(frozen=True, slots=True)
class Run:
    """A process of the tool: what it was given and what came out."""

    argv: tuple[str, ...]
    stdout: str
    stderr: str
    exit_code: int = 0


def recorded(name: str) -> Run:
    """Return a run of the real tool, or skip the test where the recordings are not there."""
    if not RECORDED.is_dir():
        pytest.skip(f"recorded logs of the real tool are not at {RECORDED}")
    command = dict(
        line.split(": ", 1) for line in (RECORDED / f"{name}.cmd").read_text().splitlines()
    )
    return Run(
        tuple(command["argv"].split(" ")),
        (RECORDED / f"{name}.stdout").read_text(),
        (RECORDED / f"{name}.stderr").read_text(),
        int(command["exit_status"]),
    )


def write_statistics(times_us: Sequence[int], *, percentiles: bool) -> str:
    """Return the line of the tool on these times."""
    ordered = sorted(times_us)
    line = f"count={len(times_us)}"
    if len(times_us) == 1:
        line += f" curr={times_us[0]}"
    elif ordered[0] == ordered[-1]:
        line += f" curr={times_us[0]}(all same)"
    else:
        line += f" first={times_us[0]} curr={times_us[-1]} min={ordered[0]} max={ordered[-1]}"
        line += f" avg={fmean(times_us):.6g} std={int(pstdev(times_us))}"
    if percentiles:
        at = [ordered[int(share * (len(ordered) - 1))] for share in (0.05, 0.5, 0.95)]
        line += " p5={} median={} p95={}".format(*at)
    return line


def write_run(
    generation: Generation = NEW,
    *,
    plan: ProcessPlan = PLAN,
    delegate: Delegate = "xnnpack",
    warmup_us: Sequence[int] = WARMUP_US,
    timed_us: Sequence[int] = TIMED_US,
    init_us: int = 1828,
) -> Run:
    """Return a whole and good run with these times."""
    argv = benchmark_command(
        "/data/local/tmp/benchmark_model",
        "/data/local/tmp/m.tflite",
        plan=plan,
        threads=1,
        delegate=delegate,
        tool=generation.tool,
    )
    flags = request_of(argv).flags
    on_tflite = generation.tool == "benchmark_model"
    lines = [
        "STARTING!",
        "Log parameter values verbosely: [0]",
        f"Min num runs: [{plan.runs}]",
        f"Min runs duration (seconds): [{plan.min_s:g}]",
        f"Max runs duration (seconds): [{plan.max_s:g}]",
        "Num threads: [1]",
        f"Min warmup runs: [{plan.warmup_runs}]",
        f"Min warmup runs duration (seconds): [{plan.warmup_s:g}]",
    ]
    runtime = ["INFO: Initialized TensorFlow Lite runtime."]
    if delegate == "xnnpack":
        runtime += ["INFO: Created TensorFlow Lite XNNPACK delegate for CPU."]
    if on_tflite:
        lines += [f"Graph: [{flags['graph']}]", "#threads used for CPU inference: [1]"]
        lines += [f"Use xnnpack: [{int(delegate == 'xnnpack')}]"]
        lines += ["Use gpu: [1]"] if delegate == "gpu" else []
        lines += [f"Loaded model {flags['graph']}"]
        names = {"xnnpack": "XNNPACK", "gpu": "GPU"}
        lines += [WHOLE.format(names[delegate])] if delegate in names else []
    else:
        name = "TfLiteXNNPackDelegate" if delegate == "xnnpack" else "LITERT_CL"
        runtime += [
            f"VERBOSE: Replacing 8 out of 8 node(s) with delegate ({name}) node, yielding 1 "
            "partitions for subgraph 0."
        ]
    lines += ["The input model file size (MB): 0.95972"]
    lines += [f"Initialized session in {init_us / 1e3:.6g}ms."]
    for runs, seconds, times in (
        (plan.warmup_runs, plan.warmup_s, warmup_us),
        (plan.runs, plan.min_s, timed_us),
    ):
        lines += [
            f"Running benchmark for at least {runs} iterations and at least {seconds:g} seconds "
            f"but terminate if exceeding {plan.max_s:g} seconds."
        ]
        statistics = write_statistics(times, percentiles=generation.percentiles)
        lines += [f"{statistics}\n"]
    if on_tflite:
        lines += [
            f"Inference timings in us: Init: {init_us}, First inference: {warmup_us[0]}, "
            f"Warmup (avg): {fmean(warmup_us):.6g}, Inference (avg): {fmean(timed_us):.6g}",
            NOTE,
            "Memory footprint delta from the start of the tool (MB): init=6.17188 overall=6.79688",
        ]
    else:
        lines += _litert_summary(init_us, warmup_us, timed_us)
    stdout = "".join(f"{generation.info}{line}\n" for line in lines)
    return Run(argv, stdout, "".join(f"{line}\n" for line in runtime))


def _litert_summary(init_us: int, warmup_us: Sequence[int], timed_us: Sequence[int]) -> list[str]:
    lines = [
        "\n========== BENCHMARK RESULTS ==========",
        f"Model initialization: {init_us / 1e3:.2f} ms",
        f"Warmup (first):       {warmup_us[0] / 1e3:.2f} ms",
        f"Warmup (avg):         {fmean(warmup_us) / 1e3:.2f} ms ({len(warmup_us)} runs)",
        f"Inference (avg):      {fmean(timed_us) / 1e3:.2f} ms ({len(timed_us)} runs)",
        f"Inference (min):      {min(timed_us) / 1e3:.2f} ms",
        f"Inference (max):      {max(timed_us) / 1e3:.2f} ms",
        f"Inference (std):      {pstdev(timed_us) / 1e3:.2f}",
        "Throughput:           1361.00 MB/s",
        "\nMemory Usage:",
        "Init footprint:       98.10 MB",
        "======================================\n",
    ]
    return [f"[litert/tools/benchmark_litert_model.h:{81 + n}] {x}" for n, x in enumerate(lines)]
