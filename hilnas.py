"""The front door: parses, wires real parts together, renders, maps errors to exit codes.

Only this file prints, exits, or reads the environment. Each verb's work is a function elsewhere
that returns a frozen result; a notebook can call the same function. Heavy imports happen inside
the verb that needs them.

    exit code   0 done    1 a known error    2 usage    3 measured, but incomplete or unstable
                130 interrupted: what was finished is kept, and the command to go on is printed
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from device_agents.errors import DeviceError
from exporters.errors import ExportError
from latency_tables.errors import LatencyTableError
from networks.errors import NetworkError
from search.errors import SearchError

if TYPE_CHECKING:
    from latency_tables.store import TableStore
    from search.run import Progress

KNOWN_ERRORS = (NetworkError, ExportError, DeviceError, LatencyTableError, SearchError)
DEBUG = "--debug"
PLAIN_LINE_EVERY_S = 10.0

app = typer.Typer(
    name="hilnas",
    help="Time neural networks where they will run, keep latency tables, search with them.",
    epilog="Every command takes --json, and --debug for the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
table_app = typer.Typer(
    help="Look into latency tables.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(table_app, name="table")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Resolution = Annotated[int, typer.Option(help="Height and width of the image in pixels.", min=8)]
Width = Annotated[float, typer.Option(help="Width multiplier of all filters.")]
Seed = Annotated[int, typer.Option(help="Decides every random choice.", min=0)]
Device = Annotated[str, typer.Argument(help="Address: local, or local:cpu=N.")]
TableArgument = Annotated[str, typer.Argument(help="A table's name, or the path of a file.")]

P = ParamSpec("P")


class Interrupted(Exception):
    """Ctrl-C where the command to go on is not the one that was typed."""


def main() -> None:
    """Run the command line; installed as ``hilnas``."""
    app(args=[argument for argument in sys.argv[1:] if argument != DEBUG])


def verb(function: Callable[P, int | None]) -> Callable[P, None]:
    """Make a command of a function: its result is the exit code, its known errors one line."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs) or 0
        except (KeyboardInterrupt, Interrupted) as stop:
            again = str(stop) or shlex.join(["hilnas", *sys.argv[1:]])
            say(f"interrupted; what was finished is kept. To go on: {again}")
            code = 130
        except KNOWN_ERRORS as error:
            if DEBUG in sys.argv:
                traceback.print_exc()
            say(f"hilnas: {error}")
            code = 1
        raise typer.Exit(code)

    return run


def say(line: str) -> None:
    """Print a line for people on standard error."""
    print(line, file=sys.stderr, flush=True)


def emit(result: Mapping[str, object], text: str | None, *, as_json: bool) -> None:
    """Print a result: one JSON object, or its text for people."""
    if as_json:
        print(json.dumps(result, allow_nan=False))
    elif text:
        print(text)


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned text: the first column left, the others right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Yield ``update(done, total, what)``: a bar with rate and time left, or lines to a file."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def plain(done: int, total: int, what: str) -> None:
            nonlocal last
            if time.monotonic() - last >= PLAIN_LINE_EVERY_S:
                last = time.monotonic()
                say(f"{what}: {done} of {total}")

        yield plain
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        task = bars.add_task("starting", total=None, rate="")

        def update(done: int, total: int, what: str) -> None:
            before = bars.tasks[0]
            if before.total != total or done < before.completed:  # another step: its own clock
                bars.reset(task, total=total, description=what)
            speed = before.finished_speed or before.speed
            rate = f"{speed:.3g}/s" if speed else ""
            bars.update(task, completed=done, description=what, rate=rate)

        yield update


def tables() -> TableStore:
    """Return the store of tables: ``$XDG_DATA_HOME/hilnas/tables``."""
    from latency_tables.store import TableStore

    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return TableStore(Path(data) / "hilnas" / "tables")


def parse_duration(text: str) -> float:
    """Return seconds from a text such as 90s, 20m or 1.5h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"expected a duration such as 90s, 20m or 1.5h, found {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


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
    network: Annotated[
        list[str] | None, typer.Option(help="Also the layers of this network; may be repeated.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Name or path of the table; default SPACE@RESOLUTION.")
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
    from networks.block_strings import find_network
    from networks.spaces import make_space

    chosen = make_space(space, resolution=resolution, width=width)
    others = [layer for text in network or () for layer in find_network(text).layers]
    name = table or f"{space}@{resolution}" + ("" if width == 1.0 else f"x{width:g}")
    with open_agent(device) as agent, progress_bar() as update:
        result = profile_layers(
            agent,
            list(dict.fromkeys([*chosen.layers, *others])),
            tables().directory(name),
            networks=choose_networks(chosen, seed=seed),
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
    epilog="Examples:\n\n\b\n  hilnas export mnasnet-a1 -o a1.tflite\n"
    "  hilnas export mobilenet-v2,width=0.75,resolution=192 -o v2.tflite\n"
    "  hilnas export 32x32x3:cn_r1_k3_s2_c16:ir_r2_k3_s2_e6_c24:fc_c10 -o small.tflite"
)
@verb
def export(
    network: Annotated[str, typer.Argument(help="A published network's name, or a block string.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a network as a .tflite file, with random weights for timing."""
    from exporters.exporter import export_network
    from networks.block_strings import find_network, format_network

    found = find_network(network)
    text = format_network(found)
    model = export_network(found, output, seed=seed, labels={"network": text})
    values = {
        "model": str(model.path), "sha256": model.sha256, "network": text, "params": model.params,
        "madds": model.madds, "operators": list(model.operators), "size_bytes": model.size_bytes,
    }  # fmt: skip
    lines = (
        f"{model.path}: {model.size_bytes / 2**20:.2f} MiB, {len(model.operators)} operators,"
        f" {model.params / 1e6:.3f} M parameters, {model.madds / 1e6:.1f} M multiply-adds\n{text}"
    )
    emit(values, lines, as_json=as_json)


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
    from exporters.model_file import read_model
    from latency_tables.end_to_end import measure_model, require_condition

    _, sha256 = read_model(file)
    with open_agent(device) as agent, progress_bar() as update:
        if like is not None:
            require_condition(agent, tables().load(like))
        result = measure_model(agent, ModelFile(file, sha256, "network"), progress=update)
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


@table_app.command("show", epilog="Example: hilnas table show accel-nasbench@224")
@verb
def table_show(table: TableArgument, as_json: Json = False) -> None:
    """Show a table's condition, calibration and slowest layers."""
    found = tables().load(table)
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
        [r.layer, f"{r.hot_ms:.4f}", f"{r.cold_ms:.4f}", str(r.visits), r.status]
        for r in slowest.itertuples()
    ]
    lines += ["", columns(["slowest layers", "hot ms", "cold ms", "visits", "status"], rows)]
    emit(values, "\n".join(lines), as_json=as_json)


@table_app.command(
    "predict",
    epilog="Example: hilnas table predict accel-nasbench@224 mobilenet-v2 mnasnet-b1",
)
@verb
def table_predict(
    table: TableArgument,
    networks: Annotated[list[str], typer.Argument(help="Published names or block strings.")],
    as_json: Json = False,
) -> None:
    """Predict the latency of networks from a table."""
    from latency_tables.predictor import predict_network
    from networks.block_strings import find_network

    found = tables().load(table)
    predicted = [(name, predict_network(found, find_network(name))) for name in networks]
    values = [
        {"network": name, "latency_ms": p.latency_ms, "std_ms": p.std_ms} for name, p in predicted
    ]
    rows = [
        [name, f"{p.latency_ms:.3f}", "unknown" if p.std_ms is None else f"{p.std_ms:.3f}"]
        for name, p in predicted
    ]
    emit({"predictions": values}, columns(["network", "ms", "std"], rows), as_json=as_json)


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

    file = tables().file(table)
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


@app.command(
    epilog="Examples:\n\n\b\n"
    "  hilnas search --space accel-nasbench --table accel-nasbench@224 --target-ms 8 "
    "--evaluator imagenet-proxy --budget 2000 --out runs/first\n"
    "  hilnas search --config run.toml --out runs/second\n"
    "  hilnas search --resume runs/first"
)
@verb
def search(
    space: Annotated[str | None, typer.Option(help="The space to search.")] = None,
    table: Annotated[str | None, typer.Option(help="Latency table: a name or a file.")] = None,
    target_ms: Annotated[float | None, typer.Option(help="Target latency.")] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="imagenet-proxy, training, or module:function.")
    ] = None,
    reward: Annotated[str, typer.Option(help="absolute, hard or soft.")] = "absolute",
    searcher: Annotated[str, typer.Option(help="ppo, random or local.")] = "ppo",
    preset: Annotated[str | None, typer.Option(help="Of ppo: paper or small-budget.")] = None,
    budget: Annotated[int, typer.Option(help="Proposals in all.", min=1)] = 1000,
    batch: Annotated[int, typer.Option(help="Proposals evaluated together.", min=1)] = 10,
    resolution: Resolution = 224,
    width: Width = 1.0,
    data: Annotated[
        str, typer.Option(help="For training: auto, fashion-mnist, digits or a folder.")
    ] = "auto",
    workers: Annotated[int, typer.Option(help="Training processes.", min=1)] = 2,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="The run's new directory.")] = None,
    config: Annotated[Path | None, typer.Option(help="A run.toml to repeat.")] = None,
    resume: Annotated[Path | None, typer.Option(help="A run's directory to go on with.")] = None,
    as_json: Json = False,
) -> None:
    """Search a space for the best network that meets a target latency."""
    from search.assembly import go_on, start, summarize_run
    from search.config import RunConfig
    from search.rewards import make_reward
    from search.run_directory import read_config

    if config is not None:
        chosen, _ = read_config(config)
    elif resume is None:
        asked = {"--space": space, "--table": table, "--target-ms": target_ms,
                 "--evaluator": evaluator}  # fmt: skip
        if space is None or table is None or target_ms is None or evaluator is None:
            missing = [name for name, value in asked.items() if value is None]
            raise typer.BadParameter(f"expected {', '.join(missing)}, or --config, or --resume")
        chosen = RunConfig(
            space=space,
            latency=f"table:{tables().file(table).absolute()}",
            evaluator=evaluator,
            searcher=searcher,
            reward=make_reward(reward, target_ms=target_ms),
            budget=budget,
            batch=batch,
            seed=seed,
            preset=preset,
            settings={"resolution": resolution, "width": width, "data": data, "workers": workers},
        )
    with progress_bar() as update:

        def show(now: Progress) -> None:
            best = "none yet" if now.best_quality is None else f"{now.best_quality:.4f}"
            update(now.told, now.budget, f"searching, best within the target {best}")

        if resume is not None:
            run = resume
            search_it = functools.partial(go_on, run)
        else:
            run = out or Path("runs") / f"{chosen.space}-{chosen.searcher}-{chosen.seed}"
            search_it = functools.partial(start, chosen, run)
            if chosen.reward.note:
                say(f"note: {chosen.reward.note}")
        try:
            result = search_it(progress=show)
        except KeyboardInterrupt:
            raise Interrupted(f"hilnas search --resume {shlex.quote(str(run))}") from None
    summary = summarize_run(result)
    if result.best:
        found = f"best: quality {result.best.quality:.4f} at {result.best.latency_ms:.3f} ms"
    else:
        found = f"no network that was evaluated meets {result.config.reward.target_ms:g} ms"
    text = f"{result.run}: {len(result.trials)} proposals, {result.distinct} networks\n{found}"
    emit(summary, text, as_json=as_json)


@app.command(epilog="Example: hilnas report runs/first -o first.html")
@verb
def report(
    run: Annotated[Path, typer.Argument(help="A run's directory, or a demo's.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")],
    as_json: Json = False,
) -> None:
    """Write a run's result as one self-contained HTML page."""
    from search.report import write_report
    from search.run import load
    from search.run_report import report_run

    write_report(output, report_run(load(run)))
    emit({"report": str(output)}, str(output), as_json=as_json)


@app.command(epilog="Examples:\n\n\b\n  hilnas demo --out demo\n  hilnas demo --quick --json")
@verb
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes; run again to go on.")] = Path(
        "demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="All of it in under a minute.")] = False,
    data: Annotated[
        str, typer.Option(help="Images: auto, fashion-mnist, digits or a folder.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="Address of the device to measure on.")] = "local",
    as_json: Json = False,
) -> None:
    """Run the whole loop on this machine: profile, search, train, export, measure, report."""
    from device_agents.open import open_agent
    from search.demo import run_demo
    from search.demo_report import report_demo
    from search.demo_result import FULL, QUICK
    from search.report import write_report

    with open_agent(device) as agent, progress_bar() as update:
        result = run_demo(
            out, agent, settings=QUICK if quick else FULL, data=data,
            tool_version=version("hilnas"), say=say, progress=update,
        )  # fmt: skip
    write_report(result.report, report_demo(result))
    emit(result.to_dict(), f"{result.report} ({result.wall_s:.0f} s in all)", as_json=as_json)


if __name__ == "__main__":
    main()
