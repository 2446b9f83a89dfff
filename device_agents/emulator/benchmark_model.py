"""Stand-in for the official timing tool: runs a model with LiteRT and prints what the tool prints.

Started by the emulated phone when it executes a stand-in binary; what is printed goes through the
same phases, lines and exit codes as in recorded output of the tool. The times are real ones of
this machine. The phone is asked first what is to go wrong, and how slow its cores are.

Known differences: a GPU is never there, inputs cannot be given, and the operators of a profile are
timed by LiteRT's compiled-model interface, on one thread (see `profiled_model`).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from device_agents.emulator import result_file, tool_flags
from device_agents.emulator.profile_report import report
from device_agents.emulator.programs import MASK_VARIABLE, PHONE_VARIABLE, STARTED_VARIABLE
from device_agents.emulator.statistics_line import (
    deviation,
    mean,
    percentile,
    statistic_with_percentiles,
)
from device_agents.emulator.tool_flags import Flags, Unparsable, parse_flags
from device_agents.emulator.tool_model import LoadedModel, Loader, load_runtime
from device_agents.emulator.tool_output import Failed, inform, say, write

NAME = "benchmark_model"
_NOTE = (
    "Note: as the benchmark tool itself affects memory footprint, the following is only "
    "APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at "
    "your discretion."
)


@dataclass(frozen=True, slots=True)
class Phase:
    """Runs of one phase in whole microseconds, and the error that ended it early."""

    runs_us: tuple[int, ...]
    error: str = ""


class Tool:
    """One process of the tool, with flags that it could read."""

    def __init__(self, flags: Flags, *, pace: float, cpu_only: bool) -> None:
        """``pace``: how many times longer a run takes; ``cpu_only``: no delegate comes up."""
        self._flags, self._pace = flags, pace
        self._loader = Loader(flags, no_delegate=cpu_only)
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
        name = flags.text("graph")
        model = self._loader.load(Path(self._inside(name)), name)
        init_kb = memory_kb()
        inform(
            f"The input model file size (MB): {model.size_bytes / 1e6:g}",
            f"Initialized session in {model.init_us / 1000:g}ms.",
        )
        if flags["dry_run"]:
            return
        warmup = self._phase("warmup_runs", "warmup_min_secs", model.invoke)
        timed = self._phase("num_runs", "min_secs", model.invoke, model.note_run)
        inform(
            f"Inference timings in us: Init: {model.init_us}, "
            f"First inference: {warmup.runs_us[0]}, "
            f"Warmup (avg): {mean(warmup.runs_us):g}, Inference (avg): {mean(timed.runs_us):g}",
            _NOTE,
            f"Memory footprint delta from the start of the tool (MB): "
            f"init={(init_kb - self._memory_kb) / 1024:g} "
            f"overall={(memory_kb() - self._memory_kb) / 1024:g}",
        )
        if flags["report_peak_memory_footprint"]:
            inform(*peak_memory())
        self._write_profile(model)
        self._write_result(model, warmup, timed, init_kb)
        if timed.error:
            raise Failed(timed.error)

    def _write_profile(self, model: LoadedModel) -> None:
        if model.operators is None:
            return
        old_name = self._flags.text("profiling_output_csv_file")
        name = old_name or self._flags.text("op_profiling_output_file")
        csv = bool(old_name) or self._flags["op_profiling_output_mode"] == "csv"
        init = report(model.init_rows, [sum(row.runs_us[0] for row in model.init_rows)], csv=csv)
        parts = (
            ("Profiling Info for Benchmark Initialization:\n", init),
            (
                "Operator-wise Profiling Info for Regular Benchmark Runs:\n",
                model.operators.report(csv=csv),
            ),
        )
        try:
            if not name:
                raise OSError("no file is asked for")
            Path(self._inside(name)).write_text("".join(title + text for title, text in parts))
        except OSError:
            # As the tool does, without a word
            for title, text in parts:
                write(f"INFO: {title}{text}\n")

    def _write_result(self, model: LoadedModel, warmup: Phase, timed: Phase, init_kb: int) -> None:
        name = self._flags.text("result_file_path")
        if name:
            data = result_file.encode(
                init_us=model.init_us,
                warmup_us=warmup.runs_us,
                timed_us=timed.runs_us,
                percentiles_us=[percentile(timed.runs_us, p) for p in (5, 50, 95)],
                deviation_us=deviation(timed.runs_us),
                size_bytes=model.size_bytes,
                init_kb=init_kb - self._memory_kb,
                overall_kb=memory_kb() - self._memory_kb,
            )
            Path(self._inside(name)).write_bytes(data)

    def _inside(self, path: str) -> str:
        if path.startswith("/") and not path.startswith(self._root + "/"):
            return self._root + path
        return path

    def _phase(
        self,
        runs: str,
        seconds: str,
        invoke: Callable[[], None],
        note_run: Callable[[], None] = lambda: None,
    ) -> Phase:
        least, least_s = int(self._flags.number(runs)), self._flags.number(seconds)
        most_s = self._flags.number("max_secs")
        inform(
            f"Running benchmark for at least {least} iterations and at least {least_s:g} seconds "
            f"but terminate if exceeding {most_s:g} seconds."
        )
        phase = self._measure(least, least_s, most_s, invoke, note_run)
        write(f"INFO: {statistic_with_percentiles(phase.runs_us)}\n\n")
        if phase.error and runs == "warmup_runs":
            raise Failed(phase.error)
        return phase

    def _measure(
        self,
        least: int,
        least_s: float,
        most_s: float,
        invoke: Callable[[], None],
        note_run: Callable[[], None],
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
            note_run()
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
    load_runtime()
    started_unix_s = os.environ[STARTED_VARIABLE].partition(" ")[2]
    orders = ask_phone(int(port), [str(os.getpid()), mask, started_unix_s, *arguments])
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
