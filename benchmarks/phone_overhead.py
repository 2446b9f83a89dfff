"""Phone overhead: what measuring a model on a phone costs beside the timing tool's own processes.

Small layers on the emulated phone, by the direct adb transport, one short process each. A
session's time less the sum of all processes' times, from start to exit, is the harness's share:
lease, checks, push, script, looks, polls, parsing and leaving. A process's time includes the
start-up of the stand-in for the tool, shown apart: an emulated taskset, Python, LiteRT's import.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.claim import print_claim
from benchmarks.emulated import phone_and_agent
from device_agents.emulator.runs import ToolRun
from device_agents.measurement import ModelFile
from device_agents.processes import ProcessPlan, ProcessVisit
from exporters.layer_files import export_layers
from networks.network import Network
from networks.spaces import make_space

TARGET_MS = 20.0
CLAIM = f"in a batch the harness takes under {TARGET_MS:g} ms a model beside the timing tool"
LEAST_MADDS = 500_000  # about 20 us here, and the clock is in whole microseconds
SINGLE_SESSIONS = 5
PLAN = ProcessPlan(
    min_processes=1, max_processes=1, warmup_runs=1, warmup_s=0.0, runs=5, min_s=0.0, pause_s=0.0
)


def small_models(folder: Path, count: int) -> list[ModelFile]:
    """Export the smallest layers of a small mnasnet space that the tool's clock can tell."""
    madds = {
        layer: Network((layer,)).madds for layer in make_space("mnasnet", resolution=64).layers
    }
    layers = sorted(
        (layer for layer in madds if madds[layer] >= LEAST_MADDS), key=madds.__getitem__
    )
    return [ModelFile(m.path, m.sha256) for _, m in export_layers(layers[:count], folder)]


def session(folder: Path, models: Sequence[ModelFile]) -> tuple[float, float, tuple[ToolRun, ...]]:
    """Return when a session on a new phone began and ended, and the tool's processes in it."""
    with phone_and_agent(folder) as (phone, agent):
        agent.condition(precision="float32")  # what a caller asks before
        began_unix_s = time.time()
        outcomes = list(agent.measure(models, PLAN))
        ended_unix_s = time.time()
        runs = phone.runs.ended
    visits = [outcome for outcome in outcomes if isinstance(outcome, ProcessVisit)]
    if not len(visits) == len(runs) == len(models):
        raise RuntimeError(
            f"expected {len(models)} visits, found {len(visits)} in {len(runs)} processes"
        )
    return began_unix_s, ended_unix_s, runs


def figures_of(began: float, ended: float, runs: Sequence[ToolRun]) -> dict[str, float]:
    """Return milliseconds: of the session and of the tool a model, and where the rest goes."""
    tool_s = sum(run.ended_unix_s - run.started_unix_s for run in runs)
    gaps = [(b.started_unix_s - a.ended_unix_s) * 1e3 for a, b in pairwise(runs)]
    return {
        "wall_ms_a_model": (ended - began) / len(runs) * 1e3,
        "tool_ms_a_model": tool_s / len(runs) * 1e3,
        "start_up_ms_a_model": statistics.mean(
            (run.loaded_unix_s - run.started_unix_s) * 1e3 for run in runs
        ),
        "overhead_ms_a_model": (ended - began - tool_s) / len(runs) * 1e3,
        "before_first_ms": (runs[0].started_unix_s - began) * 1e3,
        "between_ms_median": statistics.median(gaps) if gaps else 0.0,
        "between_ms_sum": sum(gaps),
        "after_last_ms": (ended - runs[-1].ended_unix_s) * 1e3,
    }


def measure(*, models: int = 200) -> dict[str, float]:
    """Return the figures of one batch, and the median overhead of sessions of one model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = small_models(folder / "models", models)
        singles = []
        for number in range(SINGLE_SESSIONS):
            place = folder / f"single-{number}"
            place.mkdir()
            singles.append(figures_of(*session(place, files[:1]))["overhead_ms_a_model"])
        batch = figures_of(*session(folder, files))
    return {
        "models": len(files),
        **batch,
        "overhead_one_model_ms": statistics.median(singles),
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", type=int, default=200)
    options = parser.parse_args()
    figures = measure(models=options.models)
    holds = figures["overhead_ms_a_model"] < TARGET_MS
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
