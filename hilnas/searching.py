"""Verbs that search: search, report, demo."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Sequence
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
    table_store,
    verb,
)

if TYPE_CHECKING:
    from device_agents.measurement import Agent
    from search.config import RunConfig
    from search.objective import Cost, Penalty
    from search.rewards import Reward
    from search.run import Progress, SearchResult


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
    "  hilnas search --config run.toml --out runs/second\n"
    "  hilnas search --resume runs/first"
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
    out: Annotated[Path | None, typer.Option(help="The run's new directory.")] = None,
    config: Annotated[Path | None, typer.Option(help="A run.toml to repeat.")] = None,
    resume: Annotated[Path | None, typer.Option(help="A run's directory to go on with.")] = None,
    devices_file: DevicesFile = None,
    as_json: Json = False,
) -> None:
    """Search a space for the best network that meets a target latency."""
    from search.assembly import summarize_run
    from search.config import RunConfig
    from search.run_directory import read_config

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
            latency=_located(str(source)),
            evaluator=str(evaluator),
            searcher=searcher,
            reward=_reward(reward, target_ms, penalty, penalty_cost),
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
    result = _run(chosen, resume, out, devices_file)
    emit(summarize_run(result), _describe(result), as_json=as_json)


def _run(
    config: RunConfig | None, resume: Path | None, out: Path | None, devices_file: Path | None
) -> SearchResult:
    """Start the run of a configuration, or go on with one, on a progress bar."""
    from search.assembly import go_on, start

    run = resume or out
    if run is None and config is not None:
        run = Path("runs") / f"{Path(config.space).stem}-{config.searcher}-{config.seed}"
    assert run is not None
    devices = partial(_open_device, devices_file)
    with progress_bar() as update:

        def show(now: Progress) -> None:
            best = "none yet" if now.best_quality is None else f"{now.best_quality:.4f}"
            failed = f", {now.failed} failed" if now.failed else ""
            update(now.told, now.budget, f"searching, best within the target {best}{failed}")

        try:
            if config is None:
                return go_on(run, progress=show, open_device=devices)
            return start(config, run, progress=show, open_device=devices, say=_note)
        except KeyboardInterrupt:
            raise Interrupted(f"hilnas search --resume {shlex.quote(str(run))}") from None


def _note(text: str) -> None:
    say(f"note: {text}")


@contextlib.contextmanager
def _open_device(devices_file: Path | None, device: str) -> Iterator[Agent]:
    from hilnas.agents import ConditionOptions, open_one

    options = ConditionOptions(None, 1, "xnnpack", "auto", None, None, None)
    with open_one(device, devices_file, options) as agent:
        yield agent


def _located(latency: str) -> str:
    """Return the latency with the file of a table in place of its name: one version of it."""
    kind, _, value = latency.partition(":")
    if kind != "table" or not value:
        return latency
    return f"table:{table_store().file(value).absolute()}"


def _reward(
    kind: str, target_ms: float | None, weight: float | None, cost: str
) -> Reward | Penalty:
    from search.objective import COSTS, Penalty
    from search.rewards import make_reward

    if kind != "penalty":
        if weight is not None:
            raise typer.BadParameter("--penalty is of --reward penalty")
        assert target_ms is not None
        return make_reward(kind, target_ms=target_ms)
    if weight is None:
        raise typer.BadParameter("expected --penalty, what a ms or a million costs")
    names: dict[str, Cost] = {name: name for name in COSTS}
    if cost not in names:
        raise typer.BadParameter(f"--penalty-cost is one of {', '.join(COSTS)}, found {cost!r}")
    return Penalty(weight, names[cost])


def parse_limits(texts: Sequence[str]) -> dict[Cost, float]:
    """Return limits from texts such as ``params=2e6``."""
    from search.objective import COSTS

    names: dict[str, Cost] = {name: name for name in COSTS}
    limits = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limits[names[name]] = float(value)
        except (KeyError, ValueError):
            known = ", ".join(COSTS)
            raise typer.BadParameter(
                f"expected a limit such as params=2e6 (there are {known}), found {text!r}"
            ) from None
    return limits


def parse_settings(texts: Sequence[str]) -> dict[str, str | int | float | bool]:
    """Return settings from texts such as ``epochs=2``; numbers, true and false are no texts."""
    settings: dict[str, str | int | float | bool] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"expected a setting such as epochs=2, found {text!r}")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        settings[name] = parsed if isinstance(parsed, str | int | float | bool) else value
    return settings


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
