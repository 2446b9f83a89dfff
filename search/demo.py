"""Demo: the whole loop on one machine, in a directory where it can be continued.

    profile    the accel-nasbench space and published networks -> tables/, table against measurement
    target     what MobileNetV2 takes here; how many networks of the space are as fast
    search     ppo, random and local: ImageNet proxy x this machine's latency -> runs/
    train      the best, two rivals, MobileNetV2 scaled to equal latency: real images, several seeds
    export     the best with its trained weights: classified and timed beside torch and the table
    report     report.html

Each step keeps what it finishes; run again, the demo takes up what is there.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device_agents.floor import reference_pace_ns
from device_agents.local import LocalAgent
from device_agents.measurement import ModelFile, ResidentPlan, Visit
from exporters.exporter import export_network
from latency_tables.calibration import choose_networks
from latency_tables.end_to_end import EndToEnd, measure_model
from latency_tables.exact import PricedSpace, price_space
from latency_tables.floors import session_floor
from latency_tables.predictor import Prediction, predict_network
from latency_tables.profile import profile
from latency_tables.store import TableDirectory, write_whole
from latency_tables.table import LatencyTable
from latency_tables.validation import ValidatedNetwork, compare, validate
from networks.block_strings import format_network
from networks.names import find_chain
from networks.network import Network
from networks.published import published_network
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace
from search.assembly import go_on, start
from search.book import meets
from search.config import RunConfig
from search.datasets import Dataset, load_dataset
from search.demo_result import (
    FULL,
    REFERENCE,
    SPACE,
    DemoResult,
    DemoSettings,
    Deployed,
    Profiled,
)
from search.errors import RunError
from search.finalists import CHOOSING_IMAGES, FinalistsResult
from search.finalists import compare as compare_finalists
from search.rewards import make_reward
from search.run import SearchResult
from search.training import TrainingSettings, accuracy, classify_torch
from search.training_plan import affordable
from search.trials import Trial

Floats = npt.NDArray[np.float64]
Say = Callable[[str], None]
Progress = Callable[[int, int, str], None]

TASK_RESOLUTION = 32
WORKERS = 2
SEARCHERS = ("ppo", "random", "local")


def run_demo(
    out: Path,
    agent: LocalAgent,
    *,
    settings: DemoSettings = FULL,
    data: str = "auto",
    tool_version: str = "",
    say: Say,
    progress: Progress,
) -> DemoResult:
    """Run every step in ``out`` and return what they found; the page is the caller's to write.

    Args:
        data: images, see `load_dataset`.
        say: called with a line for people after each step.
        progress: called with (done, total, what) during the long ones.

    Raises:
        The known errors of every folder.
    """
    started_s = time.monotonic()
    images = _limited(load_dataset(data, resolution=TASK_RESOLUTION), settings.held_out_images)
    space = make_space(SPACE, resolution=settings.resolution)
    profiled = _profile(out, agent, space, settings, tool_version, say, progress)
    table = LatencyTable.load(profiled.table)
    priced = price_space(table, space)
    _count(priced, profiled.target_ms, say)
    runs = {
        name: _search(out / "runs" / name, name, profiled, settings, say, progress)
        for name in SEARCHERS
    }
    best, rivals = choose_finalists(runs)
    candidates, finalists_ms = _candidates(agent, best, rivals, images, settings, progress)
    training = _affordable(out, candidates, images, settings)
    seen = training.steps(len(images.train)) * training.batch
    say(
        f"training {len(candidates)} networks on {images.source}, {settings.train_seeds} seeds,"
        f" {seen:,} images each"
    )
    finalists = compare_finalists(
        candidates,
        images,
        training,
        seeds=settings.train_seeds,
        workers=WORKERS,
        keep=out / "trainings",
        progress=lambda share: progress(round(100 * share), 100, "training finalists"),
    )
    for finalist in finalists.finalists:
        mean = finalist.accuracy
        result = f"{mean.mean:.2%} [{mean.low:.2%}, {mean.high:.2%}]" if mean else "failed"
        say(
            f"  {finalist.name}: {result}, {finalists_ms[finalist.name]:.3f} ms, {finalist.verdict}"
        )
    deployed = _deploy(out, agent, candidates, finalists, images, settings, progress)
    say(
        f"exported {deployed.model.path}: {deployed.agreement:.2%} of test images classified as"
        f" torch does; predicted {deployed.prediction.latency_ms:.3f} ms, measured"
        f" {deployed.measured.latency_ms:.3f} ms"
    )
    at_full_size = _measure_at_full_size(agent, table, space.decode(best.genotype), settings)
    return DemoResult(
        out, profiled, priced, runs, best, finalists, finalists_ms, deployed,
        at_full_size, table.condition, time.monotonic() - started_s,
    )  # fmt: skip


def choose_finalists(runs: Mapping[str, SearchResult]) -> tuple[Trial, list[Trial]]:
    """Return the best network of all runs and two rivals: the other runs' bests, all different.

    Where two runs found one network, the next best that met the target stands in.

    Raises:
        RunError: no run met the target, or fewer than three networks did.
    """
    bests = [run.best for run in runs.values() if run.best is not None]
    pool = [
        trial
        for run in runs.values()
        for trial in run.trials
        if isinstance(trial, Trial) and meets(run.config, trial)
    ]
    chosen: dict[tuple[int, ...], Trial] = {}
    for trial in [*sorted(bests, key=_goodness), *sorted(pool, key=_goodness)]:
        chosen.setdefault(trial.canonical, trial)
        if len(chosen) == 3:
            best, *rivals = chosen.values()
            return best, rivals
    raise RunError(f"expected three networks that meet the target, found {len(chosen)}")


def _goodness(trial: Trial) -> tuple[float, float]:
    return -trial.quality, trial.latency_ms


def _profile(
    out: Path,
    agent: LocalAgent,
    space: ChainSpace,
    settings: DemoSettings,
    tool_version: str,
    say: Say,
    progress: Progress,
) -> Profiled:
    """Profile and validate, or read what an earlier run of the demo came to."""
    record = out / "profiled.json"
    if record.exists():
        return _read_profiled(record, settings)
    published = {
        name: find_chain(f"{name},resolution={settings.resolution}") for name in settings.published
    }
    directory = TableDirectory(out / "tables" / f"{SPACE}@{settings.resolution}")
    layers = dict.fromkeys(
        [*space.layers, *(layer for network in published.values() for layer in network.layers)]
    )
    say(f"profiling {len(layers)} layers at {settings.resolution} pixels on {agent.address}")
    result = profile(
        agent, list(layers), directory, networks=choose_networks(space), plan=settings.plan,
        budget_s=settings.profile_budget_s, tool_version=tool_version, progress=progress,
    )  # fmt: skip
    say(f"  {result.measured} layers in {result.wall_s:.0f} s, {result.unstable} unstable")
    validation = validate(
        agent, directory.load(), published, directory.journal, plan=settings.plan,
        tool_version=tool_version, progress=progress,
    )  # fmt: skip
    target_ms = next(p.measured_ms for p in validation.points if p.network == REFERENCE)
    say(
        f"  published networks: error {validation.mape_pct:.1f} % by the table,"
        f" {validation.madds_mape_pct:.1f} % by multiply-adds; repeatability"
        f" {validation.repeatability_pct:.1f} %"
    )
    values = {
        "resolution": settings.resolution,
        "table": str(result.table.absolute()),
        "target_ms": target_ms,
        "points": [asdict(point) for point in validation.points],
    }
    write_whole(record, json.dumps(values).encode())
    return Profiled(result.table, validation, target_ms)


def _read_profiled(record: Path, settings: DemoSettings) -> Profiled:
    values = json.loads(record.read_text())
    if values["resolution"] != settings.resolution:
        raise RunError(
            f"{record.parent} holds a demo at {values['resolution']} pixels, expected"
            f" {settings.resolution}; choose another --out"
        )
    points = [ValidatedNetwork(**point) for point in values["points"]]
    return Profiled(Path(values["table"]), compare(points), values["target_ms"])


def _count(priced: PricedSpace, target_ms: float, say: Say) -> None:
    """Say how many networks of the space meet the target, exactly."""
    within, total = priced.within(target_ms).networks, priced.networks.total
    say(
        f"target {target_ms:.3f} ms ({REFERENCE} here): met by {within / total:.1%} of all"
        f" {total:,} networks; the fastest takes {priced.fastest_ms:.3f} ms"
    )


def _search(
    run: Path, searcher: str, profiled: Profiled, settings: DemoSettings, say: Say,
    progress: Progress,
) -> SearchResult:  # fmt: skip
    config = RunConfig(
        space=SPACE,
        latency=f"table:{profiled.table.absolute()}",
        evaluator="imagenet-proxy",
        searcher=searcher,
        reward=make_reward("absolute", target_ms=profiled.target_ms),
        budget=settings.evaluations,
        settings={"resolution": settings.resolution},
    )

    def show(told: int, budget: int) -> None:
        progress(told, budget, f"searching: {searcher}")

    if (run / "run.toml").exists():
        result = go_on(run, progress=lambda now: show(now.told, now.budget))
    else:
        result = start(config, run, progress=lambda now: show(now.told, now.budget))
    best = result.best
    found = f"top-1 {best.quality:.2%} at {best.latency_ms:.3f} ms" if best else "none met it"
    say(f"  {searcher}: {len(result.trials)} proposals, {result.distinct} networks, best {found}")
    return result


def _candidates(
    agent: LocalAgent,
    best: Trial,
    rivals: Sequence[Trial],
    images: Dataset,
    settings: DemoSettings,
    progress: Progress,
) -> tuple[dict[str, Network], dict[str, float]]:
    """Return the finalists at the size of the images, with their measured latencies in ms.

    The width of the baseline is the one whose measured latency is nearest to the best's.
    """
    classes = len(images.classes)
    space = make_space(SPACE, resolution=TASK_RESOLUTION, classes=classes, in_channels=1)
    found = {
        f"{title} ({trial.searcher.partition(':')[0]})": space.decode(trial.genotype)
        for title, trial in zip(("best", "rival 1", "rival 2"), (best, *rivals), strict=True)
    }
    scaled = {
        f"{REFERENCE} x{width:.2f}": published_network(
            REFERENCE, width=width, resolution=TASK_RESOLUTION, classes=classes, in_channels=1
        )
        for width in np.arange(0.3, 2.01, 0.05).round(2)
    }
    latency_ms = _measure_each(agent, {**found, **scaled}, settings.plan, progress)
    wanted = latency_ms[next(iter(found))]
    baseline = min(scaled, key=lambda name: abs(latency_ms[name] - wanted))
    chosen = {**found, baseline: scaled[baseline]}
    return chosen, {name: latency_ms[name] for name in chosen}


def _limited(images: Dataset, held_out: int | None) -> Dataset:
    """Return the data set with no more validation and test images than that."""
    if held_out is None:
        return images
    return replace(
        images, validation=images.validation.first(held_out), test=images.test.first(held_out)
    )


def _affordable(
    out: Path, candidates: Mapping[str, Network], images: Dataset, settings: DemoSettings
) -> TrainingSettings:
    """Return how long each finalist is trained: timed once, then kept for when the demo goes on."""
    if settings.training_budget_s is None:
        return settings.training
    record = out / "training.json"
    if not record.exists():
        afforded = affordable(
            candidates.values(), images.train, settings.training, seeds=settings.train_seeds,
            workers=WORKERS, evaluation_images=len(images.test) + CHOOSING_IMAGES,
            budget_s=settings.training_budget_s,
        )  # fmt: skip
        write_whole(record, json.dumps({"epochs": afforded.epochs}).encode())
    return replace(settings.training, epochs=json.loads(record.read_text())["epochs"])


def _measure_each(
    agent: LocalAgent, networks: Mapping[str, Network], plan: ResidentPlan, progress: Progress
) -> dict[str, float]:
    """Return the latency of each network in ms, all measured in one interleaved session."""
    condition = agent.condition(precision="float32", plan=plan)
    visits: dict[str, list[Visit]] = {}
    with tempfile.TemporaryDirectory(prefix="hilnas-") as work:
        files = {}
        for number, (name, network) in enumerate(networks.items()):
            model = export_network(network, Path(work) / f"{number}.tflite")
            files[name] = ModelFile(model.path, model.sha256, "network")
        total = plan.of("network").min_visits * len(files)
        for count, visit in enumerate(agent.measure(list(files.values()), plan)):
            progress(min(count, total - 1), total, "measuring finalists")
            if isinstance(visit, Visit):
                visits.setdefault(visit.sha256, []).append(visit)
    pace_ns = reference_pace_ns(visit for found in visits.values() for visit in found)
    return {
        name: session_floor(
            visits.get(file.sha256, ()), condition, plan, pace_ns=pace_ns
        ).hot_ns / 1e6
        for name, file in files.items()
    }  # fmt: skip


def _deploy(
    out: Path,
    agent: LocalAgent,
    candidates: Mapping[str, Network],
    finalists: FinalistsResult,
    images: Dataset,
    settings: DemoSettings,
    progress: Progress,
) -> Deployed:
    """Export the best with its trained weights; compare with torch and with a table of its layers.

    The table is calibrated with the other finalists, so that the prediction never saw the best.
    """
    from networks.torch_module import folded_weights

    name, *others = candidates
    network, trained = candidates[name], finalists[name].exported
    if trained is None:
        raise RunError(f"no training of {name} finished: {finalists[name].failures[0].reason}")
    layers = dict.fromkeys(layer for n in candidates.values() for layer in n.layers)
    directory = TableDirectory(out / "tables" / f"finalists@{TASK_RESOLUTION}")
    result = profile(
        agent, list(layers), directory, networks=[candidates[other] for other in others],
        plan=settings.plan, progress=progress,
    )  # fmt: skip
    prediction = predict_network(LatencyTable.load(result.table), network)
    module = trained.module()
    model = export_network(
        network,
        out / "best.tflite",
        weights=folded_weights(module),
        labels={
            "network": format_network(network),
            "trained on": images.source,
            "seed": str(trained.seed),
        },
    )
    file = ModelFile(model.path, model.sha256, "network")
    test = images.test
    logits = classify_torch(module, test.images)
    outputs = agent.invoke(file, np.ascontiguousarray(test.images.transpose(0, 2, 3, 1)))
    on_device = outputs.reshape(logits.shape)
    return Deployed(
        model,
        prediction,
        measure_model(agent, file, plan=settings.plan, progress=progress),
        accuracy(logits, test.labels),
        accuracy(on_device, test.labels),
        float(np.mean(logits.argmax(axis=1) == on_device.argmax(axis=1))),
    )


def _measure_at_full_size(
    agent: LocalAgent, table: LatencyTable, network: Network, settings: DemoSettings
) -> tuple[Prediction, EndToEnd]:
    """Return what the search's table says of the best network, and what it takes."""
    with tempfile.TemporaryDirectory(prefix="hilnas-") as work:
        model = export_network(network, Path(work) / "best.tflite")
        file = ModelFile(model.path, model.sha256, "network")
        return predict_network(table, network), measure_model(agent, file, plan=settings.plan)
