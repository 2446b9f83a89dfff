"""Recorded: the full table of a space, and 30 unseen networks twice, under four conditions.

    float32      the default runtime with XNNPACK
    int8         the same, quantized models
    plain        float32 without a delegate: the runtime's own kernels
    tflite-2.14  float32 in tflite-runtime 2.14, which boards of some years have

Four honestly different devices that every machine has. One folder a condition, a table's directory
with its journal; what is there is not measured again. Other benchmarks read it (``--recorded``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from device_agents.local import LocalAgent
from device_agents.measurement import DEFAULT_PLAN
from latency_tables.calibration import choose_networks
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.validation import validate
from networks.block_strings import format_network
from networks.network import Network
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace

SEED = 2031
NETWORKS = 30
PLAN = replace(DEFAULT_PLAN, min_span_s=60.0)  # as `hilnas profile --span 1m`
TFLITE_PYTHON = Path(".venv-tflite/bin/python")


@dataclass(frozen=True, slots=True)
class RecordedCondition:
    """One of the four: how its models are made and where they run."""

    name: str
    precision: str = "float32"
    delegate: Literal["xnnpack", "none"] = "xnnpack"
    python: str = sys.executable


CONDITIONS = (
    RecordedCondition("float32"),
    RecordedCondition("int8", precision="int8"),
    RecordedCondition("plain", delegate="none"),
    RecordedCondition("tflite-2.14", python=str(TFLITE_PYTHON)),
)


def unseen_networks(space: ChainSpace, n: int = NETWORKS, seed: int = SEED) -> dict[str, Network]:
    """Return ``n`` random networks that calibration does not use, by block string."""
    calibration = set(choose_networks(space))
    drawn = space.sample(3 * n, np.random.default_rng(seed), uniform_over="networks")
    networks = dict.fromkeys(space.decode(row) for row in drawn)
    chosen = [network for network in networks if network not in calibration][:n]
    return {format_network(network): network for network in chosen}


@contextmanager
def agent_of(condition: RecordedCondition) -> Iterator[LocalAgent]:
    """Yield this machine as that condition measures on it."""
    with LocalAgent(delegate=condition.delegate, python=condition.python) as agent:
        yield agent


def record(root: Path, condition: RecordedCondition, space: ChainSpace) -> TableDirectory:
    """Measure what the folder lacks, and return the table's directory."""
    directory = TableDirectory(root / condition.name)
    with agent_of(condition) as agent:
        result = profile(
            agent, space.layers, directory, networks=choose_networks(space),
            precision=condition.precision, plan=PLAN,
        )  # fmt: skip
        print(
            f"{condition.name}: {result.measured} of {result.layers} layers, {result.unstable}"
            f" unstable, {result.wall_s:.0f} s", file=sys.stderr,
        )  # fmt: skip
        file = directory.path / "validation.json"
        if not file.exists():
            validation = validate(
                agent, directory.load(), unseen_networks(space), directory.journal, plan=PLAN,
                seed=SEED,
            )  # fmt: skip
            file.write_text(json.dumps(asdict(validation), indent=1))
            print(
                f"{condition.name}: MAPE {validation.mape_pct:.2f} %, repeatability"
                f" {validation.repeatability_pct:.2f} %", file=sys.stderr,
            )  # fmt: skip
    return directory


def conditions_of(names: Sequence[str]) -> tuple[RecordedCondition, ...]:
    """Return the conditions of these names, all of them where there are none."""
    return tuple(c for c in CONDITIONS if not names or c.name in names)


def main() -> None:
    """Record into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--condition", action="append", default=[])
    parser.add_argument("--space", default="mnasnet")
    parser.add_argument("--resolution", type=int, default=224)
    options = parser.parse_args()
    space = make_space(options.space, resolution=options.resolution)
    for condition in conditions_of(options.condition):
        record(options.root, condition, space)


if __name__ == "__main__":
    main()
