"""Verbs that measure: profile, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hilnas.agents import (
    BenchmarkBinary,
    BenchmarkSha256,
    ConditionOptions,
    Cores,
    Delegate,
    Method,
    PowerMode,
    Threads,
    open_agents,
    open_one,
)
from hilnas.console import (
    Device,
    DevicesFile,
    Json,
    Precision,
    Resolution,
    Seed,
    Width,
    app,
    decimals_of,
    emit,
    parse_duration,
    progress_bar,
    say,
    table_store,
    verb,
)
from hilnas.transferring import Priors, transfer

if TYPE_CHECKING:
    from latency_tables.granularity import Granularity
    from latency_tables.plan_time import Forecast
    from networks.names import NamedNetwork
    from networks.operators import Unit
    from networks.spaces import AnySpace

ANNOUNCED_S = 60.0


@app.command(
    epilog="Examples:\n\n\b\n  hilnas profile local --space mnasnet\n"
    "  hilnas profile local:cpu=1 --space accel-nasbench --resolution 160 --budget 5m\n"
    "  hilnas profile adb:SERIAL --space mnasnet --benchmark-binary benchmark_model\n"
    "  hilnas profile pixels --space mnasnet --method packed\n"
    "  hilnas profile local --space mnasnet --granularity operator --network nasnet-a-mobile"
)
@verb
def profile(
    device: Annotated[
        list[str], typer.Argument(help="Addresses, or names or pools of devices.toml.")
    ],
    space: Annotated[str, typer.Option(help="The space whose layers are measured.")],
    resolution: Resolution = None,
    width: Width = 1.0,
    precision: Precision = "float32",
    network: Annotated[
        list[str] | None,
        typer.Option(help="Also the layers, or operators, of this network; may be repeated."),
    ] = None,
    granularity: Annotated[
        Literal["layer", "operator"],
        typer.Option(help="What is timed: layers, or single operators, which price any network."),
    ] = "layer",
    table: Annotated[
        str | None,
        typer.Option(
            help="Name or path of the table; default as mnasnet@224 or mnasnet@224-operators-int8."
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(parser=parse_duration, help="Stop after e.g. 90s, 20m or 1h.")
    ] = None,
    span: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            help="Spread a layer's resident visits over this; 1m or more on a shared machine.",
        ),
    ] = None,
    prior: Priors = None,
    cores: Cores = None,
    threads: Threads = 1,
    delegate: Delegate = "xnnpack",
    method: Method = "auto",
    benchmark_binary: BenchmarkBinary = None,
    benchmark_sha256: BenchmarkSha256 = None,
    power_mode: PowerMode = None,
    devices_file: DevicesFile = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Measure every layer, or operator, of a space on a device and publish its latency table.

    Says first how long it will take. Run it again to go on after an interruption: what was
    measured is never measured twice. Several devices share the work where their anchors agree.

    With tables of other devices or conditions as priors, the most informative layers are measured
    for the budget, and the others predicted, flagged, each with the interval that it lies in.
    """
    from latency_tables.fleet_profile import profile_fleet
    from latency_tables.granularity import only_layers
    from latency_tables.profile import Request
    from latency_tables.profile import profile as profile_layers
    from latency_tables.selection import layer_uses
    from networks.spaces import find_space, require_chains

    chosen = find_space(space, resolution=resolution, width=width)
    layers, calibration = _wanted(chosen, granularity, network or (), seed)
    name = table or (
        f"{chosen.name}@{calibration[0].input.height}"
        + ("" if width == 1.0 else f"x{width:g}")
        + ("" if granularity == "layer" else "-operators")
        + ("" if precision == "float32" else f"-{precision}")
    )
    options = ConditionOptions(
        cores, threads, delegate, method, benchmark_binary, benchmark_sha256, power_mode
    )

    def announce(forecast: Forecast) -> None:
        if not forecast.fits or forecast.time.wall_s > ANNOUNCED_S:
            say(str(forecast))

    with open_agents(device, devices_file, options) as agents, progress_bar() as update:
        request = Request(
            networks=calibration,
            precision=precision,
            plan=options.plan(agents[0], span),
            budget_s=budget,
            seed=seed,
            tool_version=version("hilnas"),
            announce=announce,
        )
        if prior:
            uses = layer_uses(require_chains(chosen))
            wanted = only_layers(layers, "--prior")
            return transfer(agents, wanted, name, prior, request, uses, update, as_json=as_json)
        drained: Mapping[str, str] = {}
        if len(agents) == 1:
            results = [
                profile_layers(
                    agents[0], layers, table_store().directory(name), progress=update,
                    **{f.name: getattr(request, f.name) for f in dataclasses.fields(request)},
                )
            ]  # fmt: skip
        else:
            say(f"first, some minutes, the anchors on each of {len(agents)} devices")
            fleet = profile_fleet(agents, layers, table_store(), name, request, progress=update)
            results, drained = list(fleet.tables), fleet.drained
    for address, reason in drained.items():
        say(f"{address} was given up: {reason}")
    values = [
        {
            "table": str(r.table), "layers": r.layers, "measured": r.measured,
            "invalid": dict(r.invalid), "unstable": r.unstable, "coverage": r.coverage,
            "remaining": r.remaining, "wall_s": r.wall_s, "journal": str(r.journal),
            "validated": r.validated, "granularity": granularity,
        }
        for r in results
    ]  # fmt: skip
    lines = [
        f"{r.table}\n{r.measured} of {r.layers} {granularity}s measured in {r.wall_s:.0f} s,"
        f" {r.unstable} unstable, {len(r.invalid)} invalid, {r.remaining} remaining"
        + ("" if r.validated else "; NOT validated: packed and clean times differ too much")
        for r in results
    ]
    first = values[0] if len(values) == 1 else {"tables": values}
    emit({**first, "drained": dict(drained)}, "\n".join(lines), as_json=as_json)
    whole = all(r.validated and not r.remaining and not r.invalid for r in results)
    return 0 if whole and not drained else 3


def _wanted(
    space: AnySpace, granularity: Granularity, names: Sequence[str], seed: int
) -> tuple[tuple[Unit, ...], tuple[NamedNetwork, ...]]:
    """Return the layers or operators to measure, and the networks to calibrate with.

    Raises:
        NotAChain: layers are wanted of a space or a network that has none.
    """
    from latency_tables.calibration import NETWORKS, choose_networks
    from latency_tables.cell_spaces import choose_cell_networks, operators_of_space
    from latency_tables.granularity import units_to_price
    from networks.names import find_chain, find_network
    from networks.spaces import require_chains
    from networks.spaces.nasnet import NasNetSpace

    find = find_chain if granularity == "layer" else find_network
    named = [find(text) for text in names]
    if granularity == "operator" and isinstance(space, NasNetSpace):
        more = units_to_price(granularity, (), named)
        units = tuple(dict.fromkeys((*operators_of_space(space, seed=seed), *more)))
        return units, choose_cell_networks(space, n=NETWORKS, seed=seed)
    chains = require_chains(space)
    units = units_to_price(granularity, chains.layers, named)
    return units, choose_networks(chains, n=NETWORKS, seed=seed)


@app.command(
    epilog="Examples:\n\n\b\n  hilnas measure a1.tflite local\n"
    "  hilnas measure a1.tflite local --like mnasnet@224\n"
    "  hilnas measure a1.tflite adb:SERIAL --benchmark-binary benchmark_model"
)
@verb
def measure(
    file: Annotated[Path, typer.Argument(help="Any .tflite file with one input and one output.")],
    device: Device,
    like: Annotated[
        str | None, typer.Option(help="A table whose condition the measurement must have.")
    ] = None,
    cores: Cores = None,
    threads: Threads = 1,
    delegate: Delegate = "xnnpack",
    method: Method = "auto",
    benchmark_binary: BenchmarkBinary = None,
    benchmark_sha256: BenchmarkSha256 = None,
    power_mode: PowerMode = None,
    devices_file: DevicesFile = None,
    as_json: Json = False,
) -> int:
    """Measure one .tflite file end to end, with the interval of another session."""
    from device_agents.measurement import ModelFile
    from exporters.model_file import read_model, read_precision
    from latency_tables.end_to_end import measure_model, require_condition

    data, sha256 = read_model(file)
    precision = read_precision(data)
    options = ConditionOptions(
        cores, threads, delegate, method, benchmark_binary, benchmark_sha256, power_mode
    )
    with open_one(device, devices_file, options) as agent, progress_bar() as update:
        plan = options.plan(agent)
        if like is not None:
            require_condition(agent, table_store().load(like), precision=precision, plan=plan)
        result = measure_model(
            agent, ModelFile(file, sha256, "network"), precision=precision, plan=plan,
            progress=update,
        )  # fmt: skip
    low, high = result.interval_ms
    values = {
        "latency_ms": result.latency_ms, "interval_ms": [low, high],
        "statistic": result.statistic, "condition": result.condition.to_dict(),
        "settled": result.settled,
    }  # fmt: skip
    decimals = decimals_of([result.latency_ms])
    text = (
        f"{result.latency_ms:.{decimals}f} ms ({result.statistic}); another session lies in"
        f" {low:.{decimals}f} to {high:.{decimals}f} ms with 90 % probability"
        + ("" if result.settled else "; unstable: the visits did not come to agree")
    )
    emit(values, text, as_json=as_json)
    return 0 if result.settled else 3
