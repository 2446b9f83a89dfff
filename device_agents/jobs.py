"""Job: a script that runs on the device by itself, whatever becomes of the cable.

    DIRECTORY/script   what runs, by a POSIX sh
    DIRECTORY/claim    made by the one process that runs it, so that a second start is none
    DIRECTORY/pid      the leader of its session        DIRECTORY/boot   the boot it runs in
    DIRECTORY/out      what it printed, append-only     DIRECTORY/rc     its exit code, at the end

Everything here may be done again after a lost connection: a start that was not answered is
started again and finds the claim taken, a poll reads from an offset, a kill or a removal of what
is gone is done. A device that was rebooted has lost the job and kept its output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from device_agents.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceMissing,
    DeviceUnusable,
    TransportError,
)
from device_agents.transports.transport import Completed, Transport

T = TypeVar("T")
JobState = Literal["running", "ended", "lost"]

CHUNK_BYTES = 1 << 20
SHORTEST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0  # a poll is a few short processes, on other cores than the measured one
_NAME = "hilnas-job"  # what the leader is called among processes: a pid alone may be another's

_LEADER = """cd "$1" && mkdir claim 2>/dev/null || exit 0
cat /proc/sys/kernel/random/boot_id > boot 2>/dev/null
: > out
echo $$ > pid.part && mv pid.part pid
sh ./script </dev/null >>out 2>&1
echo $? > rc.part && mv rc.part rc"""

# Without the wait for the pid file a job dies with the shell that starts it.
_START = """cd "$1" || exit 3
setsid sh -c "$2" "$3" "$1" </dev/null >/dev/null 2>&1 &
n=0
while [ ! -s pid ] && [ $n -lt 500 ]; do sleep 0.02 || sleep 1; n=$((n+1)); done
[ -s pid ]"""

_POLL = """read up _ < /proc/uptime
cd "$1" 2>/dev/null || { echo "lost - 0 $up"; exit; }
s=lost
if [ -s rc ]; then s=ended
elif [ "$(cat boot 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ]; then
p=$(cat pid 2>/dev/null)
if [ -n "$p" ] && grep -q "$4" "/proc/$p/cmdline" 2>/dev/null; then s=running
elif [ -s rc ]; then s=ended; fi
fi
n=$(wc -c < out 2>/dev/null || echo 0)
r=$(cat rc 2>/dev/null || echo -)
echo $s $r $n $up
n=$((n-$2))
[ $n -gt "$3" ] && n=$3
if [ $n -gt 0 ]; then tail -c "+$(($2+1))" out | head -c $n; fi
exit 0"""

# By session: a timeout(1) makes a process group of its own, which a kill by group would miss.
_KILL = """cd "$1" 2>/dev/null || exit 0
mkdir claim 2>/dev/null
p=$(cat pid 2>/dev/null)
[ -n "$p" ] || exit 0
[ "$(cat boot 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ] || exit 0
n=0
while [ $n -lt 100 ]; do
found=
for f in /proc/[0-9]*/stat; do
{ read -r line < "$f"; } 2>/dev/null || continue
q=${f#/proc/}
set -- ${line##*) }
if [ "$4" = "$p" ] && [ "$1" != Z ]; then kill -9 "${q%/stat}" 2>/dev/null; found=1; fi
done
[ -n "$found" ] || exit 0
sleep 0.05 || sleep 1
n=$((n+1))
done
exit 1"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a lost device is waited for, and how often it is tried meanwhile.

    Source: reference, section 6 (Jumpstarter: pauses of 0.3 s, doubled; 300 s in all).
    """

    deadline_s: float = 300.0
    first_pause_s: float = 0.3
    longest_pause_s: float = 10.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def persist(
    transport: Transport,
    action: Callable[[], T],
    patience: Patience,
    *,
    on_return: Callable[[], None] = lambda: None,
) -> T:
    """Return what this action returns, reconnecting and doing it again while the device is away.

    Only for what may be done twice. ``on_return`` is called when a device has come back: it may
    be another one.

    Raises:
        ConnectionLost, CommandTimeout, DeviceMissing: the device stayed away until the deadline.
        NeedsHuman: it came back and wants a person, or another one came in its place.
    """
    pause_s, deadline_s = patience.first_pause_s, patience.clock() + patience.deadline_s
    away = False
    while True:
        try:
            if away:
                transport.reconnect()
                on_return()
            away = False
            return action()
        except (ConnectionLost, CommandTimeout, DeviceMissing):
            away = True
            if patience.clock() + pause_s > deadline_s:
                raise
            patience.sleep(pause_s)
            pause_s = min(2 * pause_s, patience.longest_pause_s)


@dataclass(frozen=True, slots=True)
class Progress:
    """New output of a job and where it goes on, how the job is, and the device's uptime then.

    ``exit_code`` is that of a job that has ended; one is ``lost`` when it neither runs nor left
    an exit code: killed, or the device rebooted. ``more`` says that there is output to read yet.
    """

    output: bytes
    offset: int
    more: bool
    state: JobState
    exit_code: int | None
    uptime_s: float


def follow(
    job: Job,
    patience: Patience,
    *,
    on_return: Callable[[], None] = lambda: None,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> Iterator[Progress]:
    """Yield a job's progress, from the beginning of its output until it runs no more.

    It is asked again at once while there is news, and less and less often while there is none. A
    lost device is waited for.

    Raises:
        TransportError, NeedsHuman: as `persist`.
    """
    offset, pause_s = 0, SHORTEST_PAUSE_S
    while True:
        poll = partial(job.poll, offset)
        progress = persist(job.transport, poll, patience, on_return=on_return)
        offset = progress.offset
        yield progress
        if progress.more:
            continue
        if progress.state != "running":
            return
        pause_s = SHORTEST_PAUSE_S if progress.output else min(2 * pause_s, longest_pause_s)
        patience.sleep(pause_s)


class Job:
    """A job in its directory on the device."""

    def __init__(self, transport: Transport, directory: str) -> None:
        self.transport, self.directory = transport, directory

    @property
    def id(self) -> str:
        """The name of its directory."""
        return self.directory.rpartition("/")[2]

    def poll(self, offset: int = 0) -> Progress:
        """Return what it printed beyond this offset, in bytes, and how it is.

        Raises:
            TransportError: the device did not answer.
        """
        done = _shell(self.transport, _POLL, self.directory, str(offset), str(CHUNK_BYTES), _NAME)
        head, _, output = done.stdout.partition(b"\n")
        try:
            state, code, size, uptime = head.decode().split()
            if state not in ("running", "ended", "lost"):
                raise ValueError(state)
            upto = min(int(size), offset + CHUNK_BYTES)
            return Progress(
                output=output,
                offset=max(offset, upto),
                more=upto < int(size),
                state=state,  # type: ignore[arg-type]
                exit_code=int(code) if state == "ended" else None,
                uptime_s=float(uptime),
            )
        except ValueError as error:
            raise TransportError(
                f"{self.directory}: expected the state of a job, found {head[:200]!r}"
            ) from error

    def kill(self, *, then: str = ":") -> None:
        """End it and all that it started, then run a command; what has not started will not.

        Raises:
            DeviceUnusable: something of it cannot be ended.
        """
        done = _shell(self.transport, f"({_KILL}\n) && {then}", self.directory)
        if done.exit_code:
            raise DeviceUnusable(
                f"{self.directory}: a process of this job cannot be ended: reboot the device"
            )

    def remove(self) -> None:
        """Kill it and delete its directory: what it printed must be safe elsewhere."""
        self.kill(then='rm -rf "$1"')


def start_job(
    transport: Transport, directory: str, script: str, files: Mapping[str, bytes] | None = None
) -> Job:
    """Start a script in a directory of its own, or attach to it where it was started before.

    ``files`` lie beside it, by name; the directory is where the script starts.

    Raises:
        PushFailed: the script or a file cannot be stored.
        DeviceUnusable: the device does not start it.
    """
    _shell(transport, 'mkdir -p "$1"', directory)
    for name, content in {**(files or {}), "script": script.encode()}.items():
        transport.push(content, f"{directory}/{name}")
    done = _shell(transport, _START, directory, _LEADER, _NAME)
    if done.exit_code:
        why = " ".join(done.stderr.decode(errors="replace").split())
        raise DeviceUnusable(f"{directory}: the device does not start a job: {why or 'no pid'}")
    return Job(transport, directory)


def attach(transport: Transport, directory: str) -> Job | None:
    """Return the job that was started in this directory, if one was."""
    done = _shell(transport, '[ -d "$1/claim" ]', directory)
    return None if done.exit_code else Job(transport, directory)


def find_jobs(transport: Transport, base: str) -> list[Job]:
    """Return the jobs that were started in directories of ``base``, by name."""
    listing = 'cd "$1" 2>/dev/null && for d in */; do [ -d "$d/claim" ] && echo "${d%/}"; done'
    done = _shell(transport, listing, base)
    return [Job(transport, f"{base}/{name}") for name in done.text.split("\n") if name]


def _shell(transport: Transport, script: str, *arguments: str) -> Completed:
    return transport.run(["sh", "-c", script, "sh", *arguments])
