"""Command: the arguments of the official timing tool, every flag that matters explicit.

ProcessPlan, threads, delegate  --benchmark_command-->  argv  --request_of-->  Request

The tool comes as ``benchmark_model`` (TensorFlow Lite) and as its successor
``benchmark_litert_model``, which is also published under the name ``benchmark_model``; some flags
differ, so `tool_of` looks into the binary. The command line is all that was asked of a run:
`device_agents.tools.output` holds the tool's own words against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from device_agents.errors import DeviceUnusable, RunRejected
from device_agents.processes import ProcessPlan

Tool = Literal["benchmark_model", "benchmark_litert_model"]
Delegate = Literal["xnnpack", "none", "gpu"]

# Events of one run that the profiler holds: a pack of 60 layers has some hundreds of operators
PROFILE_ENTRIES = 16_384
# A text that only the successor prints, hence holds
_LITERT_MARK = b"BENCHMARK RESULTS"
# What the tool does when a flag is absent (num_threads differs between builds)
DEFAULTS: Mapping[str, str] = {
    "num_runs": "50",
    "min_secs": "1",
    "max_secs": "150",
    "warmup_runs": "1",
    "warmup_min_secs": "0.5",
    "run_delay": "-1",
    "run_frequency": "-1",
    "dry_run": "false",
    "report_peak_memory_footprint": "false",
    "enable_op_profiling": "false",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a command line asks of the tool; ``delegate`` is None where it names none.

    ``flags`` are those given, as text; ``disturbances`` what makes a run slower than it would be
    by itself, and so no latency.
    """

    flags: Mapping[str, str]
    warmup_runs: int
    warmup_s: float
    runs: int
    min_s: float
    max_s: float
    delegate: Delegate | None
    full_delegation: bool
    op_profile: str | None
    disturbances: tuple[str, ...]


def tool_of(binary: bytes) -> Tool:
    """Return which of the two tools a binary is, whatever its file is called."""
    return "benchmark_litert_model" if _LITERT_MARK in binary else "benchmark_model"


def tool_identity(tool: Tool, binary_sha256: str) -> str:
    """Return the text that names the tool in a condition: builds differ by up to 60 %."""
    return f"{tool} sha256:{binary_sha256[:12]}"


def benchmark_command(
    binary: str,
    model: str,
    *,
    plan: ProcessPlan,
    threads: int,
    delegate: Delegate,
    tool: Tool = "benchmark_model",
    full_delegation: bool = True,
    gpu_float16: bool = True,
    op_profile: str | None = None,
    result_file: str | None = None,
) -> tuple[str, ...]:
    """Return the arguments of one process of the tool.

    Args:
        binary, model, op_profile, result_file: paths on the device; the last two are written.
        full_delegation: whether a model that the delegate takes only in part is an error.
        gpu_float16: whether the GPU may calculate in float16, as it does by default.
        op_profile: where to write the times of operators; makes the run no latency.

    Raises:
        DeviceUnusable: this tool cannot be told to do that.
    """
    flags = {
        "graph": model,
        "num_threads": str(threads),
        "warmup_runs": str(plan.warmup_runs),
        "warmup_min_secs": f"{plan.warmup_s:g}",
        "num_runs": str(plan.runs),
        "min_secs": f"{plan.min_s:g}",
        "max_secs": f"{plan.max_s:g}",
    }
    if tool == "benchmark_litert_model":
        if delegate == "none" or op_profile is not None:
            what = "write operator times to a file" if op_profile else "run without a delegate"
            raise DeviceUnusable(f"{tool} cannot {what}: use benchmark_model of TensorFlow Lite")
        flags["use_cpu"] = _text(delegate == "xnnpack")
        flags["use_gpu"] = _text(delegate == "gpu")
        precision = "allow_fp16"
    else:
        flags["use_xnnpack"] = _text(delegate == "xnnpack")
        if delegate == "gpu":
            flags["use_gpu"] = "true"
        precision = "gpu_precision_loss_allowed"
    if delegate == "gpu":
        flags[precision] = _text(gpu_float16)
    if delegate != "none":
        flags["require_full_delegation"] = _text(full_delegation)
    if op_profile is not None:
        flags["enable_op_profiling"] = "true"
        flags["op_profiling_output_mode"] = "csv"
        flags["op_profiling_output_file"] = op_profile
        flags["max_profiling_buffer_entries"] = str(PROFILE_ENTRIES)
    if result_file is not None:
        flags["result_file_path"] = result_file
    return (binary, *(f"--{name}={value}" for name, value in flags.items()))


def request_of(argv: Sequence[str]) -> Request:
    """Return what a command line asks; whatever wraps the tool, such as taskset, is passed over.

    Raises:
        RunRejected: a flag is given twice (the tool takes the first), or is no number.
    """
    given = [word[2:].partition("=") for word in argv if word.startswith("--")]
    flags = {name: value for name, _, value in given}
    if len(flags) < len(given):
        names = [name for name, _, _ in given]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RunRejected(f"expected each flag once, found {', '.join(twice)} more than once")
    value = {**DEFAULTS, **flags}
    try:
        return Request(
            flags=flags,
            warmup_runs=int(value["warmup_runs"]),
            warmup_s=float(value["warmup_min_secs"]),
            runs=int(value["num_runs"]),
            min_s=float(value["min_secs"]),
            max_s=float(value["max_secs"]),
            delegate=_delegate_of(flags),
            full_delegation=flags.get("require_full_delegation") != "false",
            op_profile=flags.get("op_profiling_output_file"),
            disturbances=_disturbances_of(value),
        )
    except ValueError as error:
        raise RunRejected(f"expected numbers as values of flags, found {error}") from error


def _text(value: bool) -> str:
    return "true" if value else "false"


def _delegate_of(flags: Mapping[str, str]) -> Delegate | None:
    if flags.get("use_gpu") == "true":
        return "gpu"
    if "true" in (flags.get("use_xnnpack"), flags.get("use_cpu")):
        return "xnnpack"
    return "none" if flags.get("use_xnnpack") == "false" else None


def _disturbances_of(value: Mapping[str, str]) -> tuple[str, ...]:
    """Source: reference protocol, section 1.1: a profiler, a polling thread, clocks that drop."""
    found = []
    if value["enable_op_profiling"] != "false":
        found.append("operator profiling")
    if value["report_peak_memory_footprint"] != "false":
        found.append("memory polling")
    if max(float(value["run_delay"]), float(value["run_frequency"])) > 0:
        found.append("pauses between runs")
    return tuple(found)
