"""A simulated agent: the resident method over a timing program that only pretends.

For tests of what lies above, and for dry runs. Latency is a function of a file's sha256, noise
is seeded, time passes only when a visit or a wait takes it, failures follow a script.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from device_agents.channel import Message
from device_agents.errors import WorkerCrashed, WorkerHung
from device_agents.measurement import (
    DEFAULT_PLAN,
    Condition,
    FailedVisit,
    ModelFile,
    Plan,
    ResidentPlan,
    Statistic,
    Visit,
)
from device_agents.processes import ProcessVisit
from device_agents.resident import ResidentLoop, require_resident

Fault = Literal["crashed", "hung", "rejected", "unreadable"]

STATISTIC: Statistic = "thread-cpu-time"
COLD_FACTOR = 1.2
WALL_FACTOR = 1.05
PACE_NS = 10_000
CAPACITY_BYTES = 1 << 40
START_UNIX_S = 1.7e9


def latency_of_sha256_ns(sha256: str) -> float:
    """Return 10 us to 1 ms, the same for the same file, evenly on a logarithmic scale."""
    digest = hashlib.sha256(sha256.encode()).digest()
    return float(1e4 * 100 ** (int.from_bytes(digest[:4], "big") / 2**32))


def what_is_wrong(path: Path, sha256: str) -> str | None:
    """Return why this is not the file of that sha256, or None where it is."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error)
    return None if found == sha256 else f"{path}: expected sha256 {sha256}, found {found}"


class SimulatedAgent:
    """An `Agent` without a device.

    ``noise`` is the mean excess of a visit over the floor, as a share of it. ``faults`` lists for
    a sha256 what its next requests do instead of succeeding; those not used up are in
    `unused_faults`. With ``check_files=False`` the files need not exist. ``pace_ns`` is what the
    core's fixed computation takes.
    """

    def __init__(
        self,
        latency_ns: Callable[[str], float] = latency_of_sha256_ns,
        *,
        noise: float = 0.01,
        seed: int = 0,
        faults: Mapping[str, Sequence[Fault]] | None = None,
        check_files: bool = True,
        name: str = "simulated",
        pace_ns: int = PACE_NS,
    ) -> None:
        self.latency_ns, self.noise, self.name = latency_ns, noise, name
        self.check_files, self.pace_ns = check_files, pace_ns
        self.random = random.Random(seed)
        self.now_unix_s = START_UNIX_S
        self._faults = {sha256: deque(script) for sha256, script in (faults or {}).items()}

    @property
    def address(self) -> str:
        """``simulated``, or the name that was given."""
        return self.name

    @property
    def unused_faults(self) -> dict[str, tuple[Fault, ...]]:
        """The scripted faults that have not happened yet."""
        return {sha256: tuple(script) for sha256, script in self._faults.items() if script}

    def take_fault(self, sha256: str) -> Fault | None:
        """Return the next fault of this model and cross it off."""
        script = self._faults.get(sha256)
        return script.popleft() if script else None

    @property
    def serial(self) -> None:
        """This machine has an address and no serial number."""

    @property
    def default_plan(self) -> ResidentPlan:
        """The resident method's own numbers."""
        return DEFAULT_PLAN

    def condition(self, *, precision: str, plan: Plan = DEFAULT_PLAN) -> Condition:
        """Return a condition that no real device has."""
        return Condition(
            device=self.name,
            soc="simulated",
            os_build="simulated",
            runtime="simulated",
            delegate="xnnpack",
            precision=precision,
            threads=1,
            cores="cpu0",
            power_mode="simulated",
            batch=1,
            method="resident",
            statistic=STATISTIC,
            summary=require_resident(plan).summary,
        )

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[Visit | ProcessVisit]] | None = None,
        seed: int = 0,
    ) -> Iterator[Visit | FailedVisit]:
        """Yield pretended visits in the order of real ones; see `Agent.measure`."""
        loop = ResidentLoop(
            lambda: _SimulatedChannel(self),
            require_resident(plan),
            STATISTIC,
            clock=lambda: self.now_unix_s,
            sleep=self._pass,
        )
        yield from loop.measure(models, capacity_bytes=CAPACITY_BYTES, done=done or {}, seed=seed)

    def close(self) -> None:
        """There is nothing to end."""

    def _pass(self, seconds: float) -> None:
        self.now_unix_s += seconds


class _SimulatedChannel:
    """A `Channel` that answers from its agent's function and script."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self._agent = agent
        self._requests: deque[Message] = deque()

    def send(self, request: Message) -> None:
        self._requests.append(request)

    def receive(self, timeout_s: float) -> Message:
        request = self._requests.popleft()
        sha256 = request["sha256"]
        if request["do"] == "forget":
            return {"forgotten": sha256}
        fault = self._agent.take_fault(sha256)
        if fault == "crashed":
            raise WorkerCrashed("the simulated worker was ended by SIGSEGV")
        if fault == "hung":
            self._agent.now_unix_s += timeout_s
            raise WorkerHung(f"no answer within {timeout_s:g} s")
        if fault is not None:
            return {"failed": fault, "detail": "as the script says"}
        if request["do"] == "load":
            return self._load(sha256, Path(request["path"]))
        return self._visit(sha256, request["hot"])

    def close(self) -> None:
        self._requests.clear()

    def _load(self, sha256: str, path: Path) -> Message:
        if self._agent.check_files and (detail := what_is_wrong(path, sha256)):
            return {"failed": "unreadable", "detail": detail}
        return {"loaded": sha256}

    def _visit(self, sha256: str, hot: int) -> Message:
        agent = self._agent
        floor_ns = agent.latency_ns(sha256)
        slow = 1.0 + agent.random.expovariate(1.0) * agent.noise
        jitter = [1.0 + agent.random.expovariate(1.0) * agent.noise / 10 for _ in range(1 + hot)]
        jitter[0] *= COLD_FACTOR
        cpu_ns = [max(1, round(floor_ns * slow * share)) for share in jitter]
        wall_ns = [max(1, round(ns * WALL_FACTOR)) for ns in cpu_ns]
        started_unix_s = agent.now_unix_s
        agent.now_unix_s += sum(wall_ns) / 1e9
        return {
            "visit": sha256,
            "started_unix_s": started_unix_s,
            "wall_ns": wall_ns,
            "cpu_ns": cpu_ns,
            "preemptions": 0,
            "load": 0.0,
            "steal": 0.0,
            "pace_ns": agent.pace_ns,
        }
