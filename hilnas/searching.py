"""Verbs that search: search, report, demo."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.console import (
    DevicesFile,
    Interrupted,
    Json,
    Seed,
    Width,
    app,
    emit,
    progress_bar,
    say,
    verb,
)
from hilnas.search_options import located, make_reward, parse_limits, parse_settings

if TYPE_CHECKING:
    from device_agents.measurement import Agent
    from search.config import RunConfig
    from search.repeats import Search
    from search.run import SearchResult


@app.command(
    epilog="Examples:\n\n\b\n"
    "  hilnas search --space accel-nasbench --table accel-nasbench@224 --target-ms 8 "
    "--evaluator imagenet-proxy --budget 2000 --out runs/first\n"
    "  hilnas search --space mine.toml --latency csv --evaluator csv:study.csv --target-ms 5 "
    "--searcher guided\n"
    "  hilnas search --space mobile-cnn --resolution 64 --latency device:local --target-ms 2 "
    "--evaluator training --limit params=500000\n"
    "  hilnas search --space mobile-cnn --latency madds --evaluator training --reward penalty "
    "--penalty 0.01 --penalty-cost madds\n"
    "  hilnas search --config run.toml --seeds 0..9 --out runs/ten\n"
    "  hilnas search --resume runs/first\n"
    "  hilnas search --status runs/first"
)
@verb
def search(
    space: Annotated[
        str | None,
        typer.Option(help="mnasnet, accel-nasbench, mobile-cnn, nasnet, or a .toml file."),
    ] = None,
    latency: Annotated[
        str | None, typer.Option(help="table:NAME, device:ADDRESS, csv, or madds (in millions).")
    ] = None,
    table: Annotated[str | None, typer.Option(help="Short for --latency table:NAME.")] = None,
    target_ms: Annotated[float | None, typer.Option(help="Target latency.")] = None,
    latency_quantile: Annotated[
        float | None,
        typer.Option(help="Go by this quantile of each latency, such as 0.95, not by its mean."),
    ] = None,
    missing: Annotated[
        str,
        typer.Option(help="Layers that the table lacks: raise, interpolate, or measure them."),
    ] = "raise",
    evaluator: Annotated[
        str | None,
        typer.Option(help="imagenet-proxy, training, csv:FILE, or module:function."),
    ] = None,
    surrogate: Annotated[
        bool, typer.Option("--surrogate", help="Of csv: a fitted model, not the exact rows.")
    ] = False,
    metric: Annotated[
        str | None, typer.Option(help="What quality is, such as a column of the csv.")
    ] = None,
    reward: Annotated[str, typer.Option(help="absolute, hard, soft or penalty.")] = "absolute",
    penalty: Annotated[
        float | None, typer.Option(help="Of --reward penalty: quality lost a ms, or a million.")
    ] = None,
    penalty_cost: Annotated[
        str, typer.Option(help="latency_ms, madds, params, size_bytes or memory_bytes.")
    ] = "latency_ms",
    limit: Annotated[
        list[str] | None,
        typer.Option(help="The most that a network may cost, such as params=2e6; may be repeated."),
    ] = None,
    front: Annotated[
        str, typer.Option(help="Costs that nsga2 minimizes beside quality, joined by commas.")
    ] = "latency_ms",
    searcher: Annotated[
        str,
        typer.Option(help="guided, ppo, reinforce, evolution, local, nsga2, tpe or random."),
    ] = "ppo",
    preset: Annotated[
        str | None,
        typer.Option(help="paper or small-budget, of ppo, reinforce, evolution and nsga2."),
    ] = None,
    no_repeats: Annotated[
        bool, typer.Option("--no-repeats", help="Propose each network once.")
    ] = False,
    feasible: Annotated[
        bool,
        typer.Option("--feasible", help="Draw only networks that meet the target by the table."),
    ] = False,
    warm_start: Annotated[
        str | None,
        typer.Option(help="A run whose best come first, or networks of the space, joined by ';'."),
    ] = None,
    budget: Annotated[int, typer.Option(help="Proposals in all.", min=1)] = 1000,
    batch: Annotated[int, typer.Option(help="Proposals evaluated together.", min=1)] = 10,
    lookahead: Annotated[int, typer.Option(help="Batches under way at once.", min=1)] = 1,
    max_failures: Annotated[
        float, typer.Option(help="Give up when a larger share of evaluations fails.")
    ] = 0.5,
    resolution: Annotated[
        int | None, typer.Option(help="Height and width of the image; default the space's.", min=8)
    ] = None,
    width: Width = 1.0,
    data: Annotated[
        str,
        typer.Option(help="For training: auto, fashion-mnist, digits, a folder, or a .npz file."),
    ] = "auto",
    workers: Annotated[int, typer.Option(help="Training processes.", min=1)] = 2,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of a part, such as epochs=2; may be repeated."),
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[
        str | None, typer.Option(help="Several runs, one a seed, such as 0..9 or 1,2,5.")
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(help="Random and local search beside it, where evaluations are cheap."),
    ] = True,
    out: Annotated[Path | None, typer.Option(help="The run's new directory.")] = None,
    config: Annotated[Path | None, typer.Option(help="A run.toml to repeat.")] = None,
    resume: Annotated[Path | None, typer.Option(help="A run's directory to go on with.")] = None,
    status: Annotated[
        Path | None, typer.Option(help="Only say where a run stands, from another terminal.")
    ] = None,
    devices_file: DevicesFile = None,
    as_json: Json = False,
) -> None:
    """Search a space for the best network that meets a target latency."""
    from search.config import RunConfig
    from search.errors import RunExists
    from search.run_directory import RunDirectory, read_config
    from search.status import format_status, status_of

    if status is not None:
        now = status_of(status)
        emit(now.to_dict(), format_status(now), as_json=as_json)
        return
    chosen = None
    if config is not None:
        chosen, _ = read_config(config)
    elif resume is None:
        source = latency or (table and f"table:{table}")
        asked: dict[str, object] = {
            "--space": space,
            "--latency or --table": source,
            "--evaluator": evaluator,
        }
        if reward != "penalty":
            asked["--target-ms"] = target_ms
        if absent := [name for name, value in asked.items() if value is None]:
            raise typer.BadParameter(f"expected {', '.join(absent)}, or --config, or --resume")
        settings: dict[str, str | int | float | bool | None] = {
            "resolution": resolution, "width": width, "data": data, "workers": workers,
            "latency_quantile": latency_quantile, "metric": metric,
            "missing": None if missing == "raise" else missing,
            "surrogate": surrogate or None, "no_repeats": no_repeats or None,
            "feasible": feasible or None,
            "warm_start": warm_start, **parse_settings(setting or []),
        }  # fmt: skip
        chosen = RunConfig(
            space=str(space),
            latency=located(str(source)),
            evaluator=str(evaluator),
            searcher=searcher,
            reward=make_reward(reward, target_ms, penalty, penalty_cost),
            budget=budget,
            batch=batch,
            lookahead=lookahead,
            seed=seed,
            preset=preset,
            front=front,
            max_failures=max_failures,
            limits=parse_limits(limit or []),
            settings={name: value for name, value in settings.items() if value is not None},
        )
    if chosen is None:
        assert resume is not None
        chosen, _ = RunDirectory(resume).config()
    run = resume or out or Path("runs") / f"{Path(chosen.space).stem}-{chosen.searcher}-{seed}"
    go = partial(_go, devices_file)
    if seeds is None and resume is None and (run / "run.toml").is_file():
        raise RunExists(f"{run} is a run already; continue it with --resume {run}")
    if seeds is None:
        _search_once(go, chosen, run, baselines=baselines, as_json=as_json)
    else:
        _search_seeds(go, chosen, out or run.with_name(f"{run.name}-seeds"), seeds, as_json=as_json)


def _search_once(
    go: Search, config: RunConfig, run: Path, *, baselines: bool, as_json: bool
) -> None:
    """Search, then by random and local search where that costs little, and say what came of it."""
    from search.assembly import summarize_run
    from search.baselines import is_cheap, run_baselines
    from search.honesty import honesty_of

    try:
        result = go(config, run)
        if baselines and is_cheap(result):
            run_baselines(go, result)
    except KeyboardInterrupt:
        raise Interrupted(f"hilnas search --resume {shlex.quote(str(run))}") from None
    honesty = honesty_of(result)
    values = {**summarize_run(result), **honesty.to_dict()}
    emit(values, "\n".join([_describe(result), *honesty.lines()]), as_json=as_json)


def _search_seeds(go: Search, config: RunConfig, out: Path, seeds: str, *, as_json: bool) -> None:
    """Search once a seed, and say how much the seed decides."""
    from search.repeats import format_repeats, parse_seeds, run_seeds

    try:
        repeats = run_seeds(go, config, parse_seeds(seeds), out)
    except KeyboardInterrupt:
        raise Interrupted("the same command again") from None
    emit(repeats.to_dict(), format_repeats(repeats), as_json=as_json)


def _go(devices_file: Path | None, config: RunConfig, run: Path) -> SearchResult:
    """Start a run, or go on with the one that is there, and show how it goes."""
    from hilnas.watching import watch_run
    from search.assembly import go_on, start

    devices = partial(_open_device, devices_file)
    with watch_run(run) as show:
        if (run / "run.toml").is_file():
            return go_on(run, budget=config.budget, progress=show, open_device=devices)
        return start(config, run, progress=show, open_device=devices, say=_note)


def _note(text: str) -> None:
    say(f"note: {text}")


@contextlib.contextmanager
def _open_device(devices_file: Path | None, device: str) -> Iterator[Agent]:
    from hilnas.agents import ConditionOptions, open_one

    options = ConditionOptions(None, 1, "xnnpack", "auto", None, None, None)
    with open_one(device, devices_file, options) as agent:
        yield agent


def _describe(result: SearchResult) -> str:
    from search.run_report import no_best
    from search.trials import FailedTrial

    failed = sum(isinstance(t, FailedTrial) for t in result.trials)
    head = f"{result.run}: {len(result.trials)} proposals, {result.distinct} networks"
    head += f", {failed} failed" if failed else ""
    if result.best is None:
        return f"{head}\n{no_best(result)}"
    unit = "million multiply-adds" if result.config.latency == "madds" else "ms"
    return f"{head}\nbest: quality {result.best.quality:.4f} at {result.best.latency_ms:.3f} {unit}"


@app.command(epilog="Example: hilnas report runs/first -o first.html")
@verb
def report(
    run: Annotated[Path, typer.Argument(help="A run's directory, or that of several seeds.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")],
    as_json: Json = False,
) -> None:
    """Write a run's result, or that of several seeds, as one self-contained HTML page."""
    from search.report import write_report
    from search.run_report import report_path

    write_report(output, report_path(run))
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
    from device_agents.open import open_local
    from search.demo import run_demo
    from search.demo_report import report_demo
    from search.demo_result import FULL, QUICK
    from search.report import write_report

    with open_local(device) as agent, progress_bar() as update:
        result = run_demo(
            out, agent, settings=QUICK if quick else FULL, data=data,
            tool_version=version("hilnas"), say=say, progress=update,
        )  # fmt: skip
    write_report(result.report, report_demo(result))
    emit(result.to_dict(), f"{result.report} ({result.wall_s:.0f} s in all)", as_json=as_json)
