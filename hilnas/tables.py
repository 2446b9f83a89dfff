"""Verbs on latency tables: table show, table predict."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hilnas.console import (
    Json,
    TableArgument,
    columns,
    decimals_of,
    emit,
    named_network,
    say,
    table_app,
    table_store,
    verb,
)
from hilnas.operators import show_by_operator
from hilnas.showing import RowStatus, show_rows


@table_app.command(
    "show",
    epilog="Examples:\n\n\b\n  hilnas table show accel-nasbench@224\n"
    "  hilnas table show mnasnet@224 --layers 14x14 --status unstable --slowest 5\n"
    "  hilnas table show mnasnet@224-operators --by operator --network nasnet-a-mobile",
)
@verb
def table_show(
    table: TableArgument,
    by: Annotated[
        Literal["operator"] | None, typer.Option(help="Show where the time of --network goes.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="A published name, a block or cell string, RUN or RUN:TRIAL.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only rows whose key holds this text.")
    ] = None,
    slowest: Annotated[
        int | None, typer.Option(help="So many of the slowest rows; 10, or all with --json.", min=1)
    ] = None,
    status: Annotated[RowStatus | None, typer.Option(help="Only rows of this status.")] = None,
    as_json: Json = False,
) -> None:
    """Show a table's condition, calibration, anchors and rows, or where a network's time goes."""
    found = table_store().load(table)
    if (by is None) != (network is None):
        raise typer.BadParameter("--by operator and --network NAME go together")
    if network is not None:
        if layers or slowest or status:
            raise typer.BadParameter("--layers, --slowest and --status are not for --by operator")
        show_by_operator(found, network, as_json=as_json)
        return
    show_rows(found, holding=layers, status=status, slowest=slowest, as_json=as_json)


@table_app.command(
    "predict",
    epilog="Examples:\n\n\b\n"
    "  hilnas table predict accel-nasbench@224 mobilenet-v2 mnasnet-b1\n"
    "  hilnas table predict accel-nasbench@224 runs/first runs/first:12",
)
@verb
def table_predict(
    table: TableArgument,
    networks: Annotated[
        list[str],
        typer.Argument(help="Published names, block or cell strings, RUN (its best) or RUN:TRIAL."),
    ],
    missing: Annotated[
        str, typer.Option(help="Layers that the table lacks: raise, or interpolate them.")
    ] = "raise",
    as_json: Json = False,
) -> None:
    """Predict the latency of networks, and where another session would measure it, 90 %."""
    from latency_tables.granularity import layers_of
    from latency_tables.missing import complete, parse_policy
    from latency_tables.operator_pricing import predict_any
    from latency_tables.table import LEVEL

    found, policy = table_store().load(table), parse_policy(missing)
    named = [(name, named_network(name)[0]) for name in networks]
    share = 0.0
    if policy != "raise":
        layers = [layer for _, network in named for layer in layers_of(network)]
        completion = complete(found, layers, policy=policy)
        found, share = completion.table, completion.share
        if share:
            say(f"note: {completion}")
    predicted = [(name, predict_any(found, network)) for name, network in named]
    if any(p.std_ms is None for _, p in predicted):
        say("note: one calibration network cannot tell how far predictions are off")
    elif unknown := found.rows["low_ms"].null_count:
        say(
            f"note: {unknown} of {len(found)} rows have no interval; what is known of their errors"
            " is in the scatter of the calibration networks alone"
        )
    values = [
        {
            "network": name, "latency_ms": p.latency_ms, "std_ms": p.std_ms,
            "interval_ms": p.interval(),
        }
        for name, p in predicted
    ]  # fmt: skip
    decimals = decimals_of(p.latency_ms for _, p in predicted)
    rows = [
        [name, f"{p.latency_ms:.{decimals}f}", *_spread(p.std_ms, p.interval(), decimals)]
        for name, p in predicted
    ]
    header = ["network", "ms", "std", f"{100 * LEVEL:.0f} % low", "high"]
    told = {"predictions": values, "level": LEVEL, "predicted_share": share}
    emit(told, columns(header, rows), as_json=as_json)


def _spread(std_ms: float | None, interval: tuple[float, float] | None, decimals: int) -> list[str]:
    if std_ms is None or interval is None:
        return ["unknown"] * 3
    return [f"{value:.{decimals}f}" for value in (std_ms, *interval)]
