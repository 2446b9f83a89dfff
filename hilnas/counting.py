"""Verb that counts a space by a table: table count."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.console import (
    Json,
    Resolution,
    TableArgument,
    Width,
    columns,
    decimals_of,
    emit,
    progress_bar,
    table_app,
    table_store,
    verb,
)

if TYPE_CHECKING:
    from latency_tables.exact import PricedSpace, Within

QUANTILES = "0.01,0.05,0.25,0.5,0.75,0.95,0.99"
EXACT_IN_JSON = 2**53
NOTE = (
    "Latencies are the table's means: this counts networks whose mean is within the target, and is"
    " not the probability that one measures within it."
)


@table_app.command(
    "count",
    epilog="Example: hilnas table count mnasnet@224 --space mnasnet --target-ms 78\n\n" + NOTE,
)
@verb
def table_count(
    table: TableArgument,
    space: Annotated[str, typer.Option(help="The space whose networks are counted.")],
    target_ms: Annotated[float, typer.Option(help="Target latency.")],
    resolution: Resolution = None,
    width: Width = 1.0,
    quantiles: Annotated[
        str, typer.Option(help="Shares of the networks whose latency is printed.")
    ] = QUANTILES,
    step_us: Annotated[
        float, typer.Option(help="Latencies are rounded to this; a finer step narrows low / high.")
    ] = 1.0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the distribution into this .png, .svg or .pdf file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count, exactly, how many networks of a space meet a target latency by a table.

    Every different network counts once. Two intervals come with the count: one from rounding
    latencies to the step, one from the 90 % interval of the table's scale.
    """
    from latency_tables.exact import price_space
    from latency_tables.exact_plot import plot_distribution
    from latency_tables.figures import require_plottable, write_figure
    from networks.block_strings import format_network
    from networks.spaces import find_chain_space

    _require_positive(target_ms, "--target-ms")
    _require_positive(step_us, "--step-us")
    shares = _parse_shares(quantiles)
    if plot is not None:
        require_plottable(plot)
    found = table_store().load(table)
    chosen = find_chain_space(space, resolution=resolution, width=width)
    with progress_bar() as update:
        priced = price_space(found, chosen, step_us=step_us, progress=update)
        within, networks = priced.within(target_ms), priced.networks
    fastest = format_network(priced.space.decode(priced.fastest))
    latencies_ms = [round(networks.quantile_ms(share), 9) for share in shares]
    values = {
        "table": found.name, "space": space, "resolution": resolution, "width": width,
        "genotypes": _exact(priced.genotypes.total), "networks": _exact(networks.total),
        "target_ms": target_ms, "within_target": _exact(within.networks),
        "within_target_low": _exact(within.low), "within_target_high": _exact(within.high),
        "within_target_scale_low": _exact(within.scale_low),
        "within_target_scale_high": _exact(within.scale_high),
        "within_target_genotypes": _exact(within.genotypes),
        "share": within.networks / networks.total, "scale_std": priced.scale_std,
        "step_us": step_us, "fastest_ms": priced.fastest_ms, "fastest": fastest,
        "slowest_ms": priced.slowest_ms,
        "quantiles": [
            {"share": share, "latency_ms": latency_ms}
            for share, latency_ms in zip(shares, latencies_ms, strict=True)
        ],
    }  # fmt: skip
    if plot is not None:
        title = f"{chosen.name} at {chosen.image.height} pixels by table {found.name}"
        figure = plot_distribution(
            networks, target_ms, title=title, target_range_ms=priced.target_range_ms(target_ms)
        )
        write_figure(figure, plot)
        values["plot"] = str(plot)
    lines = [
        f"{chosen.name} at {chosen.image.height} pixels by table {found.name}",
        *_counts(priced, within),
    ]
    if not within.high:
        lines.append(f"No network is that fast: the fastest takes {priced.fastest_ms:.4g} ms.")
    decimals = decimals_of([priced.fastest_ms])
    of_step = max(3, math.ceil(-math.log10(step_us / 1e3)))  # quantiles are whole steps
    lines += ["", columns(["networks", "within ms"], [
        [f"{100 * share:g} %", f"{latency_ms:.{of_step}f}"]
        for share, latency_ms in zip(shares, latencies_ms, strict=True)
    ])]  # fmt: skip
    lines += [
        "",
        f"fastest {priced.fastest_ms:.{decimals}f} ms, slowest {priced.slowest_ms:.{decimals}f} ms",
    ]
    lines += [f"fastest network: {fastest}", "", NOTE]
    emit(values, "\n".join(lines), as_json=as_json)


def _counts(priced: PricedSpace, within: Within) -> list[str]:
    """Return the lines of the counts with their intervals."""
    networks, genotypes = priced.networks.total, priced.genotypes.total

    def row(what: str, n: int, of: int, why: str = "") -> list[str]:
        return [what, why, f"{n:,}", f"{100 * n / of:.5g} %"]

    target, step_us = f"within {within.target_ms:g} ms", f"{1e3 * priced.grid.step_ms:g} us"
    rows = [
        row("networks", networks, networks, "all different"),
        row(target, within.networks, networks, f"latencies rounded to {step_us}"),
        row("  at least", within.low, networks, "however they are rounded"),
        row("  at most", within.high, networks),
    ]
    if within.scale_low is not None and within.scale_high is not None:
        rows += [
            row("  scale, low", within.scale_low, networks, "were the table's scale at the ends"),
            row("  scale, high", within.scale_high, networks, "of its 90 % interval"),
        ]
    else:
        rows.append(["  scale", "the table does not know its scale's error", "", ""])
    rows += [
        row("genotypes", genotypes, genotypes, "that decode to them"),
        row(target, within.genotypes, genotypes),
    ]
    return [columns(["", "", "", "share"], rows, text_columns=2)]


def _exact(n: int | None) -> int | str | None:
    """Return a number as JSON keeps it exact everywhere: as a string above 2^53."""
    return str(n) if n is not None and n > EXACT_IN_JSON else n


def _require_positive(value: float, option: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"expected a number over 0, found {value}", param_hint=option)


def _parse_shares(text: str) -> list[float]:
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = [math.nan]
    if not all(0 <= share <= 1 for share in shares):
        raise typer.BadParameter(
            f"expected shares from 0 to 1 such as 0.05,0.5,0.95, found {text!r}",
            param_hint="--quantiles",
        )
    return shares
