"""The local agent: this machine's own processor, timed by a worker process on one core."""

from __future__ import annotations

import base64
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from device_agents import machine
from device_agents.address import LocalAddress
from device_agents.channel import check_answer
from device_agents.errors import DeviceUnusable
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
from device_agents.worker import Worker

Delegate = Literal["xnnpack", "none"]

STATISTIC: Statistic = "thread-cpu-time"
TIMING_PROGRAM = Path(__file__).with_name("timing_program.py")
IMAGES_A_REQUEST = 64
INVOKE_TIMEOUT_S = 120.0


class LocalAgent:
    """An `Agent` for this machine, Linux only; used as a context manager it ends its workers.

    ``cpu`` is the core to measure on, by default the last of the fastest ones allowed;
    ``capacity_bytes`` bounds the memory of resident models; by default half of what is available.
    """

    def __init__(
        self,
        cpu: int | None = None,
        *,
        delegate: Delegate = "xnnpack",
        capacity_bytes: int | None = None,
        python: str = sys.executable,
    ) -> None:
        self._address, self._delegate, self._python = LocalAddress(cpu), delegate, python
        self._capacity_bytes = capacity_bytes
        self._cpu = machine.choose_core(cpu)
        self._workers: list[Worker] = []
        self._runtime: str | None = None

    @property
    def address(self) -> str:
        """The address this agent was opened with."""
        return str(self._address)

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker that runs now, if one does."""
        return next((worker.pid for worker in self._workers if not worker.closed), None)

    @property
    def serial(self) -> None:
        """This machine has an address and no serial number."""

    @property
    def default_plan(self) -> ResidentPlan:
        """The resident method's own numbers."""
        return DEFAULT_PLAN

    def condition(self, *, precision: str, plan: Plan = DEFAULT_PLAN) -> Condition:
        """Return the condition under which `measure` times models of this precision.

        Raises:
            DeviceUnusable: no runtime is installed, or the plan is of another method.
        """
        if self._runtime is None:
            self._connect().close()
        assert self._runtime is not None
        return Condition(
            device=machine.device_model(),
            soc=machine.soc(),
            os_build=f"{platform.system()} {platform.release()}",
            runtime=self._runtime,
            delegate=self._delegate,
            precision=precision,
            threads=1,
            cores=f"cpu{self._cpu}",
            power_mode=machine.power_mode(self._cpu),
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
        """Yield visits of all models until each has enough; see `Agent.measure`.

        While it is running the calling thread keeps off the measured core, if there is another.

        Raises:
            DeviceUnusable: no runtime is installed, the plan is of another method, or the worker
                is lost again and again.
        """
        capacity = self._capacity_bytes or machine.available_bytes() // 2
        loop = ResidentLoop(
            self._connect, require_resident(plan), STATISTIC, delegate=self._delegate
        )
        try:
            with _kept_off(self._cpu):
                yield from loop.measure(models, capacity_bytes=capacity, done=done or {}, seed=seed)
        finally:
            loop.close()

    def invoke(
        self, model: ModelFile, inputs: NDArray[np.float32], *, timeout_s: float = INVOKE_TIMEOUT_S
    ) -> NDArray[np.float32]:
        """Return the outputs ``(n, ...)`` of a model with one input and one output.

        ``inputs`` is ``(n, ...)``; each item runs by itself at batch 1, in the same worker
        program that times models. ``timeout_s`` is for up to 64 items.

        Raises:
            ModelRefused: the model is not what the delegate takes, or not its file.
            WorkerLost: it crashed or hung.
        """
        worker = self._connect()
        try:
            worker.send(
                {
                    "do": "load",
                    "sha256": model.sha256,
                    "path": str(model.path.resolve()),
                    "delegate": self._delegate,
                }
            )
            check_answer(worker.receive(timeout_s))
            outputs = []
            for start in range(0, len(inputs), IMAGES_A_REQUEST):
                items = np.ascontiguousarray(inputs[start : start + IMAGES_A_REQUEST], np.float32)
                content = base64.b64encode(items.tobytes()).decode()
                worker.send({"do": "invoke", "sha256": model.sha256, "inputs": content})
                answer = worker.receive(timeout_s)
                check_answer(answer)
                flat = np.frombuffer(base64.b64decode(answer["outputs"]), np.float32)
                outputs.append(flat.reshape((len(items), *answer["shape"][1:])))
            return np.concatenate(outputs)
        finally:
            worker.close()

    def close(self) -> None:
        """End every worker of this agent."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def __enter__(self) -> LocalAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> Worker:
        worker = Worker([self._python, "-I", str(TIMING_PROGRAM), "--cpu", str(self._cpu)])
        self._workers = [w for w in self._workers if not w.closed]
        self._workers.append(worker)
        hello = worker.hello
        self._runtime = f"{hello['runtime']} {hello['version']}"
        if hello["cores"] != [self._cpu]:
            worker.close()
            raise DeviceUnusable(
                f"expected the worker on core {self._cpu}, found it on {hello['cores']}"
            )
        return worker


@contextmanager
def _kept_off(cpu: int) -> Iterator[None]:
    """Keep the calling thread off a core meanwhile, unless it is the only one."""
    before = os.sched_getaffinity(0)
    elsewhere = before - {cpu}
    if not elsewhere:
        yield
        return
    os.sched_setaffinity(0, elsewhere)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
