"""table validate: a table against whole networks, measured for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.agents import BenchmarkBinary, BenchmarkSha256, ConditionOptions, Cores, open_one
from hilnas.console import (
    DevicesFile,
    Json,
    Seed,
    TableArgument,
    columns,
    decimals_of,
    emit,
    parse_duration,
    progress_bar,
    say,
    table_app,
    table_store,
    verb,
)

if TYPE_CHECKING:
    from device_agents.measurement import Agent, Condition, Plan
    from latency_tables.table import LatencyTable
    from latency_tables.validation import ValidatedNetwork, Validation
    from networks.names import NamedNetwork
    from networks.spaces import DecodingSpace

FIGURES = (
    "networks", "mape_pct", "bias_pct", "spearman", "kendall", "repeatability_pct", "passes_pct",
    "inside_pct", "madds_mape_pct", "madds_spearman",
)  # fmt: skip
_TABLE_NAME = re.compile(r"(?P<space>[^@]+)@(?P<resolution>\d+)(x(?P<width>[\d.]+))?(-.+)?")


@table_app.command(
    "validate",
    epilog="Examples:\n\n\b\n  hilnas table validate mnasnet@224\n"
    "  hilnas table validate mnasnet@224 --networks 30 --published --plot truth.svg\n"
    "  hilnas table validate pixel-4 --space mnasnet --device adb:SERIAL --benchmark-binary FILE",
)
@verb
def table_validate(
    table: TableArgument,
    space: Annotated[
        str | None,
        typer.Option(help="Draw networks from this space; default the one in the table's name."),
    ] = None,
    networks: Annotated[int, typer.Option(help="How many random networks.", min=0)] = 20,
    published: Annotated[
        bool, typer.Option("--published", help="Also the published networks that it prices.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Also a plot, predicted against measured: .png, .svg or .pdf."),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(help="Default the one in the table's name, or the space's own.", min=8),
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Default the one in the table's name, or 1.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Address, or name of devices.toml; default where the table was made."),
    ] = None,
    span: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            help="Spread resident visits of a layer over this; of a"
            " network over twice as long. As in profile: 1m or more on a shared machine.",
        ),
    ] = None,
    cores: Cores = None,
    benchmark_binary: BenchmarkBinary = None,
    benchmark_sha256: BenchmarkSha256 = None,
    devices_file: DevicesFile = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> int:
    """Compare a table with whole networks that it never saw, each measured twice, end to end.

    Networks are drawn at random from a space; those that the table cannot price are named and not
    measured. Exit code 3 where fewer measurements lie in the table's 90 % intervals than chance
    allows (1 in 100), or a network could not be measured: profile again before you trust it.
    """
    from latency_tables.calibration import unpriced_networks
    from latency_tables.figures import require_plottable, write_figure
    from latency_tables.store import directory_of
    from latency_tables.table import LatencyTable
    from latency_tables.validation import validate
    from latency_tables.validation_plot import plot_validation

    file = table_store().file(table)
    found = LatencyTable.load(file)
    journal = directory_of(file).journal
    if plot is not None:
        require_plottable(plot)
    chosen = _networks(
        found, _space(found, space, resolution, width), networks, seed=seed, published=published
    )
    for label, why in unpriced_networks(found).items():
        say(f"calibration network {label} does not count: {why}")
    options = ConditionOptions(
        cores or _only_core(found.condition), found.condition.threads, found.condition.delegate,
        "auto", benchmark_binary, benchmark_sha256,
    )  # fmt: skip
    address = device or found.provenance.address
    with open_one(address, devices_file, options) as agent, progress_bar() as update:
        result = validate(
            agent, found, chosen, journal, plan=_plan(agent, found, span), seed=seed,
            tool_version=version("hilnas"), progress=update,
        )  # fmt: skip
    if plot is not None:
        title = f"{found.name}: {result.networks} networks, twice"
        write_figure(plot_validation(result, title=title), plot)
    emit(_values(result, chosen, plot), _text(result), as_json=as_json)
    return 0 if result.intervals_hold and not result.failed else 3


def _space(
    table: LatencyTable, space: str | None, resolution: int | None, width: float | None
) -> DecodingSpace:
    """Return the space that is asked for, with what is not said from the table's name.

    Raises:
        TableError: no space is said, and the table's name holds none.
        NetworkError: there is none of that name or in that file, or it has no networks.
    """
    from latency_tables.errors import TableError
    from networks.spaces import ALL_SPACES, find_space, require_chains
    from networks.spaces.nasnet import NasNetSpace

    match = _TABLE_NAME.fullmatch(table.name)
    named = match.groupdict() if match else {}
    if space is None and named.get("space") not in ALL_SPACES:
        raise TableError(
            f"table {table.name!r}: expected a name such as mnasnet@224, or --space NAME|FILE.toml"
            " to draw networks from, found neither"
        )
    at = named.get("resolution")
    found = find_space(
        space or named["space"],
        resolution=resolution or (None if at is None else int(at)),
        width=width or float(named.get("width") or 1),
    )
    return found if isinstance(found, NasNetSpace) else require_chains(found)


def _networks(
    table: LatencyTable, space: DecodingSpace, n: int, *, seed: int, published: bool
) -> dict[str, NamedNetwork]:
    """Return random networks that calibration does not use, and published ones, by name."""
    from latency_tables.validation import draw_networks
    from networks.names import find_network
    from networks.published import PUBLISHED
    from networks.spaces.nasnet import NasNetSpace

    drawn: list[NamedNetwork] = []
    if isinstance(space, NasNetSpace):
        drawn += draw_networks(space, n, seed=seed, table=table)
    else:
        drawn += draw_networks(space, n, seed=seed, table=table)
    chosen = {f"random-{number}": network for number, network in enumerate(drawn, start=1)}
    if published:
        size = space.image.height
        chosen |= {name: find_network(f"{name},resolution={size}") for name in PUBLISHED}
    return chosen


def _only_core(condition: Condition) -> str | None:
    """Return the mask of the one core that the condition names, so that it is the same again."""
    match = re.fullmatch(r"cpu(\d+)", condition.cores)
    return f"{1 << int(match[1]):x}" if match else None


def _plan(agent: Agent, table: LatencyTable, span_s: float | None) -> Plan:
    from device_agents.measurement import ResidentPlan
    from latency_tables.floors import default_plan

    plan = default_plan(agent, table.condition.method)
    if isinstance(plan, ResidentPlan) and span_s is not None:
        return replace(plan, min_span_s=span_s)
    return plan


def _values(
    result: Validation, networks: Mapping[str, NamedNetwork], plot: Path | None
) -> dict[str, object]:
    from networks.names import name_network

    return {
        **{name: getattr(result, name) for name in FIGURES},
        "worst_pct": result.worst.error_pct,
        "worst_network": result.worst.network,
        "intervals_hold": result.intervals_hold,
        "points": [
            {
                "network": p.network, "text": name_network(networks[p.network]),
                "predicted_ms": p.predicted_ms, "interval_ms": p.interval_ms,
                "first_ms": p.first_ms, "second_ms": p.second_ms, "error_pct": p.error_pct,
            }
            for p in result.points
        ],
        "failed": dict(result.failed),
        "unpriced": dict(result.unpriced),
        "plot": None if plot is None else str(plot),
    }  # fmt: skip


def _text(result: Validation) -> str:
    figures = [
        [name, "unknown" if (value := getattr(result, name)) is None else f"{value:.4g}"]
        for name in FIGURES
    ]
    figures.append([f"worst_pct ({result.worst.network})", f"{result.worst.error_pct:.4g}"])
    header = ["network", "predicted ms", "90 % interval", "measured ms", "again", "error %"]
    decimals = decimals_of(point.predicted_ms for point in result.points)
    parts = [
        columns(["figure", "value"], figures),
        columns(header, [_row(point, decimals) for point in result.points]),
    ]
    left_out = [f"{name}: {why}" for name, why in {**result.unpriced, **result.failed}.items()]
    if left_out:
        parts.append("\n".join(["left out:", *(f"  {line}" for line in left_out)]))
    if not result.intervals_hold:
        parts.append(
            f"the table's intervals do not hold: {result.inside_pct:.0f} % of measurements lie in"
            " them, expected 90 %; the device has changed, or the table needs more visits"
        )
    return "\n\n".join(parts)


def _row(point: ValidatedNetwork, decimals: int) -> list[str]:
    low_high = point.interval_ms
    return [
        point.network,
        f"{point.predicted_ms:.{decimals}f}",
        "unknown" if low_high is None else " to ".join(f"{end:.{decimals}f}" for end in low_high),
        f"{point.first_ms:.{decimals}f}",
        f"{point.second_ms:.{decimals}f}",
        f"{point.error_pct:+.2f}",
    ]
