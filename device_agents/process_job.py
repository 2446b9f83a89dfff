"""Process job: a phone's slots as a script, and what it printed as outcomes and states.

    look                      ==NONCE look 1          what the phone says of itself
    clean SHA256              ==NONCE begin 2 SHA256 UPTIME / out / err / end 2 EXIT UPTIME
    pack SHA256               the same, and the op profile

Each visit is a process of the timing tool with files of its own for what it prints, so that
nothing of one gets into another's; the job's nonce makes sure that nothing which a tool prints
passes for a frame, and a frame without its end is none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from device_agents.conditions.states import parse_phone_script, phone_script
from device_agents.errors import BinaryRefused, RunRejected
from device_agents.measurement import FailedVisit, LossReason, ModelFile, Origin
from device_agents.packs import PackedPlan, PackVisit
from device_agents.processes import ProcessPlan
from device_agents.protocol import ProcessOutcome, Seen, Slot
from device_agents.tools.command import Delegate, Tool, benchmark_command
from device_agents.tools.op_profile import parse_op_profile
from device_agents.tools.output import parse_run, to_visit

Kind = Literal["clean", "pack"]

_MODEL = "@MODEL@"  # safe in a shell, and in no path of ours
_PROFILE = "profile"
_TIMED_OUT = (124, 143)  # as timeout says it, or as an older one's signal does
_KILLED = 137  # by timeout, or by the system, which wants memory
_CANNOT_RUN = (126, 127)
KILL_AFTER_S = 5  # a tool that hangs may not listen to a kinder signal

_LOOP = """\
N={nonce}
mark() {{ printf '\\n==%s %s\\n' $N "$*"; }}
mark err >m
n=0
while read -r kind model <&3; do
n=$((n+1))
if [ $kind = look ]; then mark look $n; sh ./look; mark end $n 0 0; continue; fi
[ -e skip.$model ] && continue
read -r up _ </proc/uptime
mark begin $n $model $up $kind
case $kind in
{cases}
esac
r=$?
read -r up _ </proc/uptime
mark out; cat o m e
if [ $kind = pack ]; then mark profile; cat {profile}; fi
mark end $n $r $up
if [ $r != 0 ]; then if [ -e lost.$model ]; then : >skip.$model; else : >lost.$model; fi; fi
{pause}
done 3<slots
"""

LAST_LOOK = """cd "$1" && { printf '\\n==%s look 0\\n' "$2"; sh ./look
printf '\\n==%s end 0 0 0\\n' "$2"; } >>out"""
"""Adds a look to the output of job ``$2`` in the folder ``$1``, which was killed just now."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """How the tool is called on this phone: where it and the models lie, on which cores."""

    binary: str
    tool: Tool
    models: str
    mask: str
    threads: int
    delegate: Delegate
    plan: ProcessPlan | PackedPlan

    def argv(self, kind: Kind, model: str) -> tuple[str, ...]:
        """Return the command line of a visit to a model of this sha256."""
        return benchmark_command(
            self.binary,
            f"{self.models}/{model}.tflite",
            plan=_tool_plan(self.plan, kind),
            threads=self.threads,
            delegate=self.delegate,
            tool=self.tool,
            op_profile=_PROFILE if kind == "pack" else None,
        )

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of visits that the plan has."""
        return ("clean", "pack") if isinstance(self.plan, PackedPlan) else ("clean",)


def _tool_plan(plan: ProcessPlan | PackedPlan, kind: Kind) -> ProcessPlan:
    if isinstance(plan, ProcessPlan):
        return plan
    if kind == "clean":
        return plan.clean
    return ProcessPlan(
        warmup_runs=1, warmup_s=plan.warmup_s, runs=plan.runs, min_s=0.0, max_s=plan.max_s
    )


def format_script(call: ToolCall, nonce: str) -> str:
    """Return the job's script: it reads the slots from the file of that name, one a line."""
    cases = []
    for kind in call.kinds:
        words = shlex.join(call.argv(kind, _MODEL)).replace(_MODEL, "$model")
        clean = f"rm -f {_PROFILE}; " if kind == "pack" else ""
        limit = f"timeout -k {KILL_AFTER_S} {call.plan.deadline_s:g}"
        run = f"{clean}{limit} taskset {call.mask} {words}"
        cases.append(f"{kind}) {run} >o 2>e </dev/null ;;")
    pause = f"sleep {call.plan.pause_s:g}" if call.plan.pause_s > 0 else ":"
    return _LOOP.format(nonce=nonce, profile=_PROFILE, cases="\n".join(cases), pause=pause)


def job_files(slots: Iterable[Slot]) -> Mapping[str, bytes]:
    """Return the files that lie beside the script."""
    return {"slots": format_slots(slots).encode(), "look": phone_script().encode()}


def format_slots(slots: Iterable[Slot]) -> str:
    """Return the slots as the script reads them."""
    return "".join(
        "look -\n" if slot is None else f"{kind_of(slot)} {slot.sha256}\n" for slot in slots
    )


def kind_of(model: ModelFile) -> Kind:
    """Return how a model of this role is visited."""
    return "pack" if model.role == "pack" else "clean"


class JobOutput:
    """The output of one job, as it comes in, and when its last frame began or ended."""

    def __init__(self, job: str, call: ToolCall) -> None:
        self._job, self._call = job, call
        mark = re.escape(f"\n=={job} ")
        self._end = re.compile(rf"{mark}end (\d+) (\d+) ([\d.]+)\n".encode())
        self._look = re.compile(rf"{mark}look \d+\n(.*)", re.DOTALL)
        self._begin = re.compile(rf"{mark}begin (\d+) ([0-9a-f]+) ([\d.]+) (\w+)\n")
        self._visit = re.compile(
            self._begin.pattern + rf"{mark}out\n(.*){mark}err\n(.*?)(?:{mark}profile\n(.*))?\Z",
            re.DOTALL,
        )
        self._rest = b""
        self.frames = 0

    def feed(self, output: bytes, *, booted_unix_s: float, now_unix_s: float) -> Iterator[Seen]:
        """Yield what was finished in this piece of output.

        Args:
            booted_unix_s: when the phone was booted, by this machine's clock: the phone's own may
                be wrong.

        Raises:
            BinaryRefused: the tool cannot be executed there.
        """
        self._rest += output.replace(b"\r\n", b"\n")
        while end := self._end.search(self._rest):
            frame = self._rest[: end.start()].decode(errors="replace")
            self._rest = self._rest[end.end() :]
            self.frames += 1
            if look := self._look.search(frame):
                yield parse_phone_script(look[1])
            elif visit := self._visit.search(frame):
                started_unix_s = min(now_unix_s, booted_unix_s + float(visit[3]))
                took_s = float(end[3]) - float(visit[3])
                yield self._outcome(visit, int(end[2]), took_s, started_unix_s)

    def in_flight(self, now_unix_s: float) -> FailedVisit | None:
        """Return the visit that has begun and not ended, as one that hung."""
        begins = list(self._begin.finditer(self._rest.decode(errors="replace")))
        if not begins:
            return None
        last = begins[-1]
        detail = "it had not ended at its deadline, and neither had the phone ended it"
        return FailedVisit(last[2], now_unix_s, "hung", detail, "", (self._job, int(last[1])))

    def _outcome(
        self, visit: re.Match[str], code: int, took_s: float, started_unix_s: float
    ) -> ProcessOutcome:
        number, sha256, _, kind, stdout, stderr, profile = visit.groups()
        origin: Origin = (self._job, int(number))
        raw = stdout + stderr + (profile or "")
        try:
            argv = self._call.argv("pack" if kind == "pack" else "clean", sha256)
            run = parse_run(argv, code, stdout, stderr)
            if kind == "pack":
                found = parse_op_profile(profile or "")
                return PackVisit(sha256, started_unix_s, found, raw, origin)
            return to_visit(
                run, sha256=sha256, started_unix_s=started_unix_s, raw=raw, origin=origin
            )
        except RunRejected as rejected:
            if code in _CANNOT_RUN:
                raise BinaryRefused(f"{self._call.binary}: {rejected.reason}") from rejected
            late = code == _KILLED and took_s >= self._call.plan.deadline_s
            late = late or code in _TIMED_OUT
            reason: LossReason = "hung" if late else "crashed" if code >= 124 else "rejected"
            return FailedVisit(sha256, started_unix_s, reason, rejected.reason, raw, origin)
