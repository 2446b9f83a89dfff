"""Verbs on latency tables: table show, table predict, table validate."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from typing import Annotated, Literal

import typer

from hilnas.console import (
    Json,
    Resolution,
    Seed,
    TableArgument,
    Width,
    columns,
    emit,
    named_network,
    progress_bar,
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


@table_app.command(
    "validate", epilog="Example: hilnas table validate mnasnet@224 --space mnasnet --networks 10"
)
@verb
def table_validate(
    table: TableArgument,
    space: Annotated[str, typer.Option(help="Draw the networks from this space.")],
    device: Annotated[
        str | None, typer.Option(help="Address; default the one the table was made with.")
    ] = None,
    resolution: Resolution = 224,
    width: Width = 1.0,
    networks: Annotated[int, typer.Option(help="How many random networks.", min=3)] = 20,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Compare a table with random whole networks, each measured twice, end to end."""
    import numpy as np

    from device_agents.open import open_agent
    from latency_tables.store import TableDirectory
    from latency_tables.table import LatencyTable
    from latency_tables.validation import validate
    from networks.spaces import make_space

    file = table_store().file(table)
    found = LatencyTable.load(file)
    chosen = make_space(space, resolution=resolution, width=width)
    genotypes = chosen.sample(networks, np.random.default_rng(seed), uniform_over="networks")
    drawn = {f"random-{i}": chosen.decode(genotype) for i, genotype in enumerate(genotypes)}
    journal = TableDirectory(file.parent.parent).journal
    with open_agent(device or found.provenance.address) as agent, progress_bar() as update:
        result = validate(
            agent, found, drawn, journal, seed=seed, tool_version=version("hilnas"), progress=update
        )
    names = ("networks", "mape_pct", "bias_pct", "spearman", "kendall", "repeatability_pct")
    values = {name: getattr(result, name) for name in names}
    values |= {"madds_mape_pct": result.madds_mape_pct, "madds_spearman": result.madds_spearman}
    rows = [[name, f"{value:.4g}"] for name, value in values.items()]
    emit(values, columns(["figure", "value"], rows), as_json=as_json)
