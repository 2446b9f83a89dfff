"""Board agent: the resident method on a board, by a batch that runs there by itself.

    timing program, models  --push-->  board  --job-->  visits, a line each  --poll-->  Visit ...

No visit costs a round trip, and a job outlives the connection. Visits are handed up once a look
at the board's state (throttling, caps, power mode) says that they may stand; when it says they may
not, they come as invalid and are made again, at most twice.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal, Self, TypeVar

from device_agents.batch import BatchOutput, format_plan
from device_agents.board_program import Program, install_program
from device_agents.conditions.cores import AUTO, choose_cores
from device_agents.conditions.lease import acquire_lease
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.reading import Unknown, known, show
from device_agents.conditions.states import BoardState, read_board
from device_agents.conditions.violations import violations
from device_agents.errors import DeviceSwapped, DeviceUnusable, PullFailed, TransportError
from device_agents.heartbeat import Heartbeat
from device_agents.jobs import Job, Patience, Progress, find_jobs, follow, persist, start_job
from device_agents.local import STATISTIC, Delegate
from device_agents.machine import UNKNOWN
from device_agents.measurement import (
    DEFAULT_PLAN,
    Condition,
    FailedVisit,
    ModelFile,
    Plan,
    ResidentPlan,
    Visit,
)
from device_agents.model_store import check_files, push_models
from device_agents.processes import ProcessVisit
from device_agents.resident import MAX_LOSSES_A_MODEL, MAX_LOSSES_IN_A_ROW, Rounds, require_resident
from device_agents.transports.transport import Completed, Transport

T = TypeVar("T")
Ending = Literal["ended", "lost", "violated"]

CHECK_S = 10.0
MAX_LOST_JOBS = 3  # without a visit in between
_MEMORY = "while read -r n kb _; do [ $n = MemAvailable: ] && echo $kb; done </proc/meminfo"


class BoardAgent:
    """An `Agent` for a Linux board; used as a context manager it leaves nothing running there.

    Args:
        state_folder: where this machine keeps the locks of devices.
        python: the board's interpreter that has NumPy and a runtime; by default that of the
            environment which `install_runtime` makes, or where there is none, python3.
        serial: the board that is expected, None for any.
        cores: ``auto``, or a mask of one core in hexadecimal.
        capacity_bytes: memory for resident models, by default half of what the board has free.
        check_s: how often the board's state is looked at, while a job runs.
        folder: where files go on the board, by default ``~/.cache/hilnas``.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        state_folder: Path,
        python: str | None = None,
        cores: str = AUTO,
        delegate: Delegate = "xnnpack",
        serial: str | None = None,
        capacity_bytes: int | None = None,
        folder: str | None = None,
        limits: Limits = LIMITS,
        check_s: float = CHECK_S,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
        token: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self._transport, self._state_folder, self._python = transport, state_folder, python
        self._cores, self._delegate, self._capacity_bytes = cores, delegate, capacity_bytes
        self._folder, self._limits, self._clock, self._token = folder, limits, clock, token
        self._check_s, self._patience = check_s, patience or Patience()
        self._serial, self._last_words = serial, ""
        self._known: tuple[BoardState, str, int, Program] | None = None

    @property
    def address(self) -> str:
        """The address of its transport."""
        return self._transport.address

    @property
    def serial(self) -> str | None:
        """The board's serial number, or the number of its installation."""
        return known(self._board[0].serial)

    @property
    def default_plan(self) -> ResidentPlan:
        """The resident method's own numbers."""
        return DEFAULT_PLAN

    def condition(self, *, precision: str, plan: Plan = DEFAULT_PLAN) -> Condition:
        """Return the condition under which `measure` times models of this precision.

        Raises:
            DeviceUnusable: no runtime is installed, or the plan is of another method.
            TransportError: the board does not answer.
        """
        summary = require_resident(plan).summary
        state, _, core, program = self._board
        mode = known(state.mode)
        return Condition(
            device=known(state.model) or UNKNOWN,
            soc=known(state.machine) or UNKNOWN,
            os_build=known(state.fingerprint) or UNKNOWN,
            runtime=program.runtime,
            delegate=self._delegate,
            precision=precision,
            threads=1,
            cores=f"cpu{core}",
            power_mode=mode.name if mode else _governor(state, core),
            batch=1,
            method="resident",
            statistic=STATISTIC,
            summary=summary,
        )

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[Visit | ProcessVisit]] | None = None,
        seed: int = 0,
    ) -> Iterator[Visit | FailedVisit]:
        """Yield visits of all models until each has enough; see `Agent.measure`.

        A job that an earlier, killed session left is ended, and its visits are handed in.

        Raises:
            DeviceUnusable: no runtime is installed, no room, the plan is of another method, or
                jobs are lost again and again.
            DeviceBusy: another harness has the board.
            TransportError, NeedsHuman: the board stayed away.
        """
        resident = require_resident(plan)
        good, bad = check_files(models, clock=self._clock)
        yield from bad
        rounds = Rounds(good, resident, STATISTIC, done=done or {}, order=random.Random(seed))
        if not rounds.next_round():
            return
        with self._leased() as renew:
            yield from self._recover(rounds, resident)
            yield from self._measure(rounds, resident, seed, renew)

    def close(self) -> None:
        """Let the board go; what `measure` had running ended with it."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _board(self) -> tuple[BoardState, str, int, Program]:
        """The board at first sight, our folder there, the core, and the timing program."""
        if self._known is None:
            state = self._persist(partial(read_board, self._transport))
            if isinstance(state.home, Unknown):
                raise DeviceUnusable(f"{self.address}: expected a home folder; {state.home}")
            if self._serial not in (None, known(state.serial)):
                raise DeviceSwapped(
                    f"{self.address}: expected the board {self._serial}, found"
                    f" {show(state.serial)}: connect that board, or name this one"
                )
            folder = self._folder or f"{state.home}/.cache/hilnas"
            chosen = choose_cores(state.linux, wanted=self._cores).chosen
            if len(chosen) != 1:
                raise DeviceUnusable(f"expected a mask of one core, found {self._cores}")
            (core,) = chosen
            install = partial(install_program, self._transport, folder, self._python, core)
            self._known = state, folder, core, self._persist(install)
        return self._known

    @contextmanager
    def _leased(self) -> Iterator[Heartbeat]:
        state, folder, _, _ = self._board
        lease = self._persist(
            partial(
                acquire_lease,
                self._transport,
                known(state.serial) or self.address,
                state_folder=self._state_folder,
                home=folder,
            )
        )
        try:
            yield Heartbeat(lease, self._limits.heartbeat_s, self._patience.clock)
        finally:
            lease.release()

    def _recover(self, rounds: Rounds, plan: ResidentPlan) -> Iterator[Visit | FailedVisit]:
        """End what a killed session left running, and hand in what it measured."""
        _, folder, _, _ = self._board
        for job in self._persist(partial(find_jobs, self._transport, f"{folder}/jobs")):
            self._persist(job.kill)
            if self._read_key(job) == self._key(plan):
                for _, outcomes in self._outcomes(job):
                    ours = [o for o in outcomes if o.sha256 in rounds.visits]
                    for outcome in ours:
                        rounds.add(outcome)
                        yield outcome
            self._persist(job.remove)

    def _measure(
        self, rounds: Rounds, plan: ResidentPlan, seed: int, heartbeat: Heartbeat
    ) -> Iterator[Visit | FailedVisit]:
        lost = violated = 0
        while pending := rounds.next_round():
            before = len(pending), sum(map(len, rounds.visits.values()))
            state = self._persist(partial(read_board, self._transport))
            job = self._start(pending, rounds, plan, seed, state)
            try:
                ending = yield from self._watch(job, state, rounds, heartbeat)
            except BaseException:
                with suppress(TransportError, DeviceUnusable):
                    job.remove()
                raise
            self._persist(job.remove)
            after = len(rounds.next_round()), sum(map(len, rounds.visits.values()))
            lost = 0 if ending != "lost" or after != before else lost + 1
            if lost >= MAX_LOST_JOBS:
                raise DeviceUnusable(
                    f"{self.address}: {lost} jobs in a row were ended by something else"
                    " before their first visit: look at the board's memory and power supply"
                )
            if ending == "violated":
                violated += 1
                if violated >= self._limits.attempts:
                    raise DeviceUnusable(
                        f"{self.address}: the board does not keep still in {violated} attempts;"
                        " what it was is with the visits: cool it, or mend its power supply"
                    )
                self._patience.sleep(self._limits.cool_downs_s[violated - 1])

    def _start(
        self,
        models: Sequence[ModelFile],
        rounds: Rounds,
        plan: ResidentPlan,
        seed: int,
        state: BoardState,
    ) -> Job:
        _, folder, _, program = self._board
        room = state.linux.room
        free_bytes = room if isinstance(room, Unknown) else room.free_bytes
        store = f"{folder}/models"
        push = partial(push_models, self._transport, store, models, free_bytes=free_bytes)
        self._persist(push)
        content = format_plan(
            models, plan, done=rounds.visits, folder=store, delegate=self._delegate,
            capacity_bytes=self._capacity_bytes or self._available_bytes() // 2, seed=seed,
        )  # fmt: skip
        files = {"plan.json": content, "key": self._key(plan).encode()}
        # A start counts a loss against the model that it was lost in; few are lost in none
        script = (
            f"n=0; m=0\nuntil {program.command} --plan plan.json --output out; do\n"
            "n=$((n+1)); [ -s out.at ] || m=$((m+1))\n"
            f"[ $n -le {MAX_LOSSES_A_MODEL * len(models)} ] && [ $m -lt {MAX_LOST_JOBS} ]"
            " || exit 1\ndone\n"
        )
        directory = f"{folder}/jobs/{self._token()}"
        return self._persist(partial(start_job, self._transport, directory, script, files))

    def _watch(
        self, job: Job, before: BoardState, rounds: Rounds, heartbeat: Heartbeat
    ) -> Generator[Visit | FailedVisit, None, Ending]:
        """Yield what a job measures once it may stand, and return how the job ended."""
        held: list[Visit | FailedVisit] = []
        checked_s = self._patience.clock()
        failures = 0
        for progress, outcomes in self._outcomes(job):
            heartbeat.beat()
            held += outcomes
            over = progress.state != "running" and not progress.more
            if not over and self._patience.clock() < checked_s + self._check_s:
                continue
            if progress.state != "lost":
                after = self._persist(partial(read_board, self._transport))
                checked_s = self._patience.clock()
                folder = self._board[1]
                if found := violations(before, after, self._limits, ours=folder):
                    yield from (_invalid(outcome, found) for outcome in held)
                    return "violated"
            for outcome in held:
                failures = failures + 1 if isinstance(outcome, FailedVisit) else 0
                rounds.add(outcome)
                yield outcome
                if failures > MAX_LOSSES_IN_A_ROW:
                    raise DeviceUnusable(
                        f"{self.address}: {failures} visits in a row failed; the last time:"
                        f" {outcome}"
                    )
            held.clear()
        if progress.state == "ended" and progress.exit_code:
            raise DeviceUnusable(
                f"{self.address}: the timing program ended with exit code {progress.exit_code};"
                f" its last line: {self._last_words}"
            )
        return "ended" if progress.state == "ended" else "lost"

    def _outcomes(self, job: Job) -> Iterator[tuple[Progress, list[Visit | FailedVisit]]]:
        output = BatchOutput(job.id)
        booted_unix_s: float | None = None
        for progress in follow(job, self._patience):
            now_unix_s = self._clock()
            if booted_unix_s is None:
                booted_unix_s = now_unix_s - progress.uptime_s
            yield (
                progress,
                list(
                    output.feed(progress.output, booted_unix_s=booted_unix_s, now_unix_s=now_unix_s)
                ),
            )
            self._last_words = output.last_words

    def _key(self, plan: ResidentPlan) -> str:
        """Return what a job's visits must have in common with ours to be taken in."""
        values = self.condition(precision="", plan=plan).to_dict()
        return json.dumps({**values, "hot": plan.hot}, sort_keys=True)

    def _read_key(self, job: Job) -> str:
        try:
            return self._persist(partial(self._transport.pull, f"{job.directory}/key")).decode()
        except PullFailed:
            return ""

    def _available_bytes(self) -> int:
        text = self._shell(_MEMORY).text.strip()
        if not text.isdecimal():
            raise DeviceUnusable(
                f"{self.address}: expected MemAvailable in /proc/meminfo, found {text!r}:"
                " give capacity_bytes"
            )
        return int(text) * 1024

    def _shell(self, script: str, *arguments: str) -> Completed:
        return self._persist(
            partial(self._transport.run, ["sh", "-c", script, "sh", *arguments], timeout_s=60.0)
        )

    def _persist(self, action: Callable[[], T]) -> T:
        return persist(self._transport, action, self._patience)


def _governor(state: BoardState, core: int) -> str:
    policies = known(state.linux.policies) or ()
    found = [known(policy.governor) for policy in policies if core in policy.cores]
    return (found and found[0]) or UNKNOWN


def _invalid(outcome: Visit | FailedVisit, found: Sequence[str]) -> FailedVisit:
    if isinstance(outcome, FailedVisit):
        return outcome
    raw = f"hot_wall_ns {outcome.hot_wall_ns} hot_cpu_ns {outcome.hot_cpu_ns}"
    return FailedVisit(
        outcome.sha256, outcome.started_unix_s, "invalid", "; ".join(found), raw, outcome.origin
    )
