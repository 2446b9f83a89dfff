"""Verbs that search: search, report, demo."""

from __future__ import annotations

import functools
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.console import (
    Interrupted,
    Json,
    Resolution,
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
    from search.run import Progress


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
    latency_quantile: Annotated[
        float | None,
        typer.Option(help="Go by this quantile of each latency, such as 0.95, not by its mean."),
    ] = None,
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
            latency=f"table:{table_store().file(table).absolute()}",
            evaluator=evaluator,
            searcher=searcher,
            reward=make_reward(reward, target_ms=target_ms),
            budget=budget,
            batch=batch,
            seed=seed,
            preset=preset,
            settings={
                "resolution": resolution,
                "width": width,
                "data": data,
                "workers": workers,
                **({} if latency_quantile is None else {"latency_quantile": latency_quantile}),
            },
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
