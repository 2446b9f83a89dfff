"""Faults: what becomes of a profile when the phone, the cable, the tool or the harness goes wrong.

    profile on an emulated phone that goes wrong --> recovered, or one error
    the phone is mended, and it is profiled again --> the table

Each table is compared with that of a phone on which nothing went wrong; every visit that was let
through in any of the sessions too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks.claim import print_claim
from benchmarks.phone_fault_cases import CASES, Case, Killed, mend
from device_agents.address import AdbTcpAddress
from device_agents.conditions.limits import LIMITS
from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.stand_in import stand_in_binary
from device_agents.emulator.state import State
from device_agents.errors import DeviceError
from device_agents.jobs import Patience
from device_agents.measurement import FailedVisit, ModelFile, Outcome, Plan
from device_agents.phone import PhoneAgent
from device_agents.processes import ProcessPlan, ProcessVisit
from device_agents.tools.binaries import local_binary
from device_agents.transports.adb_direct import AdbDirectTransport
from device_agents.transports.transport import RUN_TIMEOUT_S, Completed
from latency_tables.errors import LatencyTableError
from latency_tables.journal import Journal
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from networks.graph import Shape
from networks.layers import Conv
from networks.network import Network

CLAIM = (
    "every fault ends in a recovery or one clear error; no number is invented; nothing measured"
    " is lost"
)
PLAN = ProcessPlan(
    min_processes=3, max_processes=3, warmup_runs=1, warmup_s=0.0, runs=5, min_s=0.0, max_s=1.0,
    pause_s=0.0, load_allowance_s=4.0,
)  # fmt: skip
LIMITS_HERE = replace(  # this machine is shared: an anchor may be off by half, not by 20 times
    LIMITS, thermal_wait_s=0.5, thermal_poll_s=0.1, cool_downs_s=(0.1, 0.1), anchor_share=4.0
)
PATIENCE = Patience(deadline_s=30.0, first_pause_s=0.05, longest_pause_s=0.5)
CONNECT_TIMEOUT_S = 3.0
IN_RUN = 7  # the harness is killed
BAND = 6.0  # a number within this factor of the fault-free one was not taken 20 times slower
LAYERS = tuple(Conv(Shape(48, 48, 16), filters, kernel=3) for filters in (24, 32))
NETWORKS = (Network((Conv(Shape(48, 48, 3), 16, kernel=3), LAYERS[0])),)
HOME = "data/local/tmp/hilnas"
Numbers = Mapping[str, float]
"""Latency in ms by label: a layer's key, or the network's block string."""


@dataclass(frozen=True, slots=True)
class Session:
    """One profile: its error in one line, empty without one, and what was left on the phone."""

    error: str
    wall_s: float
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a case; ``again`` is the session after an error, with the phone mended.

    ``kept_first`` and ``kept`` are visits in the journal after the first session and at the end,
    ``failed`` those without a number, for ``reasons``. ``invented`` are numbers, of visits and in
    the table, that are not near the fault-free ones; ``unseen`` runs that have no row in the
    journal: none but one that was ended in the middle.
    """

    case: str
    first: Session
    again: Session | None
    kept_first: int
    kept: int
    failed: int
    reasons: tuple[str, ...]
    invented: int
    unseen: int
    layers: int
    as_expected: bool
    numbers: Numbers

    @property
    def is_whole(self) -> bool:
        """Whether the table is complete in the end, and the phone as it was."""
        last = self.again or self.first
        return self.layers == len(LAYERS) and not (last.error or last.left)

    @property
    def is_fine(self) -> bool:
        """Whether the claim holds of it."""
        return self.as_expected and self.is_whole and self.unseen <= 1 and not self.invented


def try_case(case: Case, folder: Path, expected: Numbers) -> Trial:
    """Return what became of a case.

    Args:
        folder: an empty one.
        expected: without faults; an empty one takes whatever comes.
    """
    directory = TableDirectory(folder / "table")
    with EmulatedPhone(faults=case.faults, root=folder / "phone", boot_s=0.2) as phone:
        if case.before is not None:
            case.before(phone)
        first = _session(case, phone, folder, directory)
        kept_first = len(_kept(_visits(directory)))
        unused, again = phone.faults.pending, None
        if first.error:
            phone.faults.clear()
            if not case.killed:
                mend(phone)
            again = _session(Case(case.name, passes=True), phone, folder, directory)
    visits = _visits(directory)
    kept, rows = _kept(visits), _rows(directory)
    numbers = [(label, visit.min_ns / 1e6) for label, visit in kept]
    return Trial(
        case=case.name,
        first=first,
        again=again,
        kept_first=kept_first,
        kept=len(kept),
        failed=len(visits) - len(kept),
        reasons=tuple(sorted({v.reason for _, v in visits if isinstance(v, FailedVisit)})),
        invented=_count_invented([*numbers, *rows.items()], expected),
        unseen=phone.faults.count("run") - len(visits),
        layers=len(rows),
        as_expected=not unused and _is_expected(case, first.error),
        numbers={
            label: median(value for of, value in numbers if of == label)
            for label in {label for label, _ in numbers}
        },
    )


def _is_expected(case: Case, error: str) -> bool:
    if case.killed or not case.cause:
        return bool(error) == bool(case.killed)
    return case.cause in error and "\n" not in error


def _session(case: Case, phone: EmulatedPhone, folder: Path, directory: TableDirectory) -> Session:
    started_s, error = time.monotonic(), ""
    try:
        if case.killed is None:
            heal = (lambda: mend(phone)) if case.passes else (lambda: None)
            measure(folder, phone.port, directory, on_failure=heal)
        else:
            _die(case.killed, folder, phone)
            error = f"killed {case.killed}"
    except (DeviceError, LatencyTableError) as caught:
        error = f"{type(caught).__name__}: {caught}"
    return Session(error, time.monotonic() - started_s, _left_on(phone))


def measure(
    folder: Path,
    port: int,
    directory: TableDirectory,
    *,
    on_failure: Callable[[], None] = lambda: None,
    killed: Killed | None = None,
) -> None:
    """Profile the layers on the phone at this port, into a table with the journal's own path.

    Args:
        killed: when this very process is to die.
    """
    tool = folder / "benchmark_model"
    tool.write_bytes(stand_in_binary("arm64-v8a"))
    opened = MortalTransport if killed == "before the job" else AdbDirectTransport
    transport = opened(
        AdbTcpAddress("127.0.0.1", port), key_file=folder / "adbkey",
        connect_timeout_s=CONNECT_TIMEOUT_S,
    )  # fmt: skip

    def report(done: int, total: int, text: str) -> None:
        if "failed" in text:
            on_failure()

    kind = MortalAgent if killed == "before a row is kept" else PhoneAgent
    with kind(
        transport, binary=local_binary(tool), state_folder=folder / "state",
        limits=LIMITS_HERE, patience=PATIENCE,
    ) as agent:  # fmt: skip
        profile(agent, LAYERS, directory, networks=NETWORKS, plan=PLAN, progress=report)


class MortalTransport(AdbDirectTransport):
    """Ends its process when it is to start a job: everything is pushed by then."""

    def run(
        self, argv: Sequence[str], *, timeout_s: float = RUN_TIMEOUT_S, stdin: bytes = b""
    ) -> Completed:
        """Run a command, unless it starts a job."""
        if any("setsid" in argument for argument in argv):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(argv, timeout_s=timeout_s, stdin=stdin)


class MortalAgent(PhoneAgent):
    """Ends its process with the third outcome in its hands."""

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[object]] | None = None,
        seed: int = 0,
    ) -> Iterator[Outcome]:
        """Yield two outcomes."""
        outcomes = super().measure(models, plan, done=done, seed=seed)
        yield from islice(outcomes, 2)
        next(outcomes)
        os.kill(os.getpid(), signal.SIGKILL)


def _die(killed: Killed, folder: Path, phone: EmulatedPhone) -> None:
    argv = [sys.executable, "-m", "benchmarks.phone_faults", "--killed", killed]
    end = signal.SIGINT if killed == "by Ctrl-C" else signal.SIGKILL
    argv += [str(folder), str(phone.port)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, cwd=root) as child:
        if killed in ("in a run", "by Ctrl-C"):
            while phone.faults.count("run") < IN_RUN and child.poll() is None:
                time.sleep(0.01)
            child.send_signal(end)
        _, said = child.communicate(timeout=60)
    if child.returncode != -end:
        raise RuntimeError(f"expected the end {killed}, found {child.returncode}: {said.decode()}")


def _left_on(phone: EmulatedPhone) -> tuple[str, ...]:
    home, fresh = phone.root / HOME, State(phone.profile, phone.serial)
    left = [f"process {name}" for name in phone.sandbox.processes().values()]
    left += [f"job {path.name}" for path in sorted((home / "jobs").glob("*"))]
    left += ["lease"] if (home / "lease").exists() else []
    changed = phone.state.settings.items() - fresh.settings.items()
    left += [f"setting {key}" for (_, key), _ in sorted(changed) if key != "low_power"]
    return (*left, *["fixed performance"] * phone.state.fixed_performance)


def _visits(directory: TableDirectory) -> list[tuple[str, Outcome]]:
    """Return what was let through and what failed, each with its model's label."""
    if not directory.journal.exists():
        return []
    with Journal.open(directory.journal) as journal:
        labels = {model.sha256: model.label for model in journal.models()}
        conditions = {session.condition for session in journal.sessions()}
        found = [journal.visits(condition).values() for condition in conditions]
    return [(labels[v.sha256], v) for of_condition in found for vs in of_condition for v in vs]


def _kept(visits: Sequence[tuple[str, Outcome]]) -> list[tuple[str, ProcessVisit]]:
    return [(label, visit) for label, visit in visits if isinstance(visit, ProcessVisit)]


def _rows(directory: TableDirectory) -> Numbers:
    if not directory.versions():
        return {}
    return {row["layer"]: row["hot_ms"] for row in directory.load().rows.to_pylist()}


def _count_invented(numbers: Sequence[tuple[str, float]], expected: Numbers) -> int:
    return sum(
        not expected[label] / BAND <= value <= expected[label] * BAND
        for label, value in numbers
        if expected
    )


def try_all(cases: Sequence[Case] = CASES) -> Iterator[Trial]:
    """Yield what became of each case, that without faults first."""
    expected: Numbers = {}
    for case in (Case("none"), *cases):
        with tempfile.TemporaryDirectory() as folder:
            trial = try_case(case, Path(folder), expected)
        expected = expected or trial.numbers
        yield trial


def format_trial(trial: Trial) -> str:
    """Return a row of the table, and what the error said below it."""
    first, again = trial.first, trial.again
    end = "recovered" if not first.error else "error" if again and not again.error else "STUCK"
    row = (
        f"{'ok ' if trial.is_fine else 'NOT'} {trial.case:30} {end:9} {first.wall_s:5.1f} s"
        f" {trial.kept_first:5} {trial.kept:5} {trial.failed:6} {trial.unseen:6}"
        f" {trial.invented:8}  {', '.join(first.left) or '-'}"
    )
    lines = [first.error, *([again.error, *again.left] if again else [])]
    return "\n".join([row, *(f"      {line}" for line in lines if line)])


HEADER = (
    "    case                           end         wall  kept  all failed unseen invented  left"
)


def main() -> None:
    """Print a row a case, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--killed", help=argparse.SUPPRESS)
    parser.add_argument("session", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.killed:
        folder, port = options.session
        directory = TableDirectory(Path(folder) / "table")
        measure(Path(folder), int(port), directory, killed=options.killed)
        return
    trials = []
    if not options.json:
        print(HEADER)
    for trial in try_all([case for case in CASES if options.only in case.name]):
        trials.append(trial)
        if not options.json:
            print(format_trial(trial), flush=True)
    figures = {
        "cases": len(trials) - 1,
        "fine": sum(trial.is_fine for trial in trials[1:]),
        "recovered": sum(not trial.first.error for trial in trials[1:]),
        "invented": sum(trial.invented for trial in trials),
        "rows_kept": sum(trial.kept for trial in trials),
    }
    if options.json:
        table = [asdict(trial) for trial in trials]
        holds = all(trial.is_fine for trial in trials)
        print(json.dumps({"claim": CLAIM, "figures": figures, "holds": holds, "table": table}))
    else:
        print_claim(CLAIM, figures, holds=all(t.is_fine for t in trials), as_json=False)


if __name__ == "__main__":
    main()
