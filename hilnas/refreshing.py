"""Verb of the nightly job: refresh."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.agents import BenchmarkBinary, BenchmarkSha256, ConditionOptions, open_one
from hilnas.console import (
    DevicesFile,
    Json,
    Resolution,
    TableArgument,
    Width,
    app,
    emit,
    known_devices,
    one_device,
    parse_duration,
    progress_bar,
    say,
    table_store,
    verb,
)

if TYPE_CHECKING:
    from device_agents.devices_file import DeviceEntry
    from device_agents.measurement import Condition
    from latency_tables.granularity import Granularity
    from latency_tables.refresh import RefreshResult
    from latency_tables.store import TableDirectory, TableStore
    from networks.names import NamedNetwork
    from networks.operators import Unit

DRIFTED_OR_REMAINING = 3
NEAR_THE_FRONT = 3  # fronts, each without the ones before
HEAT = ("thermal", "throttling", "frequency caps", "temperature")


def parse_age(text: str) -> float:
    """Return seconds from a text such as 12h or 7d."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m|h|d)", text)
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"expected an age such as 12h or 7d, found {text!r}")
    return float(match[1]) * {"m": 60, "h": 3600, "d": 86400}[match[2]]


@app.command(
    epilog="Examples:\n\n\b\n  hilnas refresh mnasnet@224 --space mnasnet --budget 20m --json\n"
    "  hilnas refresh mnasnet@224 --run runs/first --max-age 1d\n"
    "  hilnas refresh mnasnet@224 --rebase"
)
@verb
def refresh(
    table: TableArgument,
    max_age: Annotated[
        float | None,
        typer.Option(parser=parse_age, help="Rows measured longer ago are stale; default 7d."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(parser=parse_duration, help="Stop after e.g. 90s, 20m or 1h.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="What the table is for; default: all that it knows.")
    ] = None,
    resolution: Resolution = None,
    width: Width = 1.0,
    run: Annotated[
        Path | None, typer.Option(help="First what networks near the front of this run use.")
    ] = None,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Begin a new table for a device that has changed.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Address or name; default the one the table was made with.")
    ] = None,
    span: Annotated[
        float | None,
        typer.Option(parser=parse_duration, help="Spread a layer's resident visits over this."),
    ] = None,
    benchmark_binary: BenchmarkBinary = None,
    benchmark_sha256: BenchmarkSha256 = None,
    devices_file: DevicesFile = None,
    as_json: Json = False,
) -> int:
    """Keep a table fresh: hold the device against its anchors, then measure what is worth most.

    Measured again is what is missing, unstable, drifted or stale, the most valuable first, as far
    as the budget goes; run it again to go on. A device that has drifted leaves the table as it is.

    Exits with 0 when all is fresh, with 3 when the device has drifted (the report says what
    changed) or something remains for lack of time.
    """
    from latency_tables.errors import NoJournal
    from latency_tables.granularity import granularity_of
    from latency_tables.rebase import rebase as start_again
    from latency_tables.refresh import refresh as refresh_table
    from latency_tables.refresh_session import MAX_AGE_S, RefreshRequest
    from latency_tables.store import directory_of

    store = table_store()
    file = store.file(table)
    directory = directory_of(file)
    if not directory.journal.is_file():  # merged or imported
        raise NoJournal(file, directory.journal)
    old = directory.load()
    units, uses = _wanted(space, resolution, width, run, granularity_of(old))
    entry = _device_of(old.provenance.address, device, devices_file)
    options = _options(old.condition, benchmark_binary, benchmark_sha256)
    if device is not None:  # of another device the condition says whether its cores are those
        options = replace(options, cores=None)
    with open_one(entry.name, devices_file, options) as agent, progress_bar() as update:
        request = RefreshRequest(
            units=units, uses=uses, max_age_s=max_age or MAX_AGE_S, budget_s=budget,
            plan=options.plan(agent, span), tool_version=version("hilnas"),
            thermal=_thermometer(entry),
        )  # fmt: skip
        if rebase:
            target = next_directory(store, directory)
            result = start_again(agent, directory, target, request, progress=update)
        else:
            result = refresh_table(agent, directory, request, progress=update)
    if old.condition.method == "packed" and result.remaining:
        say("rows of packs are measured all at once: run hilnas profile --method packed again")
    emit(_values(result), _text(result, rebased=rebase), as_json=as_json)
    done = not result.remaining if rebase else result.is_done
    return 0 if done else DRIFTED_OR_REMAINING


def next_directory(store: TableStore, directory: TableDirectory) -> TableDirectory:
    """Return the first of TABLE-2, TABLE-3, ... that has nothing published, beside the table."""
    from latency_tables.store import TableDirectory

    base = re.sub(r"(?<=.)-\d+$", "", directory.name)
    number = 2
    while (directory.path.parent / f"{base}-{number}" / "current").exists():
        number += 1
    return TableDirectory(directory.path.parent / f"{base}-{number}")


def _wanted(
    space: str | None,
    resolution: int | None,
    width: float,
    run: Path | None,
    granularity: Granularity,
) -> tuple[Sequence[Unit] | None, Mapping[str, float]]:
    """Return what the table is for, None where nobody says, and how often networks use it."""
    from latency_tables.granularity import units_to_price
    from latency_tables.priorities import network_uses, space_uses
    from networks.spaces import find_chain_space

    chosen = None if space is None else find_chain_space(space, resolution=resolution, width=width)
    units = None if chosen is None else units_to_price(granularity, chosen.layers)
    if run is not None:
        return units, network_uses(networks_near_front(run), granularity)
    return units, {} if chosen is None else space_uses(chosen, granularity)


def networks_near_front(run: Path) -> list[NamedNetwork]:
    """Return the networks of a run's first fronts of quality and latency.

    Raises:
        NotARun, StoreError: there is no such run, or it cannot be read.
        RunError: no network of it was evaluated.
    """
    from search.assembly import network_of
    from search.errors import RunError
    from search.pareto import pareto_front
    from search.run import load
    from search.trials import Trial

    result = load(run)
    left = [t for t in result.trials if isinstance(t, Trial) and not t.is_repeat]
    if not left:
        raise RunError(f"{run}: expected evaluated networks, found none; wait for some")
    near = []
    for _ in range(NEAR_THE_FRONT):
        front = set(pareto_front([t.quality for t in left], [t.latency_ms for t in left]).tolist())
        near += [network_of(result, left[i].genotype) for i in sorted(front)]
        left = [trial for i, trial in enumerate(left) if i not in front]
    return near


def _device_of(address: str, device: str | None, devices_file: Path | None) -> DeviceEntry:
    """Return the device that is named, or what devices.toml says of the table's address."""
    if device is None:
        for entry in known_devices(devices_file).values():
            if str(entry.address) == address:
                return entry
    return one_device(device or address, devices_file)


def _options(
    condition: Condition, benchmark_binary: str | None, benchmark_sha256: str | None
) -> ConditionOptions:
    """Return the options under which a device measures as the table's did."""
    from device_agents.conditions.linux import parse_cores
    from device_agents.conditions.reading import known

    cores = known(parse_cores(condition.cores.removeprefix("cpu")))
    return ConditionOptions(
        cores=None if cores is None else f"{sum(1 << core for core in cores):x}",
        threads=condition.threads,
        delegate=condition.delegate,
        method=condition.method,
        benchmark_binary=benchmark_binary,
        benchmark_sha256=benchmark_sha256,
        power_mode=condition.power_mode if condition.power_mode in ("fixed", "as-is") else None,
    )


def _thermometer(entry: DeviceEntry) -> Callable[[], str | None]:
    """Return what asks a device for its heat, in words; None where it cannot say."""

    def ask() -> str | None:
        from device_agents.conditions.doctor import diagnose
        from device_agents.errors import DeviceError

        try:
            checks = diagnose(entry.address, python=entry.python).checks
        except DeviceError:
            return None
        told = [
            f"{check.name}: {check.reading}"
            for check in checks
            if check.name in HEAT and check.state != "unknown"
        ]
        return "; ".join(told) or None

    return ask


def _values(result: RefreshResult) -> dict[str, object]:
    return {
        "table": str(result.table), "layers": result.layers, "measured": result.measured,
        "invalid": dict(result.invalid), "unstable": result.unstable,
        "coverage": result.coverage, "remaining": result.remaining, "wall_s": result.wall_s,
        "journal": str(result.journal), "wanting": dict(result.wanting),
        "drift": result.drift.to_dict(),
    }  # fmt: skip


def _text(result: RefreshResult, *, rebased: bool) -> str:
    drift = result.drift
    heat = f"; {drift.thermal}" if drift.thermal else ""
    if drift.is_drifted and not rebased:
        return (
            f"the device has changed, and no row was touched: {drift.text}{heat}\n"
            "if it is to stay so: the same command with --rebase begins a new table for it"
        )
    wanting = ", ".join(f"{n} {reason}" for reason, n in result.wanting.items()) or "nothing"
    return (
        f"{result.table}\n{drift.text}{heat}\nto be measured again: {wanting}; {result.remaining}"
        f" remaining after {result.wall_s:.0f} s\n{result.measured} of {result.layers} layers"
        f" measured, {result.unstable} unstable, {len(result.invalid)} invalid"
    )
