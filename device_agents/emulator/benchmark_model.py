"""Stand-in for the official timing tool: runs a model with LiteRT and prints what the tool prints.

Started by the emulated phone when it executes a stand-in binary; what is printed goes through the
same phases, lines and exit codes as in recorded output of the tool. The times are real ones of
this machine. The phone is asked first what is to go wrong, and how slow its cores are.

Known differences: a GPU is never there, inputs cannot be given, and the operators of a profile are
timed by LiteRT's compiled-model interface (see `op_profile`).
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from device_agents.emulator import result_file, tool_flags
from device_agents.emulator.programs import MASK_VARIABLE, PHONE_VARIABLE
from device_agents.emulator.tool_flags import Flags, Unparsable, parse_flags
from device_agents.timing_program import Refused, require_one_delegate

NAME = "benchmark_model"
_NOTE = (
    "Note: as the benchmark tool itself affects memory footprint, the following is only "
    "APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at "
    "your discretion."
)


class Failed(Exception):
    """The tool gives up; its arguments are the lines that say why."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Runs of one phase in whole microseconds, and the error that ended it early."""

    runs_us: tuple[int, ...]
    error: str = ""

    @property
    def mean_us(self) -> float:
        """Their mean, 0 of none."""
        return sum(self.runs_us) / len(self.runs_us) if self.runs_us else 0.0

    def percentile_us(self, percent: int) -> int:
        """Return the run below which so many percent lie."""
        ordered = sorted(self.runs_us)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0

    @property
    def deviation_us(self) -> int:
        """The standard deviation, cut to whole microseconds."""
        mean = self.mean_us
        return int(math.sqrt(sum((run - mean) ** 2 for run in self.runs_us) / len(self.runs_us)))


def statistic(runs_us: Sequence[int], mean_us: float, deviation_us: int) -> str:
    """Return the tool's words for some runs, without percentiles."""
    count = f"count={len(runs_us)}"
    if not runs_us:
        return count
    first, last, low, high = runs_us[0], runs_us[-1], min(runs_us), max(runs_us)
    if len(runs_us) == 1:
        return f"{count} curr={last}"
    if low == high:
        return f"{count} curr={last}(all same)"
    return (
        f"{count} first={first} curr={last} min={low} max={high} avg={mean_us:g} std={deviation_us}"
    )


def describe(phase: Phase) -> str:
    """Return the line of statistics of a phase."""
    words = statistic(phase.runs_us, phase.mean_us, phase.deviation_us if phase.runs_us else 0)
    low, middle, high = (phase.percentile_us(percent) for percent in (5, 50, 95))
    return f"{words} p5={low} median={middle} p95={high}"


def say(level: str, text: str) -> None:
    """Print one line as the tool does: errors on standard error, at once."""
    os.write(2 if level == "ERROR" else 1, f"{level}: {text}\n".encode(errors="surrogateescape"))


def inform(*lines: str) -> None:
    """Print lines of information."""
    for line in lines:
        say("INFO", line)


class Tool:
    """One process of the tool, with flags that it could read."""

    def __init__(self, flags: Flags, *, pace: float, cpu_only: bool) -> None:
        """``pace``: how many times longer a run takes; ``cpu_only``: no delegate comes up."""
        self._flags, self._pace, self._cpu_only = flags, pace, cpu_only
        self._root = os.environ.get(PHONE_VARIABLE, "")
        self._memory_kb = memory_kb()

    def run(self) -> None:
        """Do it all.

        Raises:
            Failed: as the tool fails.
        """
        flags = self._flags
        if flags.unconsumed:
            say("WARN", f"Unconsumed cmdline flags: {' '.join(flags.unconsumed)}")
        if not flags["graph"]:
            raise Failed("Please specify the name of your TF Lite input file with --graph")
        inform(f"Log parameter values verbosely: [{int(bool(flags['verbose']))}]")
        inform(*flags.echo(tool_flags.GENERAL), *flags.echo(tool_flags.MODEL))
        if "num_threads" in flags.given:
            inform(f"#threads used for CPU inference: [{flags['num_threads']}]")
        inform(*flags.echo(tool_flags.DELEGATES))
        invoke, size_bytes, started_ns = self._load()
        init_us = (time.perf_counter_ns() - started_ns) // 1000
        init_kb = memory_kb()
        inform(
            f"The input model file size (MB): {size_bytes / 1e6:g}",
            f"Initialized session in {init_us / 1000:g}ms.",
        )
        if flags["dry_run"]:
            return
        warmup = self._phase("warmup_runs", "warmup_min_secs", invoke)
        timed = self._phase("num_runs", "min_secs", invoke)
        inform(
            f"Inference timings in us: Init: {init_us}, First inference: {warmup.runs_us[0]}, "
            f"Warmup (avg): {warmup.mean_us:g}, Inference (avg): {timed.mean_us:g}",
            _NOTE,
            f"Memory footprint delta from the start of the tool (MB): "
            f"init={(init_kb - self._memory_kb) / 1024:g} "
            f"overall={(memory_kb() - self._memory_kb) / 1024:g}",
        )
        if flags["report_peak_memory_footprint"]:
            inform(*peak_memory())
        self._report(init_us, warmup, timed, size_bytes, init_kb)
        if timed.error:
            raise Failed(timed.error)

    def _report(
        self, init_us: int, warmup: Phase, timed: Phase, size_bytes: int, init_kb: int
    ) -> None:
        path = self._flags.text("result_file_path")
        if path:
            data = result_file.encode(
                init_us=init_us,
                warmup_us=warmup.runs_us,
                timed_us=timed.runs_us,
                percentiles_us=tuple(timed.percentile_us(p) for p in (5, 50, 95)),
                deviation_us=timed.deviation_us,
                size_bytes=size_bytes,
                init_kb=init_kb - self._memory_kb,
                overall_kb=memory_kb() - self._memory_kb,
            )
            Path(self._inside(path)).write_bytes(data)

    def _inside(self, path: str) -> str:
        if path.startswith("/") and not path.startswith(self._root + "/"):
            return self._root + path
        return path

    def _load(self) -> tuple[Callable[[], None], int, int]:
        name = self._flags.text("graph")
        path = Path(self._inside(name))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise Failed(
                f"Could not open '{name}'.",
                "The model allocation is null/empty",
                f"Failed to load model {name}",
            ) from error
        from ai_edge_litert import interpreter as litert

        explicit = self._flags.given.get("use_xnnpack")
        wants_xnnpack = explicit is not False and not self._cpu_only
        kinds = litert.OpResolverType
        if content[4:8] != b"TFL3":
            raise invalid(name)
        started_ns = time.perf_counter_ns()
        inform(f"Loaded model {name}")
        try:
            interpreter = litert.Interpreter(
                model_path=str(path),
                num_threads=max(1, int(self._flags.number("num_threads"))),
                experimental_op_resolver_type=kinds.AUTO
                if wants_xnnpack
                else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        except ValueError as error:
            raise invalid(name) from error
        except RuntimeError as error:
            raise Failed(str(error), "Failed to apply the default delegate.") from error
        try:
            interpreter.allocate_tensors()
        except RuntimeError as error:
            raise Failed(str(error), "Failed to allocate tensors!") from error
        if self._flags["use_gpu"]:
            say(
                "WARN",
                "The GPU delegate compile options are only supported on Android or iOS platforms "
                "or when the tool was built with -DCL_DELEGATE_NO_GL.",
            )
            say("WARN", "GPU acceleration is unsupported on this platform.")
        if explicit:
            self._report_delegation(interpreter)
        fill(interpreter)
        return interpreter.invoke, len(content), started_ns

    def _report_delegation(self, interpreter: Any) -> None:
        nodes = [node["op_name"] for node in interpreter._get_ops_details()]
        kernels = nodes.count("DELEGATE")
        whole = is_one_delegate(interpreter)
        if not kernels:
            inform(
                "Though XNNPACK delegate is explicitly applied, the model graph will not be "
                "executed by the delegate."
            )
        elif whole:
            inform(
                "Explicitly applied XNNPACK delegate, and the model graph will be completely "
                "executed by the delegate."
            )
        else:
            inform(
                "Explicitly applied XNNPACK delegate, and the model graph will be partially "
                f"executed by the delegate w/ {kernels} delegate kernels."
            )
        if self._flags["require_full_delegation"] and not whole:
            raise Failed("Disallowed CPU fallback detected.")

    def _phase(self, runs: str, seconds: str, invoke: Callable[[], None]) -> Phase:
        least, least_s = int(self._flags.number(runs)), self._flags.number(seconds)
        most_s = self._flags.number("max_secs")
        inform(
            f"Running benchmark for at least {least} iterations and at least {least_s:g} seconds "
            f"but terminate if exceeding {most_s:g} seconds."
        )
        phase = self._measure(least, least_s, most_s, invoke)
        os.write(1, f"INFO: {describe(phase)}\n\n".encode())
        if phase.error and runs == "warmup_runs":
            raise Failed(phase.error)
        return phase

    def _measure(
        self, least: int, least_s: float, most_s: float, invoke: Callable[[], None]
    ) -> Phase:
        clock, pace, delay_s = time.perf_counter_ns, self._pace, self._flags.number("run_delay")
        runs_us: list[int] = []
        started = clock()
        now = started
        while (len(runs_us) < least or now - started < least_s * 1e9) and (
            now - started <= most_s * 1e9
        ):
            begun = clock()
            error = attempt(invoke)
            now = clock()
            if pace > 1:
                until = begun + int((now - begun) * pace)
                while now < until:
                    now = clock()
            runs_us.append((now - begun) // 1000)
            if error:
                return Phase(tuple(runs_us), error)
            if delay_s > 0:
                time.sleep(delay_s)
        return Phase(tuple(runs_us))


def attempt(invoke: Callable[[], None]) -> str:
    """Run once; return what went wrong, or nothing."""
    try:
        invoke()
    except RuntimeError as error:
        return str(error)
    return ""


def is_one_delegate(interpreter: Any) -> bool:
    """Whether a delegate took the whole graph."""
    try:
        require_one_delegate(interpreter)
    except Refused:
        return False
    return True


def invalid(name: str) -> Failed:
    """Return the failure of a file that is no model."""
    return Failed(
        "The model is not a valid Flatbuffer buffer",
        f"Failed to load model {name}",
    )


def fill(interpreter: Any) -> None:
    """Give random inputs, as the tool does."""
    import numpy as np

    random = np.random.default_rng()
    for tensor in interpreter.get_input_details():
        shape, kind = tensor["shape"], np.dtype(tensor["dtype"])
        if kind.kind == "f":
            values = random.uniform(-0.5, 0.5, shape).astype(kind)
        else:
            values = random.integers(0, 100, shape, endpoint=True).astype(kind)
        interpreter.set_tensor(tensor["index"], values)


def memory_kb() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def peak_memory() -> list[str]:
    """Return the lines on memory at the end, as the tool words (and misspells) them."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())

    def mib(name: str) -> int:
        return int(status[name].split()[0]) // 1024

    return [
        "Overall peak memory footprint (MB) via periodic monitoring: "
        f"{int(status['VmHWM'].split()[0]) / 1024:g}",
        "Memory status at the end of exeution:",
        f"- VmRSS              : {mib('VmRSS')} MB",
        f"+ RssAnnon           : {mib('RssAnon')} MB",
        f"+ RssFile + RssShmem : {mib('RssFile') + mib('RssShmem')} MB",
    ]


def ask_phone(port: int, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what the phone has to say about a run that is about to begin."""
    fields = [str(len(arguments) + 2), str(Path.cwd()), NAME, *arguments]
    with socket.create_connection(("127.0.0.1", port)) as phone:
        phone.sendall("".join(f + "\0" for f in fields).encode(errors="surrogateescape"))
        answer = b""
        while chunk := phone.recv(1 << 16):
            answer += chunk
    orders: dict[str, Any] = json.loads(answer.partition(b"\n")[2])
    return orders


def obey(fault: str, path: str) -> None:
    """Let go wrong what the phone wants to go wrong; return where the run goes on."""
    if fault.startswith("crash"):
        inform("STARTING!", "Log parameter values verbosely: [0]")
        number = int(fault.split()[1]) - 128
        os.kill(os.getpid(), number)
        time.sleep(1)
    elif fault == "hang":
        inform("STARTING!", "Log parameter values verbosely: [0]")
        while True:
            time.sleep(60)
    elif fault == "garbage":
        os.write(1, bytes(range(128, 256)) + b"\ncount=1 curr=nan avg=-1\n")
        sys.exit(0)
    elif fault == "empty":
        inform("STARTING!")
        sys.exit(0)
    elif fault == "wrong-abi":
        os.write(2, f"{path}: not executable: 64-bit ELF file\n".encode())
        sys.exit(126)


def main() -> NoReturn:
    """Be the tool: PORT PATH FLAGS..."""
    port, path, *arguments = sys.argv[1:]
    Path("/proc/self/comm").write_text(NAME)
    mask = os.environ.get(MASK_VARIABLE, "")
    orders = ask_phone(int(port), [str(os.getpid()), mask, *arguments])
    obey(orders["fault"], path)
    inform("STARTING!")
    try:
        flags = parse_flags(arguments)
        Tool(flags, pace=orders["pace"], cpu_only=orders["fault"] == "cpu-fallback").run()
    except Unparsable as error:
        say("ERROR", str(error))
        sys.exit(1)
    except Failed as error:
        for line in error.args:
            say("ERROR", line)
        say("ERROR", "Benchmarking failed.")
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
