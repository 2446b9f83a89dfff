"""A simulated phone: the process and the packed method without a device.

    measure --> job: visits in rounds, each round in a fresh random order --> outcomes

As on a phone, the visits of a job outlive the one who asked for them: a job that was interrupted
hands in all that it has, again, when the phone is next asked to measure.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from device_agents.errors import ConnectionLost, DeviceUnusable
from device_agents.measurement import (
    Condition,
    FailedVisit,
    ModelFile,
    Outcome,
    Plan,
    ResidentPlan,
    Visit,
)
from device_agents.packs import PackedPlan, PackVisit
from device_agents.processes import ProcessPlan, ProcessVisit, is_measured
from device_agents.simulated import START_UNIX_S, latency_of_sha256_ns, what_is_wrong
from device_agents.tools.op_profile import OpProfile

Fault = Literal["crashed", "hung", "rejected", "unreadable", "invalid"]

LOSSES_A_MODEL = 2


class SimulatedPhone:
    """An `Agent` of the process method, and of the packed one where it is given profiles.

    Args:
        serial: of this specimen; the address is ``adb:SERIAL``.
        noise: standard deviation of a process around the latency, as a share of it.
        faults: for a sha256 what its next visits do instead of succeeding.
        profile: the op profile of a pack, by the pack's sha256.
        lost_after: visits after which the phone is gone for good, and ``lost`` once asked for more.
    """

    def __init__(
        self,
        serial: str = "SIM0",
        latency_ns: Callable[[str], float] = latency_of_sha256_ns,
        *,
        noise: float = 0.005,
        seed: int = 0,
        model: str = "simulated phone",
        os_build: str = "build-1",
        faults: Mapping[str, Sequence[Fault]] | None = None,
        profile: Callable[[str], OpProfile] | None = None,
        lost_after: int | None = None,
    ) -> None:
        self.latency_ns, self.noise, self.profile = latency_ns, noise, profile
        self.lost_after, self.visits, self.now_unix_s = lost_after, 0, START_UNIX_S
        self._serial, self._model, self._os_build = serial, model, os_build
        self._random = random.Random(f"{seed} {serial}")
        self._faults = {sha256: deque(script) for sha256, script in (faults or {}).items()}
        self.lost = False
        self._job = list[Outcome]()

    @property
    def address(self) -> str:
        """``adb:SERIAL``."""
        return f"adb:{self._serial}"

    @property
    def serial(self) -> str:
        """The one that was given."""
        return self._serial

    @property
    def default_plan(self) -> ProcessPlan:
        """The process method's own numbers."""
        return ProcessPlan()

    def condition(self, *, precision: str, plan: Plan | None = None) -> Condition:
        """Return a condition that only phones of this name have."""
        plan = plan or self.default_plan
        if isinstance(plan, ResidentPlan):
            raise DeviceUnusable(f"expected a plan of processes or packs, found {plan}")
        return Condition(
            device=self._model,
            soc="simulated",
            os_build=self._os_build,
            runtime="benchmark_model simulated",
            delegate="xnnpack",
            precision=precision,
            threads=1,
            cores="0x80",
            power_mode="fixed-performance",
            batch=1,
            method="packed" if isinstance(plan, PackedPlan) else "process",
            statistic="wall-time",
            summary=plan.summary,
        )

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[Visit | ProcessVisit]] | None = None,
        seed: int = 0,
    ) -> Iterator[Outcome]:
        """Yield pretended visits in rounds; see `Agent.measure`.

        Raises:
            ConnectionLost: the script says so.
        """
        yield from tuple(self._job)
        known = {sha256: list(visits) for sha256, visits in (done or {}).items()}
        for outcome in self._job:
            if isinstance(outcome, ProcessVisit) and outcome not in known.get(outcome.sha256, ()):
                known.setdefault(outcome.sha256, []).append(outcome)
        job, self._job = uuid.uuid4().hex, []
        for outcome in self._visit_all(models, plan, known, random.Random(seed)):
            self._job.append(replace(outcome, origin=(job, len(self._job))))
            yield self._job[-1]
        self._job = []

    def close(self) -> None:
        """There is nothing to end."""

    def _visit_all(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        done: Mapping[str, Sequence[Visit | ProcessVisit]],
        order: random.Random,
    ) -> Iterator[ProcessVisit | PackVisit | FailedVisit]:
        clean = plan.clean if isinstance(plan, PackedPlan) else plan
        assert isinstance(clean, ProcessPlan)
        visits = {model.sha256: list(done.get(model.sha256, ())) for model in models}
        pending = {model.sha256: model for model in models if not _is_done(model, visits, clean)}
        losses = dict.fromkeys(pending, 0)
        while pending:
            batch = list(pending.values())
            order.shuffle(batch)
            for model in batch:
                outcome = self._visit(model, plan)
                yield outcome
                if isinstance(outcome, ProcessVisit):
                    visits[model.sha256].append(outcome)
                    if _is_done(model, visits, clean):
                        del pending[model.sha256]
                elif isinstance(outcome, PackVisit):
                    del pending[model.sha256]
                else:
                    losses[model.sha256] += 1
                    refused = outcome.reason in ("rejected", "unreadable")
                    if refused or losses[model.sha256] >= LOSSES_A_MODEL:
                        del pending[model.sha256]

    def _visit(self, model: ModelFile, plan: Plan) -> ProcessVisit | PackVisit | FailedVisit:
        if self.lost_after is not None and self.visits >= self.lost_after:
            self.lost = True
            raise ConnectionLost(f"{self.address}: the simulated phone was unplugged")
        self.visits += 1
        self.now_unix_s += 3.0
        sha256, at = model.sha256, self.now_unix_s
        if detail := what_is_wrong(model.path, sha256):
            return FailedVisit(sha256, at, "unreadable", detail)
        if script := self._faults.get(sha256):
            return FailedVisit(sha256, at, script.popleft(), "as the script says", "raw output")
        if model.role == "pack":
            assert self.profile is not None
            return PackVisit(sha256, at, self.profile(sha256), "raw profile")
        middle = self.latency_ns(sha256) * (1 + self.noise * self._random.gauss(0, 1))
        low, high = round(0.97 * middle), round(1.2 * middle)
        return ProcessVisit(
            sha256, at, warmup_runs=10, runs=50, init_ns=round(9 * middle), first_ns=high,
            min_ns=low, mean_ns=round(1.01 * middle), max_ns=high, median_ns=round(middle),
            p5_ns=low, p95_ns=high, raw="raw output",
        )  # fmt: skip


def _is_done(
    model: ModelFile, visits: Mapping[str, Sequence[Visit | ProcessVisit]], plan: ProcessPlan
) -> bool:
    mine = [visit for visit in visits[model.sha256] if isinstance(visit, ProcessVisit)]
    return model.role != "pack" and is_measured(mine, plan)
