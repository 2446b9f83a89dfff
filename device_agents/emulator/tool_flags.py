"""Flags: those of the official timing tool, with its defaults and the words it repeats them in.

The order is that of its log. Source: tflite/tools/benchmark/benchmark_model.cc,
benchmark_tflite_model.cc and tools/delegates of LiteRT, and recorded output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag; ``label`` is how the log calls it, None where the log passes over it."""

    name: str
    default: Value
    label: str | None
    always: bool = False

    def parse(self, text: str) -> Value:
        """Return the value in a text.

        Raises:
            ValueError: it is of another kind.
        """
        if isinstance(self.default, bool):
            if text not in ("true", "false", "1", "0"):
                raise ValueError(text)
            return text in ("true", "1")
        return type(self.default)(text)


GENERAL = (
    Flag("num_runs", 50, "Min num runs"),
    Flag("min_secs", 1.0, "Min runs duration (seconds)"),
    Flag("max_secs", 150.0, "Max runs duration (seconds)"),
    Flag("run_delay", -1.0, "Inter-run delay (seconds)"),
    Flag("run_frequency", -1.0, "Number of prorated runs per second"),
    Flag("num_threads", -1, "Num threads"),
    Flag("use_caching", False, "Use caching"),
    Flag("benchmark_name", "", "Benchmark name"),
    Flag("output_prefix", "", "Output prefix"),
    Flag("warmup_runs", 1, "Min warmup runs"),
    Flag("warmup_min_secs", 0.5, "Min warmup runs duration (seconds)"),
    Flag("dry_run", False, "Run w/o invoking kernels"),
    Flag("report_peak_memory_footprint", False, "Report the peak memory footprint"),
    Flag("memory_footprint_check_interval_ms", 50, "Memory footprint check interval (ms)"),
)
MODEL = (
    Flag("graph", "", "Graph"),
    Flag("signature_to_run_for", "", "Signature to run", always=True),
    Flag("input_layer", "", "Input layers"),
    Flag("input_layer_shape", "", "Input shapes"),
    Flag("allow_fp16", False, "Allow fp16"),
    Flag("require_full_delegation", False, "Require full delegation"),
    Flag("enable_op_profiling", False, "Enable op profiling"),
    Flag("max_profiling_buffer_entries", 1024, "Max initial profiling buffer entries"),
    Flag(
        "allow_dynamic_profiling_buffer_increase",
        False,
        "Allow dynamic increase on profiling buffer entries",
    ),
    Flag("op_profiling_output_mode", "stdout", "Op profiling output mode."),
    Flag("op_profiling_output_file", "", "Op profiling output file."),
    Flag("profiling_output_csv_file", "", "CSV File to export profiling data to"),
    Flag("result_file_path", "", "Result file path"),
)
DELEGATES = (
    Flag("use_gpu", False, "Use gpu"),
    Flag("gpu_backend", "", "GPU backend"),
    Flag("gpu_precision_loss_allowed", True, "Allow lower precision in gpu"),
    Flag("use_nnapi", False, "Use NNAPI"),
    Flag("use_xnnpack", False, "Use xnnpack"),
)
VERBOSE = Flag("verbose", False, None)
_ALL = {flag.name: flag for flag in (*GENERAL, *MODEL, *DELEGATES, VERBOSE)}


class Unparsable(Exception):
    """A flag that the tool has, with a value of another kind."""


@dataclass(frozen=True, slots=True)
class Flags:
    """A command line: what was given by name, and the arguments that nobody took."""

    given: dict[str, Value]
    unconsumed: tuple[str, ...] = field(default=())

    def __getitem__(self, name: str) -> Value:
        return self.given.get(name, _ALL[name].default)

    def number(self, name: str) -> float:
        """Return the value of a numeric flag."""
        return float(self[name])

    def text(self, name: str) -> str:
        """Return the value of a text flag."""
        return str(self[name])

    def echo(self, flags: Sequence[Flag]) -> list[str]:
        """Return the lines that repeat those of these flags that were given, or all if verbose."""
        return [
            f"{flag.label}: [{_show(self[flag.name])}]"
            for flag in flags
            if flag.always or flag.name in self.given or self["verbose"]
        ]


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Return the flags of a command line; of two copies the first counts, as in the tool.

    Raises:
        Unparsable: a value is of another kind than its flag.
    """
    given: dict[str, Value] = {}
    unconsumed = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        flag = _ALL.get(name)
        if flag is None or not equals or not argument.startswith("--") or name in given:
            unconsumed.append(argument)
            continue
        try:
            given[name] = flag.parse(text)
        except ValueError as error:
            raise Unparsable(f"Failed to parse flag '{name}' against argv '{argument}'") from error
    return Flags(given, tuple(unconsumed))


def _show(value: Value) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)
