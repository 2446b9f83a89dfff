"""A new device: errors and interval coverage against the share of layers measured on it.

Four recorded conditions (`benchmarks.recorded`) are four devices. For each, with no other table,
with each other one and with all others as priors, layers are chosen as `hilnas profile --prior`
does; the others are predicted, and held against what was measured. Random layers, with the same
model, are beside it. Whole networks are the recorded 30 unseen ones; the calibration networks are
in the table.

``--models`` compares other models on the same random tenth of layers and the same priors.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.claim import print_claim
from latency_tables.calibration import calibrate
from latency_tables.conformal import SIZE_CLASSES, expected_errors, interval_reach, size_classes
from latency_tables.features import Features, features_of
from latency_tables.layer_model import LayerModel, fit_layers, operator_costs
from latency_tables.missing import predicted_rows, with_predictions
from latency_tables.predictor import predict_network
from latency_tables.selection import layer_uses, layer_weights, select_layers
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.names import find_chain
from networks.network import Network
from networks.spaces import make_space
from networks.spaces.chain import ChainSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CLAIM = (
    "a tenth of the layers measured on a new device gives 5 % layer MAPE and 3 % whole-network"
    " MAPE, for each pair of conditions"
)
SHARES = (0.01, 0.02, 0.05, 0.10, 0.20)
TARGET_SHARE, TARGET_LAYER_PCT, TARGET_NETWORK_PCT = 0.10, 5.0, 3.0
SEEDS = 2  # of random selections


@dataclass(frozen=True, slots=True)
class Recorded:
    """One condition: its table, each layer's latency, and unseen networks with theirs."""

    name: str
    table: LatencyTable
    latency_ms: Floats
    networks: tuple[tuple[Network, float], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """Errors of one table in percent; ``coverage_pct`` of held-out layers, by size class."""

    device: str
    priors: str
    chosen: str
    share: float
    layer_mape_pct: float
    network_mape_pct: float
    coverage_pct: tuple[float, ...]
    expected_pct: float


def load(root: Path, space: ChainSpace) -> list[Recorded]:
    """Return the conditions recorded in a folder, those that are complete."""
    keys = [layer.key for layer in space.layers]
    found = []
    for path in sorted(root.glob("*/validation.json")):
        table = TableDirectory(path.parent).load()
        points = json.loads(path.read_text())["points"]
        networks = tuple(
            (find_chain(point["network"]), (point["first_ms"] + point["second_ms"]) / 2)
            for point in points
        )
        found.append(Recorded(path.parent.name, table, table.hot_ms(keys), networks))
    return found


def choose(features: Features, uses: Floats, priors: Sequence[Floats], n: int) -> Ints:
    """Return the ``n`` layers that a profile with priors would measure."""
    nothing = np.zeros(0, dtype=np.int64)
    model = fit_layers(features, nothing, np.zeros(0), priors, tuned=False)
    return select_layers(model, layer_weights(uses, model.mean), n).order


def examine(
    space: ChainSpace, device: Recorded, model: LayerModel, priors: str, chosen: str
) -> Point:
    """Return how the model's layers, and networks of them, compare with what was measured."""
    held_out = np.ones(len(space.layers), dtype=bool)
    held_out[model.rows] = False
    far = np.log(device.latency_ms) - model.mean
    inside = np.abs(far) <= interval_reach(model)
    classes = size_classes(device.latency_ms)
    coverage = tuple(
        100 * float(inside[held_out & (classes == each)].mean())
        for each in range(len(SIZE_CLASSES))
    )
    table = _partial_table(device.table, space, model)
    return Point(
        device.name, priors, chosen, len(model.rows) / len(space.layers),
        100 * float(np.abs(np.expm1(-far[held_out])).mean()), network_mape_pct(device, table),
        coverage, 100 * float(expected_errors(model)[held_out].mean()),
    )  # fmt: skip


def network_mape_pct(device: Recorded, table: LatencyTable) -> float:
    """Return the mean error of the unseen networks by this table, in percent."""
    errors = [abs(predict_network(table, net).latency_ms / ms - 1) for net, ms in device.networks]
    return 100 * float(np.mean(errors))


def _partial_table(table: LatencyTable, space: ChainSpace, model: LayerModel) -> LatencyTable:
    """Return the table as it would be with the model's rows measured and the others predicted."""
    measured = {space.layers[row].key for row in model.rows}
    kept = pa.array([key in measured for key in table.rows["layer"].to_pylist()])
    rows = predicted_rows(model, space.layers, 0)
    lacking = [row for row in rows if row.layer not in measured]
    return with_predictions(replace(table, rows=table.rows.filter(kept).combine_chunks()), lacking)


def run(
    recorded: Sequence[Recorded], space: ChainSpace, features: Features, shares: Sequence[float]
) -> Iterator[Point]:
    """Yield a point for each device, priors, share and way to choose."""
    of_layer = layer_uses(space)
    uses = np.array([of_layer[layer] for layer in space.layers])
    for device in recorded:
        for name, priors in _priors_of(device, recorded):
            for share in shares:
                n = round(share * len(space.layers))
                choices = [("ours", choose(features, uses, priors, n))]
                for seed in range(SEEDS):
                    drawn = np.random.default_rng(seed).permutation(len(space.layers))[:n]
                    choices.append(("random", drawn))
                for chosen, rows in choices:
                    model = fit_layers(features, rows, device.latency_ms[rows], priors)
                    yield examine(space, device, model, name, chosen)


def _priors_of(
    device: Recorded, recorded: Sequence[Recorded]
) -> Iterator[tuple[str, list[Floats]]]:
    others = [other for other in recorded if other is not device]
    yield "none", []
    for other in others:
        yield other.name, [other.latency_ms]
    if len(others) > 1:
        yield "all others", [other.latency_ms for other in others]


def compare_models(recorded: Sequence[Recorded], features: Features) -> dict[str, float]:
    """Return the mean layer MAPE, in percent, of each kind of model from a random tenth."""
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kernel = ConstantKernel() * RBF(3.0) + WhiteKernel(0.01)
    models = {
        "ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-4, 2, 13))),
        "trees": GradientBoostingRegressor(n_estimators=400, learning_rate=0.05, random_state=0),
        "whole_layer_process": make_pipeline(
            StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True)
        ),
    }
    errors: dict[str, list[float]] = {name: [] for name in ("operators", *models)}
    for device in recorded:
        for name, priors in _priors_of(device, recorded):
            if name in ("none", "all others"):
                n = len(features.counts)
                rows = np.random.default_rng(0).permutation(n)[: round(TARGET_SHARE * n)]
                others = np.setdiff1d(np.arange(n), rows)
                costs = operator_costs(features, rows, device.latency_ms[rows])
                inputs = np.column_stack(
                    [np.log(features.counts @ costs), features.sizes, *map(np.log, priors)]
                )
                wanted = np.log(device.latency_ms)
                found = {"operators": fit_layers(features, rows, np.exp(wanted[rows]), priors).mean}
                for kind, model in models.items():
                    found[kind] = model.fit(inputs[rows], wanted[rows]).predict(inputs)
                for kind, mean in found.items():
                    error = np.abs(np.expm1(mean[others] - wanted[others])).mean()
                    errors[kind].append(100 * float(error))
    return {f"layer_mape_pct_{kind}": float(np.mean(values)) for kind, values in errors.items()}


def figures_of(points: Sequence[Point], recorded: Sequence[Recorded]) -> dict[str, float]:
    """Return means and worst cases over devices and priors at the target's share.

    Beside them the network errors where every layer is measured, which are no better than that.
    """
    whole = {d.name: network_mape_pct(d, calibrate(d.table)) for d in recorded}
    figures = {f"network_mape_pct_all_measured_{name}": value for name, value in whole.items()}
    with_priors = [point for point in points if point.priors != "none"]
    for chosen in ("ours", "random"):
        at = [p for p in with_priors if p.chosen == chosen and _is_target(p)]
        for name in ("layer_mape_pct", "network_mape_pct"):
            values = [getattr(point, name) for point in at]
            figures[f"{name}_{chosen}_mean"] = float(np.mean(values))
            figures[f"{name}_{chosen}_worst"] = float(np.max(values))
    ours = [point for point in with_priors if point.chosen == "ours"]
    for number, size in enumerate(SIZE_CLASSES):
        values = [point.coverage_pct[number] for point in ours if _is_target(point)]
        figures[f"coverage_pct_{size}_mean"] = float(np.mean(values))
        figures[f"coverage_pct_{size}_least"] = float(np.min(values))
    ratios = [point.expected_pct / point.layer_mape_pct for point in ours if _is_target(point)]
    figures["expected_to_actual_error_median"] = float(np.median(ratios))
    more = [p.network_mape_pct - whole[p.device] for p in ours if _is_target(p)]
    figures["network_mape_pct_ours_less_all_measured_worst"] = float(np.max(more))
    return figures


def _is_target(point: Point) -> bool:
    return abs(point.share - TARGET_SHARE) < 0.002


def lines_of(points: Sequence[Point]) -> list[str]:
    """Return a line for each device and priors: errors against shares, ours / random."""
    lines = ["", "layer MAPE | network MAPE | coverage small/medium/large, in %: ours (random)"]
    cells = {
        (p.device, p.priors): [q for q in points if (q.device, q.priors) == (p.device, p.priors)]
        for p in points
    }
    for (device, priors), own in cells.items():
        lines.append(f"{device} from {priors}")
        for share in sorted({point.share for point in own}):
            at = [point for point in own if point.share == share]
            ours = next(point for point in at if point.chosen == "ours")
            drawn = [point for point in at if point.chosen == "random"]
            coverage = "/".join(f"{value:.0f}" for value in ours.coverage_pct)
            lines.append(
                f"  {100 * share:4.1f} %  {ours.layer_mape_pct:5.2f}"
                f" ({np.mean([p.layer_mape_pct for p in drawn]):5.2f}) |"
                f" {ours.network_mape_pct:4.2f}"
                f" ({np.mean([p.network_mape_pct for p in drawn]):4.2f}) | {coverage}"
                f" | expected {ours.expected_pct:.2f}"
            )
    return lines


def plot(points: Sequence[Point], file: Path) -> None:
    """Draw layer and network errors against the share measured, a panel each device."""
    from matplotlib.figure import Figure

    devices = list(dict.fromkeys(point.device for point in points))
    figure = Figure(figsize=(3.2 * len(devices), 6.4), layout="constrained")
    panels = figure.subplots(2, len(devices), sharex=True, sharey="row", squeeze=False)
    names = ("layer_mape_pct", "network_mape_pct")
    targets = (TARGET_LAYER_PCT, TARGET_NETWORK_PCT)
    for column, device in enumerate(devices):
        for row, (name, target) in enumerate(zip(names, targets, strict=True)):
            axes = panels[row, column]
            for priors in dict.fromkeys(p.priors for p in points if p.device == device):
                for chosen, style in (("ours", "-"), ("random", ":")):
                    own = [
                        p for p in points
                        if (p.device, p.priors, p.chosen) == (device, priors, chosen)
                    ]  # fmt: skip
                    shares = sorted({p.share for p in own})
                    means = [
                        np.mean([getattr(p, name) for p in own if p.share == s]) for s in shares
                    ]
                    label = f"from {priors}" if chosen == "ours" else None
                    color = axes.get_lines()[-1].get_color() if chosen == "random" else None
                    axes.plot([100 * s for s in shares], means, style, label=label, color=color)
            axes.axhline(target, color="grey", linewidth=0.8)
            axes.set(xscale="log", yscale="log")
            axes.legend(fontsize="x-small")
        panels[0, column].set_title(device)
        panels[1, column].set_xlabel("layers measured, % (dotted: random)")
    panels[0, 0].set_ylabel("layer MAPE, %")
    panels[1, 0].set_ylabel("network MAPE, %")
    figure.savefig(file, dpi=150)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recorded", type=Path, required=True)
    parser.add_argument("--space", default="mnasnet")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--share", type=float, action="append")
    parser.add_argument("--models", action="store_true", help="also other kinds of model")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    space = make_space(options.space, resolution=options.resolution)
    features = features_of(space.layers)
    recorded = load(options.recorded, space)
    if len(recorded) < 2:
        sys.exit(f"{options.recorded}: expected two recorded conditions or more; see recorded.py")
    points = []
    for point in run(recorded, space, features, options.share or SHARES):
        points.append(point)
        print(f"{point.device} from {point.priors}: {len(points)} points", file=sys.stderr)
    figures = figures_of(points, recorded)
    if options.models:
        figures |= compare_models(recorded, features)
    if options.plot:
        plot(points, options.plot)
    holds = (
        figures["layer_mape_pct_ours_worst"] <= TARGET_LAYER_PCT
        and figures["network_mape_pct_ours_worst"] <= TARGET_NETWORK_PCT
    )
    print_claim(CLAIM, figures, holds=holds, as_json=options.json, lines=lines_of(points))


if __name__ == "__main__":
    main()
