"""Verbs that live with others: table diff, table merge, table import, table export, table plot."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hilnas.console import (
    Json,
    Resolution,
    TableArgument,
    Width,
    columns,
    emit,
    say,
    table_app,
    table_store,
    verb,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from latency_tables.difference import TableDifference
    from latency_tables.table import LatencyTable

Plot = Literal["heatmap", "drift", "calibration"]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
LARGEST = 15  # rows of a difference that people are shown


@table_app.command(
    "diff",
    epilog="Examples:\n\n\b\n  hilnas table diff pixel-4@224 pixel-6@224\n"
    "  hilnas table diff DIR/versions/0001.parquet DIR/versions/0002.parquet --json",
)
@verb
def table_diff(first: TableArgument, second: TableArgument, as_json: Json = False) -> None:
    """Compare two tables row by row, and say which changes are more than noise."""
    from latency_tables.difference import FALSE_DISCOVERIES, compare_tables

    store = table_store()
    found = compare_tables(store.load(first), store.load(second))
    values = {
        "first": found.first, "second": found.second, "conditions": dict(found.conditions),
        "layers": len(found.rows), "significant": len(found.significant),
        "false_discoveries": FALSE_DISCOVERIES, "ratio": found.ratio,
        "kinds": {kind: dataclasses.asdict(of) for kind, of in found.kinds.items()},
        "rows": [dataclasses.asdict(row) for row in found.rows],
        "added": list(found.added), "removed": list(found.removed),
    }  # fmt: skip
    emit(values, None if as_json else _difference_text(found), as_json=as_json)


def _difference_text(found: TableDifference) -> str:
    lines = [f"{found.first} -> {found.second}"]
    if found.conditions:
        rows = [[name, str(a), str(b)] for name, (a, b) in found.conditions.items()]
        lines += [
            columns(["condition", found.first, found.second], rows, text_columns=3),
            "two conditions: a report of both, not a change; their rows never share a table", "",
        ]  # fmt: skip
    untested = sum(row.significant is None for row in found.rows)
    lines.append(
        f"{len(found.rows)} layers in both, {len(found.significant)} changed by more than noise"
        f" (5 % of these by chance)"
        f"{f', {untested} without interval' if untested else ''};"
        f" {len(found.restated)} with another status, {len(found.added)} added,"
        f" {len(found.removed)} removed"
    )
    if found.ratio is not None:
        kinds = [["all", str(len(found.rows)), f"{100 * (found.ratio - 1):+.2f}"]]
        kinds += [
            [kind, str(of.rows), f"{100 * (of.ratio - 1):+.2f}"] for kind, of in found.kinds.items()
        ]
        lines += ["", columns(["kind", "layers", "median change %"], kinds)]
        largest = [
            [
                row.layer, f"{row.first_ms:.4f}", f"{row.second_ms:.4f}",
                f"{100 * (row.ratio - 1):+.2f}",
                {True: "yes", False: "no", None: "unknown"}[row.significant],
                row.first_status if row.first_status == row.second_status
                else f"{row.first_status} -> {row.second_status}",
            ]
            for row in found.rows[:LARGEST]
        ]  # fmt: skip
        header = ["largest changes", "ms", "ms", "%", "beyond noise", "status"]
        lines += ["", columns(header, largest)]
    return "\n".join(lines)


@table_app.command("merge", epilog="Example: hilnas table merge pixel-4-a pixel-4-b -o pixel-4")
@verb
def table_merge(
    tables: Annotated[list[str], typer.Argument(help="Names or files of two tables or more.")],
    out: Annotated[
        str, typer.Option("--out", "-o", help="A new table's name, or a .parquet file.")
    ],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make one table of several of one condition; their order makes no difference."""
    from latency_tables.merging import merge_tables

    store = table_store()
    merged = merge_tables(_name_of(out), [store.load(table) for table in tables])
    path = _publish(merged, out, force=force)
    scale = None if merged.calibration is None else merged.calibration.scale
    values = {
        "table": str(path), "name": merged.name, "layers": len(merged), "merged": tables,
        "networks": len(merged.networks), "scale": scale,
    }  # fmt: skip
    text = f"{merged.name}: {len(merged)} layers of {len(tables)} tables, {len(merged.networks)}"
    text += " networks" + ("" if scale is None else f", scale {scale:.4f}")
    emit(values, text, as_json=as_json)


@table_app.command(
    "import",
    epilog="Examples:\n\n\b\n"
    "  hilnas table import 224_lookup_table.yaml --table note10 --device-name note10 --scale 1\n"
    "  hilnas table import rows.csv --table mine --device-name pixel-4 --precision int8\n"
    "  hilnas table import exported.json --table theirs",
)
@verb
def table_import(
    file: Annotated[
        Path,
        typer.Argument(
            help="YAML of once-for-all or ProxylessNAS (means in ms), CSV with the columns layer"
            " and hot_ms, or a table as .json or .parquet."
        ),
    ],
    table: Annotated[str, typer.Option(help="The new table's name, or a .parquet file.")],
    device_name: Annotated[
        str | None, typer.Option(help="What the rows of a YAML or CSV file were measured on.")
    ] = None,
    soc: Annotated[str | None, typer.Option(help="Its chip.")] = None,
    os_build: Annotated[str | None, typer.Option(help="Its system.")] = None,
    runtime: Annotated[str | None, typer.Option(help="What ran the models.")] = None,
    delegate: Annotated[str | None, typer.Option(help="And by which delegate.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, float16 or int8.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="How many threads.")] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="From sums of rows to whole networks: 1 where its own users add rows up."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a table of a file of another program; what nobody says of it stays unknown."""
    from latency_tables.errors import ImportFailed
    from latency_tables.importing import Origin, import_file

    said = {
        "soc": soc, "os_build": os_build, "runtime": runtime, "delegate": delegate,
        "precision": precision, "threads": threads, "scale": scale,
    }  # fmt: skip
    known = {name: value for name, value in said.items() if value is not None}
    if device_name is None and known:
        raise ImportFailed(file, f"expected --device-name beside --{min(known).replace('_', '-')}")
    origin = None if device_name is None else Origin(device_name, **known)  # type: ignore[arg-type]
    found = import_file(file, name=_name_of(table), origin=origin)
    path = _publish(found.table, table, force=force)
    values = {
        "table": str(path), "name": found.table.name, "layers": len(found.table), "unit": "ms",
        "left_out": dict(found.left_out), "condition": found.table.condition.to_dict(),
        "provenance": found.table.provenance.address,
    }  # fmt: skip
    for key, reason in found.left_out.items():
        say(f"left out {key}: {reason}")
    text = f"{found.table.name}: {len(found.table)} layers in ms, {len(found.left_out)} left out"
    if found.table.calibration is None:
        text += "; no whole network was measured, so none is predicted without --scale"
    emit(values, text, as_json=as_json)


@table_app.command("export", epilog="Example: hilnas table export pixel-4@224 -o pixel-4.csv")
@verb
def table_export(
    table: TableArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="A file: .csv (rows), .json (all) or .parquet."),
    ],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a table for other programs."""
    from latency_tables.exporting_tables import export_table

    found = table_store().load(table)
    _require_free(out, force=force)
    export_table(found, out)
    values = {"file": str(out), "table": found.name, "layers": len(found)}
    emit(values, f"{out}: {len(found)} layers of {found.name}", as_json=as_json)


@table_app.command(
    "plot",
    epilog="Examples:\n\n\b\n"
    "  hilnas table plot mnasnet@224 --kind heatmap --space mnasnet -o blocks.png\n"
    "  hilnas table plot mnasnet@224 --kind drift -o drift.svg\n"
    "  hilnas table plot mnasnet@224 --kind calibration -o networks.png",
)
@verb
def table_plot(
    table: TableArgument,
    kind: Annotated[
        Plot,
        typer.Option(
            help="heatmap: ms by block and choice; drift: over the table's versions; calibration:"
            " predicted against measured networks."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .png, .svg or .pdf file.")],
    space: Annotated[str | None, typer.Option(help="The space whose blocks a heatmap has.")] = None,
    resolution: Resolution = None,
    width: Width = 1.0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw a table."""
    from latency_tables.figures import require_plottable, write_figure

    require_plottable(out)
    _require_free(out, force=force)
    file = table_store().file(table)
    if kind == "heatmap":
        figure = _heatmap(file, space, resolution, width)
    elif kind == "drift":
        figure = _drift(file)
    else:
        figure = _calibration(file)
    write_figure(figure, out)
    emit({"file": str(out), "kind": kind, "table": str(file)}, str(out), as_json=as_json)


def _heatmap(file: Path, space: str | None, resolution: int | None, width: float) -> Figure:
    from latency_tables.block_plot import plot_blocks
    from latency_tables.table import LatencyTable
    from networks.spaces import find_chain_space

    if space is None:
        raise typer.BadParameter("a heatmap needs the space whose blocks it has: --space mnasnet")
    made = find_chain_space(space, resolution=resolution, width=width)
    return plot_blocks(LatencyTable.load(file), made)


def _drift(file: Path) -> Figure:
    from latency_tables.plots import plot_drift
    from latency_tables.store import TableDirectory
    from latency_tables.table import LatencyTable

    current = LatencyTable.load(file)
    versions = TableDirectory(file.absolute().parent.parent).versions()
    if file.absolute() not in versions:  # a file by itself
        versions = (file,)
    loaded = {path.stem: LatencyTable.load(path) for path in versions}
    alike = {name: t for name, t in loaded.items() if t.condition == current.condition}
    if others := [name for name in loaded if name not in alike]:
        say(f"left out versions of another condition: {', '.join(others)}")
    return plot_drift(alike)


def _calibration(file: Path) -> Figure:
    from latency_tables.plots import plot_networks
    from latency_tables.store import TableDirectory
    from latency_tables.table import LatencyTable
    from latency_tables.validation_history import validations

    found = LatencyTable.load(file)
    journal = TableDirectory(file.parent.parent).journal
    past = validations(journal, found) if journal.is_file() else ()
    return plot_networks(found, [point for v in past for point in v.validation.points])


def _name_of(out: str) -> str:
    """Return the name of a table that goes to this name or path."""
    return Path(out).stem if out.endswith(".parquet") else table_store().directory(out).name


def _publish(table: LatencyTable, out: str, *, force: bool) -> Path:
    """Write a table as a file, or as a version of a named table; the versions before stay."""
    from latency_tables.errors import TableError
    from latency_tables.journal_schema import lock
    from latency_tables.store import write_whole

    if out.endswith(".parquet"):
        _require_free(Path(out), force=force)
        write_whole(Path(out), table.to_bytes())
        return Path(out)
    directory = table_store().directory(out)
    if directory.versions() and not force:
        raise TableError(
            f"{out}: expected a new name, found a table; name another, or --force a new version"
        )
    held = lock(directory.journal)
    try:
        return directory.publish(table)
    finally:
        os.close(held)


def _require_free(path: Path, *, force: bool) -> None:
    """Check that a file may be written there, before anything is computed for it."""
    from latency_tables.errors import TableError

    if not path.parent.is_dir():
        raise TableError(f"{path}: expected an existing folder, found none; make it first")
    if path.is_dir() or (path.exists() and not force):
        raise TableError(f"{path}: expected no such file, found one; name another, or --force")
