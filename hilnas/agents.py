"""The condition of a measurement on the command line: its options, and agents opened by them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hilnas.console import known_devices

if TYPE_CHECKING:
    from device_agents.devices_file import DeviceEntry
    from device_agents.measurement import Agent, Plan

METHODS = ("auto", "resident", "process", "packed")

Cores = Annotated[
    str | None, typer.Option(help="auto, one core of the fastest cluster, or a mask in hex.")
]
Threads = Annotated[int, typer.Option(help="Threads of the runtime; several are for phones.")]
Delegate = Annotated[str, typer.Option(help="xnnpack, none, or gpu on phones.")]
Method = Annotated[
    str, typer.Option(help="auto, resident, process (a clean process a visit) or packed (phones).")
]
BenchmarkBinary = Annotated[
    str | None, typer.Option(help="A phone's official timing tool: a file, or an https address.")
]
BenchmarkSha256 = Annotated[str | None, typer.Option(help="That the timing tool must have.")]
PowerMode = Annotated[
    str | None, typer.Option(help="Of phones: fixed (what it can sustain) or as-is.")
]


@dataclass(frozen=True, slots=True)
class ConditionOptions:
    """What the options of a measuring verb say; None leaves it to devices.toml or a default."""

    cores: str | None = None
    threads: int = 1
    delegate: str = "xnnpack"
    method: str = "auto"
    benchmark_binary: str | None = None
    benchmark_sha256: str | None = None
    power_mode: str | None = None

    def plan(self, agent: Agent, span_s: float | None = None) -> Plan:
        """Return the plan of the method asked for; ``span_s`` is of the resident method."""
        from dataclasses import replace

        from device_agents.measurement import DEFAULT_PLAN, ResidentPlan
        from device_agents.packs import PackedPlan
        from device_agents.processes import ProcessPlan

        plans: dict[str, Plan] = {
            "auto": agent.default_plan,
            "resident": DEFAULT_PLAN,
            "process": ProcessPlan(),
            "packed": PackedPlan(),
        }
        plan = plans[self.method]
        if isinstance(plan, ResidentPlan) and span_s is not None:
            return replace(plan, min_span_s=span_s)
        return plan

    def check(self) -> None:
        """Refuse what is none of the choices.

        Raises:
            BadParameter: names the option and its choices.
        """
        choices = {
            "--method": (self.method, METHODS),
            "--delegate": (self.delegate, ("xnnpack", "none", "gpu")),
            "--power-mode": (self.power_mode, (None, "fixed", "as-is")),
        }
        for option, (value, known) in choices.items():
            if value not in known:
                names = ", ".join(name for name in known if name)
                raise typer.BadParameter(f"{option}: expected one of {names}, found {value!r}")


def state_folder() -> Path:
    """Return where locks of devices lie: ``$XDG_STATE_HOME/hilnas``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hilnas"


@contextlib.contextmanager
def open_agents(
    devices: Sequence[str], file: Path | None, options: ConditionOptions
) -> Iterator[list[Agent]]:
    """Yield an agent for each device that the arguments name, pools unfolded; all are closed.

    Raises:
        AddressError: an argument names no device, or a device twice.
        DeviceError: a device cannot be opened.
    """
    from device_agents.devices_file import choose_devices
    from device_agents.errors import AddressError

    options.check()
    known = known_devices(file)
    entries = [entry for text in devices for entry in choose_devices(text, known)]
    addresses = [str(entry.address) for entry in entries]
    if twice := sorted({address for address in addresses if addresses.count(address) > 1}):
        raise AddressError(f"expected each device once, found {', '.join(twice)} again")
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_open(entry, options)) for entry in entries]


@contextlib.contextmanager
def open_one(device: str, file: Path | None, options: ConditionOptions) -> Iterator[Agent]:
    """Yield the agent of the one device that an argument names.

    Raises:
        AddressError: it names none, or a pool of several.
        DeviceError: it cannot be opened.
    """
    from device_agents.errors import AddressError

    with open_agents([device], file, options) as agents:
        if len(agents) != 1:
            raise AddressError(f"expected one device, found the pool {device!r}; name one of it")
        yield agents[0]


def _open(entry: DeviceEntry, options: ConditionOptions) -> contextlib.AbstractContextManager[Any]:
    from device_agents.open import AgentOptions, open_agent
    from device_agents.phone import PowerMode as Power
    from device_agents.tools.command import Delegate as Delegates

    sha256 = options.benchmark_sha256 or entry.benchmark_sha256
    return open_agent(
        str(entry.address),
        options=AgentOptions(
            cores=options.cores or entry.cores,
            threads=options.threads,
            delegate=cast(Delegates, options.delegate),
            power_mode=cast(Power, options.power_mode or entry.power_mode or "fixed"),
            benchmark_binary=_binary(options.benchmark_binary, sha256) or entry.benchmark_binary,
            benchmark_sha256=sha256,
            python=entry.python,
            serial=entry.serial,
            state_folder=state_folder(),
        ),
    )


def _binary(text: str | None, sha256: str | None) -> Path | None:
    """Return the timing tool's file, downloaded into ``$XDG_CACHE_HOME`` where it is an address."""
    from device_agents.tools.binaries import cached_binary

    if text is None or not text.startswith("https://"):
        return None if text is None else Path(text).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cached_binary(text, cache / "hilnas" / "binaries", sha256=sha256).path
