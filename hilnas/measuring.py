"""Verbs that measure: devices, profile, measure."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from hilnas.console import (
    Device,
    Json,
    Precision,
    Resolution,
    Seed,
    Width,
    app,
    columns,
    emit,
    parse_duration,
    progress_bar,
    table_store,
    verb,
)


@app.command(epilog="Example: hilnas devices --json")
@verb
def devices(as_json: Json = False) -> None:
    """List what can be measured on: this machine's processor."""
    from device_agents.open import find_devices

    found = [dataclasses.asdict(device) for device in find_devices()]
    rows = [list(device.values()) for device in found]
    emit({"devices": found}, columns(list(found[0]), rows), as_json=as_json)


@app.command(
    epilog="Examples:\n\n\b\n  hilnas profile local --space mnasnet\n"
    "  hilnas profile local:cpu=1 --space accel-nasbench --resolution 160 --budget 5m"
)
@verb
def profile(
    device: Device,
    space: Annotated[str, typer.Option(help="The space whose layers are measured.")],
    resolution: Resolution = 224,
    width: Width = 1.0,
    precision: Precision = "float32",
    network: Annotated[
        list[str] | None, typer.Option(help="Also the layers of this network; may be repeated.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="Name or path of the table; default as mnasnet@224 or mnasnet@224-int8."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(parser=parse_duration, help="Stop after e.g. 90s, 20m or 1h.")
    ] = None,
    span: Annotated[
        float,
        typer.Option(
            parser=parse_duration,
            help="Spread the visits of each layer over this long; 1m or more on a shared machine.",
        ),
    ] = "6s",  # type: ignore[assignment]  # parsed like any other value
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Measure every layer of a space on a device and publish its latency table.

    Run it again to go on after an interruption: what was measured is never measured twice.
    """
    from device_agents.measurement import DEFAULT_PLAN
    from device_agents.open import open_agent
    from latency_tables.calibration import choose_networks
    from latency_tables.profile import profile as profile_layers
    from networks.names import find_chain
    from networks.spaces import make_space

    chosen = make_space(space, resolution=resolution, width=width)
    others = [layer for text in network or () for layer in find_chain(text).layers]
    name = table or f"{space}@{resolution}" + ("" if width == 1.0 else f"x{width:g}") + (
        "" if precision == "float32" else f"-{precision}"
    )
    with open_agent(device) as agent, progress_bar() as update:
        result = profile_layers(
            agent,
            list(dict.fromkeys([*chosen.layers, *others])),
            table_store().directory(name),
            networks=choose_networks(chosen, seed=seed),
            precision=precision,
            plan=dataclasses.replace(DEFAULT_PLAN, min_span_s=span),
            budget_s=budget,
            seed=seed,
            tool_version=version("hilnas"),
            progress=update,
        )
    text = (
        f"{result.table}\n{result.measured} of {result.layers} layers measured in"
        f" {result.wall_s:.0f} s, {result.unstable} unstable, {len(result.invalid)} invalid,"
        f" {result.remaining} remaining"
    )
    values = {
        "table": str(result.table), "layers": result.layers, "measured": result.measured,
        "invalid": dict(result.invalid), "unstable": result.unstable, "coverage": result.coverage,
        "remaining": result.remaining, "wall_s": result.wall_s, "journal": str(result.journal),
    }  # fmt: skip
    emit(values, text, as_json=as_json)
    return 3 if result.remaining or result.invalid else 0


@app.command(
    epilog="Examples:\n\n\b\n  hilnas measure a1.tflite local\n"
    "  hilnas measure a1.tflite local --like mnasnet@224"
)
@verb
def measure(
    file: Annotated[Path, typer.Argument(help="Any .tflite file with one input and one output.")],
    device: Device,
    like: Annotated[
        str | None, typer.Option(help="A table whose condition the measurement must have.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Measure one .tflite file end to end, with the interval of another session."""
    from device_agents.measurement import ModelFile
    from device_agents.open import open_agent
    from exporters.model_file import read_model, read_precision
    from latency_tables.end_to_end import measure_model, require_condition

    data, sha256 = read_model(file)
    precision = read_precision(data)
    with open_agent(device) as agent, progress_bar() as update:
        if like is not None:
            require_condition(agent, table_store().load(like), precision=precision)
        result = measure_model(
            agent, ModelFile(file, sha256, "network"), precision=precision, progress=update
        )
    low, high = result.interval_ms
    values = {
        "latency_ms": result.latency_ms, "interval_ms": [low, high],
        "statistic": result.statistic, "condition": result.condition.to_dict(),
        "settled": result.settled,
    }  # fmt: skip
    text = (
        f"{result.latency_ms:.3f} ms ({result.statistic}); another session lies in"
        f" {low:.3f} to {high:.3f} ms with 90 % probability"
        + ("" if result.settled else "; unstable: the visits did not come to agree")
    )
    emit(values, text, as_json=as_json)
    return 0 if result.settled else 3
