"""Coverage: how often a measured whole network lies in the 90 % interval that its table gives.

Of each recorded condition (`benchmarks.recorded`): the table is built from its journal's visits of
layers and of 9 calibration networks; the networks are 30 others, drawn at random; each was measured
in two later sessions by new processes, on the same machine, minutes after the table's. So there are
60 values a condition, but errors of one network in two sessions, and of all networks in one, are
not independent: the share that is covered is uncertain by more than 60 draws would be.

How wide an interval is hangs on which 9 networks calibrate the table, so ``coverage_resampled_pct``
calibrates with 9 of the 30 at random, as the first session found them, and asks how many of the
others lie inside in the second; the mean of many draws.

``width_pct`` is half the interval; ``bias_pct`` how far the predictions lie over the measurements.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.claim import print_claim
from benchmarks.recorded import CONDITIONS, PLAN
from latency_tables.calibration import fit_calibration
from latency_tables.journal import Journal
from latency_tables.predictor import predict_network
from latency_tables.publishing import build_table
from latency_tables.store import TableDirectory
from latency_tables.table import LEVEL, Floats, LatencyTable, MeasuredNetwork
from latency_tables.validation import ValidatedNetwork
from latency_tables.validation_history import validations
from networks.names import find_chain

LEAST, MOST = 0.85, 0.95
DRAWS = 50
CLAIM = (
    f"{100 * LEVEL:.0f} % intervals of whole networks cover {100 * LEAST:.0f} to"
    f" {100 * MOST:.0f} % of measurements of other sessions"
)


def rebuild(directory: TableDirectory) -> LatencyTable:
    """Return the table that this program makes of a recorded journal."""
    published = directory.load()
    with Journal.open(directory.journal) as journal:
        return build_table(
            directory.name, journal, published.condition, PLAN,
            address=published.provenance.address,
        )  # fmt: skip


def predict_intervals(table: LatencyTable, points: Sequence[ValidatedNetwork]) -> Floats:
    """Return both ends and the latency of each network in milliseconds, shape ``(n, 3)``."""
    predictions = [predict_network(table, find_chain(point.network)) for point in points]
    ends = [(*(p.interval() or (np.nan, np.nan)), p.latency_ms) for p in predictions]
    return np.array(ends, dtype=np.float64)


def resampled_coverage(table: LatencyTable, points: Sequence[ValidatedNetwork]) -> float:
    """Return the mean share of second sessions inside, with calibrations by first sessions."""
    rng = np.random.default_rng(0)
    calibrating = [
        MeasuredNetwork(
            point.network, tuple(layer.key for layer in find_chain(point.network).layers),
            point.first_ms, None, 1, "ok", 0.0, "",
        )
        for point in points
    ]  # fmt: skip
    shares = []
    for _ in range(DRAWS):
        order = rng.permutation(len(points)).tolist()
        chosen, others = order[: len(table.networks)], order[len(table.networks) :]
        calibration = fit_calibration(table, [calibrating[i] for i in chosen])
        rest = [points[i] for i in others]
        low, high, _ = predict_intervals(replace(table, calibration=calibration), rest).T
        second_ms = np.array([point.second_ms for point in rest])
        shares.append(float(((low <= second_ms) & (second_ms <= high)).mean()))
    return float(np.mean(shares))


def measure_coverage(directory: TableDirectory) -> dict[str, float]:
    """Return the figures of one condition."""
    table = rebuild(directory)
    points = validations(directory.journal, table, plan=PLAN)[-1].validation.points
    low, high, latency_ms = predict_intervals(table, points).T[:, :, None]
    measured = np.array([[point.first_ms, point.second_ms] for point in points])
    inside = (low <= measured) & (measured <= high)
    return {
        "networks": float(len(points)),
        "coverage_pct": 100 * float(inside.mean()),
        "coverage_first_pct": 100 * float(inside[:, 0].mean()),
        "coverage_second_pct": 100 * float(inside[:, 1].mean()),
        "coverage_resampled_pct": 100 * resampled_coverage(table, points),
        "width_pct": 100 * float(((high - low) / 2 / latency_ms).mean()),
        "bias_pct": 100 * float((latency_ms / measured - 1).mean()),
        "residual_pct": 100 * float((table.calibration and table.calibration.residual) or np.nan),
        "rows_unknown": float(table.rows["low_ms"].null_count),
    }


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--recorded", type=Path, required=True, help="benchmarks.recorded's folder")
    options = parser.parse_args()
    found = {
        condition.name: measure_coverage(TableDirectory(options.recorded / condition.name))
        for condition in CONDITIONS
        if (options.recorded / condition.name / "validation.json").exists()
    }
    figures = {
        f"{condition}_{name}": value
        for condition, values in found.items()
        for name, value in values.items()
    }
    coverages = [values["coverage_pct"] / 100 for values in found.values()]
    figures["coverage_pct"] = 100 * float(np.mean(coverages))
    holds = all(LEAST <= coverage <= MOST for coverage in coverages)
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
