"""Verbs on latency tables: table show, table predict."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import typer

from hilnas.console import (
    Json,
    TableArgument,
    columns,
    emit,
    named_network,
    say,
    table_app,
    table_store,
    verb,
)
from hilnas.operators import show_by_operator


@table_app.command(
    "show",
    epilog="Examples:\n\n\b\n  hilnas table show accel-nasbench@224\n"
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
    as_json: Json = False,
) -> None:
    """Show a table's condition, calibration and slowest layers, or where a network's time goes."""
    found = table_store().load(table)
    if (by is None) != (network is None):
        raise typer.BadParameter("--by operator and --network NAME go together")
    if network is not None:
        show_by_operator(found, network, as_json=as_json)
        return
    frame = found.to_pandas()
    calibration = dataclasses.asdict(found.calibration) if found.calibration else None
    values = {
        "table": found.name, "layers": len(found),
        "unstable": int((frame["status"] == "unstable").sum()), "invalid": dict(found.invalid),
        "condition": found.condition.to_dict(), "calibration": calibration,
        "provenance": dataclasses.asdict(found.provenance),
    }  # fmt: skip
    lines = [f"{found.name}: {len(found)} layers, {values['unstable']} unstable"]
    lines += [f"  {key:<11}{value}" for key, value in found.condition.to_dict().items()]
    if found.calibration:
        lines.append(
            f"  scale      {found.calibration.scale:.4f} from {found.calibration.networks} networks"
        )
    slowest = frame.nlargest(10, "hot_ms")
    rows = [
        [
            r.layer,
            f"{r.hot_ms:.4f}",
            "none" if r.cold_ms != r.cold_ms else f"{r.cold_ms:.4f}",
            str(r.visits),
            r.status,
        ]
        for r in slowest.itertuples()
    ]
    lines += ["", columns(["slowest layers", "hot ms", "cold ms", "visits", "status"], rows)]
    emit(values, "\n".join(lines), as_json=as_json)


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
    as_json: Json = False,
) -> None:
    """Predict the latency of networks, and where another session would measure it, 90 %."""
    from latency_tables.operator_pricing import predict_any
    from latency_tables.table import LEVEL

    found = table_store().load(table)
    predicted = [(name, predict_any(found, named_network(name)[0])) for name in networks]
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
    rows = [
        [name, f"{p.latency_ms:.3f}", *_spread(p.std_ms, p.interval())] for name, p in predicted
    ]
    header = ["network", "ms", "std", f"{100 * LEVEL:.0f} % low", "high"]
    emit({"predictions": values, "level": LEVEL}, columns(header, rows), as_json=as_json)


def _spread(std_ms: float | None, interval: tuple[float, float] | None) -> list[str]:
    if std_ms is None or interval is None:
        return ["unknown"] * 3
    return [f"{value:.3f}" for value in (std_ms, *interval)]
