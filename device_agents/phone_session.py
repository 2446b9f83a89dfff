"""Phone session: carries out the steps of a protocol on one phone, and leaves it as it was.

Every step may be done again, so that each outlives a lost connection: the phone is waited for, and
must be the same one when it comes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args

from device_agents import protocol
from device_agents.conditions.lease import Lease, acquire_lease
from device_agents.conditions.limits import Limits
from device_agents.conditions.reading import Unknown
from device_agents.conditions.settings import apply_settings, undo_settings
from device_agents.conditions.states import PhoneState, read_phone
from device_agents.errors import (
    BinaryRefused,
    CommandTimeout,
    ConnectionLost,
    DeviceError,
    DeviceSwapped,
    DeviceUnusable,
    NeedsHuman,
    PullFailed,
)
from device_agents.heartbeat import Heartbeat
from device_agents.jobs import Job, Patience, find_jobs, follow, persist, start_job
from device_agents.measurement import ModelFile
from device_agents.model_store import push_models
from device_agents.process_job import LAST_LOOK, JobOutput, ToolCall, format_script, job_files
from device_agents.protocol import News, ProcessOutcome, Reply, Seen, Step, Steps
from device_agents.transports.transport import Completed, Transport

T = TypeVar("T")
LEAVING_S = 10.0  # a phone that is away then is put in order at the next start
BACKSTOP_S = 30.0  # after a visit's own deadline, which the phone keeps itself
FAR = 1 << 40  # beyond any output
OLD_DAYS = 7  # jobs of other conditions, which nobody asked for again
_STEPS = get_args(Step)
# Also what was never started: the session that pushed it died on the way
_TIDY = f"""cd "$1" 2>/dev/null || exit 0
find . -mindepth 1 -maxdepth 1 -mtime +{OLD_DAYS} -exec rm -rf {{}} +
for d in */; do [ -d "$d/claim" ] || rm -rf "./$d"; done"""


class PhoneSession:
    """One session: the job that runs now, what is set, and the lease.

    Args:
        call: how the tool is called on this phone.
        tool: the tool's bytes.
        home: our folder on the phone.
        serial: of this phone.
        asked: the models that are measured, by sha256.
        key: what the visits of an earlier job must have in common with these.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        call: ToolCall,
        tool: bytes,
        home: str,
        serial: str,
        asked: frozenset[str],
        key: str,
        state_folder: Path,
        fixed_performance: bool,
        limits: Limits,
        patience: Patience,
        clock: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._transport, self._call, self._tool, self._home = transport, call, tool, home
        self._serial, self._asked, self._key = serial, asked, key
        self._state_folder, self._fixed_performance = state_folder, fixed_performance
        self._limits, self._patience, self._clock, self._token = limits, patience, clock, token
        self._lease: Lease | None = None
        self._heartbeat: Heartbeat | None = None
        self._is_set = False
        self._state: PhoneState | None = None
        self._job: Job | None = None
        self._news: Iterator[News] = iter(())
        self._recovered: list[Job] = []
        self._is_judged = self._is_away = False

    def carry_out(self, steps: Steps) -> Iterator[ProcessOutcome]:
        """Carry out each step, and yield each outcome.

        Raises:
            DeviceError: as the steps' own, and as the protocol decides.
        """
        reply: Reply = None
        try:
            while True:
                item = steps.send(reply)
                reply = None
                if isinstance(item, _STEPS):
                    reply = self._perform(item)
                else:
                    yield item  # type: ignore[misc]
        except StopIteration:
            return
        except (BinaryRefused, DeviceUnusable):
            self._is_judged = True
            raise
        except (CommandTimeout, ConnectionLost, NeedsHuman):
            self._is_away = True
            raise

    def leave(self) -> None:
        """End the job, put back the settings, and give back the lease, as far as can be.

        What an interrupted job saw stays there, and is handed in by the next session; that of a
        phone or a tool which cannot measure has no use. A phone that was waited for in vain, or
        is another one, is let alone: the next session puts it in order.
        """
        self._patience = replace(self._patience, deadline_s=LEAVING_S)
        if not self._is_away:
            with suppress(DeviceError):
                self._end_jobs()
            with suppress(DeviceError):
                if self._is_set:
                    self._persist(partial(undo_settings, self._transport, home=self._home))
        if self._lease is not None:
            self._lease.release()

    def _end_jobs(self) -> None:
        if self._is_judged:
            for job in (*self._recovered, *([self._job] if self._job else ())):
                self._persist(job.remove)
        elif self._job is not None:
            self._interrupt(self._job)

    def _interrupt(self, job: Job) -> None:
        """Kill a job, and look after its last visits if it ran until now."""
        is_running = self._persist(partial(job.poll, FAR)).state == "running"
        self._persist(job.kill)
        if is_running:
            self._shell(LAST_LOOK, job.directory, job.id)

    def _perform(self, step: Step) -> Reply:
        match step:
            case protocol.Lease():
                self._take_lease()
            case protocol.Recover():
                return self._recover()
            case protocol.Forget():
                for job in self._recovered:
                    self._persist(job.remove)
            case protocol.Look():
                self._state = self._persist(partial(read_phone, self._transport))
                return self._state
            case protocol.Wait(seconds):
                self._wait(seconds)
            case protocol.Apply():
                self._is_set = True
                self._persist(self._apply)
            case protocol.Push(models):
                self._push(models)
            case protocol.Start(slots):
                self._start(slots)
            case protocol.Read():
                return next(self._news)
            case protocol.Skip(sha256):
                assert self._job is not None
                self._shell(': > "$1"', f"{self._job.directory}/skip.{sha256}")
            case protocol.Finish():
                assert self._job is not None
                self._persist(self._job.remove)
                self._job = None
        return None

    def _take_lease(self) -> None:
        acquire = partial(
            acquire_lease,
            self._transport,
            self._serial,
            state_folder=self._state_folder,
            home=self._home,
            ttl_s=self._limits.lease_s,
        )
        self._lease = self._persist(acquire)
        self._heartbeat = Heartbeat(self._lease, self._limits.heartbeat_s, self._patience.clock)

    def _recover(self) -> tuple[tuple[Seen, ...], ...]:
        jobs = self._persist(partial(find_jobs, self._transport, f"{self._home}/jobs"))
        for job in jobs:
            self._interrupt(job)
        self._persist(partial(undo_settings, self._transport, home=self._home))
        found = []
        for job in jobs:
            if self._read_key(job) != self._key:
                continue
            self._recovered.append(job)
            seen = tuple(s for news in self._read(job) for s in news.seen)
            if not all(isinstance(s, PhoneState) or s.sha256 in self._asked for s in seen):
                self._recovered.remove(job)
            found.append(seen)
        self._shell(_TIDY, f"{self._home}/jobs")
        return tuple(found)

    def _read_key(self, job: Job) -> str:
        try:
            return self._persist(partial(self._transport.pull, f"{job.directory}/key")).decode()
        except PullFailed:
            return ""

    def _apply(self) -> None:
        apply_settings(self._transport, fixed_performance=self._fixed_performance, home=self._home)

    def _wait(self, seconds: float) -> None:
        """Sleep, and keep the lease meanwhile."""
        until_s = self._patience.clock() + seconds
        while (left_s := until_s - self._patience.clock()) > 0:
            self._patience.sleep(min(left_s, self._limits.heartbeat_s))
            self._beat()

    def _push(self, models: tuple[ModelFile, ...]) -> None:
        folder, path = self._call.binary.rpartition("/")[0], self._call.binary
        sha256 = hashlib.sha256(self._tool).hexdigest()
        if self._shell('sha256sum "$1"', path).text.split()[:1] != [sha256]:
            self._shell('mkdir -p "$1"', folder)
            self._persist(partial(self._transport.push, self._tool, path, mode=0o755))
        room = Unknown("not looked at") if self._state is None else self._state.linux.room
        free_bytes = room if isinstance(room, Unknown) else room.free_bytes
        store = self._call.models
        self._persist(partial(push_models, self._transport, store, models, free_bytes=free_bytes))

    def _start(self, slots: tuple[protocol.Slot, ...]) -> None:
        nonce = self._token()
        directory = f"{self._home}/jobs/{nonce}"
        files = {**job_files(slots), "key": self._key.encode()}
        script = format_script(self._call, nonce)
        start = partial(start_job, self._transport, directory, script, files)
        self._job = Job(self._transport, directory)  # also if the start fails half-way
        self._job = self._persist(start)
        self._news = self._read(self._job)

    def _read(self, job: Job) -> Iterator[News]:
        """Yield news of a job until it has ended, or is ended because a visit hangs."""
        output = JobOutput(job.id, self._call)
        booted_unix_s: float | None = None
        frames, since_s = 0, self._patience.clock()
        plan = self._call.plan
        for progress in follow(job, self._patience, on_return=self._check_serial):
            self._beat()
            now_unix_s, now_s = self._clock(), self._patience.clock()
            if booted_unix_s is None:
                booted_unix_s = now_unix_s - progress.uptime_s
            seen = tuple(
                output.feed(progress.output, booted_unix_s=booted_unix_s, now_unix_s=now_unix_s)
            )
            if output.frames != frames:
                frames, since_s = output.frames, now_s
            if progress.state == "running" and now_s - since_s > (
                plan.deadline_s + plan.pause_s + BACKSTOP_S
            ):
                self._persist(job.kill)
                hung = output.in_flight(now_unix_s)
                yield News((*seen, hung) if hung else seen, "lost")
                return
            yield News(seen, "running" if progress.more else progress.state)

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def _check_serial(self) -> None:
        found = self._transport.run(["getprop", "ro.serialno"]).text.strip()
        if found != self._serial:
            raise DeviceSwapped(
                f"{self._transport.address}: expected the phone {self._serial} to come back,"
                f" found {found}: connect that phone again"
            )

    def _shell(self, script: str, *arguments: str) -> Completed:
        argv = ["sh", "-c", script, "sh", *arguments]
        return self._persist(partial(self._transport.run, argv, timeout_s=60.0))

    def _persist(self, action: Callable[[], T]) -> T:
        return persist(self._transport, action, self._patience, on_return=self._check_serial)
