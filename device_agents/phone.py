"""Phone agent: the process method on an Android phone, with the official timing tool.

    Protocol  --step-->  PhoneAgent  --Transport-->  phone
              <--what came of it--

The protocol says what is done and when; this is the short loop that does it.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self

from device_agents.conditions.cores import AUTO, Cores, choose_cores, verify_mask
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.linux import format_cores
from device_agents.conditions.linux_checks import Wanted
from device_agents.conditions.reading import Unknown, known
from device_agents.conditions.settings import PHONE_HOME
from device_agents.conditions.states import PhoneState, read_phone
from device_agents.errors import DeviceSwapped, DeviceUnusable
from device_agents.jobs import Patience, persist
from device_agents.machine import UNKNOWN
from device_agents.measurement import Condition, ModelFile, Outcome, Plan, ResidentPlan
from device_agents.model_store import check_files
from device_agents.packs import PackedPlan
from device_agents.phone_session import PhoneSession
from device_agents.process_job import ToolCall
from device_agents.processes import ProcessPlan
from device_agents.protocol import Protocol
from device_agents.tools.binaries import Binary
from device_agents.tools.command import Delegate, tool_identity, tool_of
from device_agents.tools.elf import require_abi
from device_agents.tools.output import STATISTIC
from device_agents.transports.transport import Transport

PowerMode = Literal["fixed", "as-is"]
DEFAULT_PROCESS_PLAN = ProcessPlan()


class PhoneAgent:
    """An `Agent` for an Android phone; used as a context manager it leaves it as it was.

    Args:
        binary: the timing tool; checked against the phone's processor before it is pushed.
        state_folder: where this machine keeps the locks of devices.
        cores: ``auto``, or a mask in hexadecimal within one cluster.
        power_mode: ``fixed`` asks Android to hold the clocks at what it can sustain.
        serial: the phone that is expected, None for any.
        folder: where files go on the phone.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        binary: Binary,
        state_folder: Path,
        cores: str = AUTO,
        threads: int = 1,
        delegate: Delegate = "xnnpack",
        power_mode: PowerMode = "fixed",
        serial: str | None = None,
        folder: str = PHONE_HOME,
        limits: Limits = LIMITS,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
        token: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self._transport, self._binary, self._state_folder = transport, binary, state_folder
        self._threads, self._delegate, self._power_mode = threads, delegate, power_mode
        self._serial, self._folder, self._limits = serial, folder, limits
        self._wanted_cores, self._clock, self._token = cores, clock, token
        self._patience = patience or Patience()
        self._known: tuple[PhoneState, Cores] | None = None
        self._content = binary.read()
        self._tool = tool_of(self._content)

    @property
    def address(self) -> str:
        """The address of its transport."""
        return self._transport.address

    @property
    def serial(self) -> str | None:
        """The phone's serial number."""
        return known(self._phone[0].serial)

    @property
    def default_plan(self) -> ProcessPlan:
        """The reference protocol's numbers."""
        return DEFAULT_PROCESS_PLAN

    def condition(self, *, precision: str, plan: Plan = DEFAULT_PROCESS_PLAN) -> Condition:
        """Return the condition under which `measure` times models of this precision.

        Raises:
            DeviceSwapped: another phone answers than the one that is expected.
            DeviceUnusable: no such cores, or the plan is of another method.
            BinaryRefused: the tool is not for this phone.
            TransportError: the phone does not answer.
        """
        asked = _require_process(plan)
        state, cores = self._phone
        return Condition(
            device=known(state.model) or UNKNOWN,
            soc=known(state.soc) or UNKNOWN,
            os_build=known(state.fingerprint) or UNKNOWN,
            runtime=tool_identity(self._tool, self._binary.sha256),
            delegate=self._delegate,
            precision=precision,
            threads=self._threads,
            cores=f"cpu{format_cores(cores.chosen)}",
            power_mode=self._power_mode,
            batch=1,
            method="packed" if isinstance(asked, PackedPlan) else "process",
            statistic=STATISTIC,
            summary=asked.summary,
        )

    def measure(
        self,
        models: Sequence[ModelFile],
        plan: Plan,
        *,
        done: Mapping[str, Sequence[object]] | None = None,
        seed: int = 0,
    ) -> Iterator[Outcome]:
        """Yield visits of all models until each has enough; see `Agent.measure`.

        Visits come in spans of some 20, when the phone has kept still meanwhile. What an earlier,
        killed session left on the phone is handed in first, and its settings are put back.

        Raises:
            DeviceUnusable: not ready, no room, does not keep still, or the plan is of another
                method.
            DeviceBusy: another harness has the phone.
            BinaryRefused: the tool is not for this phone.
            TransportError, NeedsHuman: the phone stayed away, or another one came back.
        """
        asked = _require_process(plan)
        good, bad = check_files(models, clock=self._clock)
        yield from bad
        protocol = Protocol(
            good, asked, done=done or {}, order=random.Random(seed), limits=self._limits,
            clock=self._patience.clock,
        )  # fmt: skip
        if not protocol.pending:
            return
        session = PhoneSession(
            self._transport,
            call=self._call(asked),
            tool=self._content,
            home=self._folder,
            serial=self._read_serial(),
            asked=frozenset(model.sha256 for model in good),
            key=self._key(asked),
            state_folder=self._state_folder,
            fixed_performance=self._power_mode == "fixed",
            limits=self._limits,
            patience=self._patience,
            clock=self._clock,
            token=self._token,
        )
        try:
            yield from session.carry_out(protocol.run(self._wanted(good)))
        finally:
            session.leave()

    def close(self) -> None:
        """Let the phone go; what `measure` had set and running ended with it."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _phone(self) -> tuple[PhoneState, Cores]:
        """The phone at first sight, and the cores to measure on."""
        if self._known is None:
            state = persist(self._transport, partial(read_phone, self._transport), self._patience)
            if isinstance(state.serial, Unknown):
                raise DeviceUnusable(f"{self.address}: expected a serial number; {state.serial}")
            if self._serial not in (None, state.serial):
                raise DeviceSwapped(
                    f"{self.address}: expected the phone {self._serial}, found {state.serial}:"
                    " connect that phone, or name this one"
                )
            if not isinstance(state.abis, Unknown):
                require_abi(self._content, state.abis, system="android")
            cores = choose_cores(state.linux, wanted=self._wanted_cores, threads=self._threads)
            argv = ["taskset", cores.hex_mask, "cat", "/proc/self/status"]
            verify = partial(self._transport.run, argv)
            verify_mask(persist(self._transport, verify, self._patience).text, cores.mask)
            self._known = state, cores
        return self._known

    def _read_serial(self) -> str:
        serial = self._phone[0].serial
        assert not isinstance(serial, Unknown)
        return serial

    def _call(self, plan: ProcessPlan | PackedPlan) -> ToolCall:
        return ToolCall(
            binary=f"{self._folder}/tools/{self._binary.sha256[:16]}/{self._tool}",
            tool=self._tool,
            models=f"{self._folder}/models",
            mask=self._phone[1].hex_mask,
            threads=self._threads,
            delegate=self._delegate,
            plan=plan,
        )

    def _wanted(self, models: Sequence[ModelFile]) -> Wanted:
        state, cores = self._phone
        return Wanted(
            serial=known(state.serial),
            fingerprint=known(state.fingerprint),
            payload_bytes=sum(model.path.stat().st_size for model in models),
            cores=cores.hex_mask,
            threads=self._threads,
            fixed_performance=self._power_mode == "fixed",
            ours=self._folder,
        )

    def _key(self, plan: ProcessPlan | PackedPlan) -> str:
        """Return what a job's visits must have in common with ours to be taken in."""
        condition = self.condition(precision="", plan=plan).to_dict()
        return json.dumps({**condition, "plan": repr(plan)}, sort_keys=True)


def _require_process(plan: Plan) -> ProcessPlan | PackedPlan:
    if isinstance(plan, ResidentPlan):
        raise DeviceUnusable(f"expected a plan of the process method, found {plan}")
    return plan
