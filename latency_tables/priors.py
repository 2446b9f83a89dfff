"""Priors: rows of another table that stand in, as predicted ones, until they are measured.

    predicted = prior x median of (measured / prior), over layers of the same kind that have both

with an interval from how far those ratios spread. Where nothing has both, the prior is as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from latency_tables.calibration import calibrate
from latency_tables.granularity import granularity_of
from latency_tables.operator_pricing import calibrate_operators
from latency_tables.table import LatencyTable, Row

ENOUGH = 3  # layers of a kind for a factor of its own
FEW_STD = 0.10  # of ratios where there are fewer to tell
UNKNOWN_STD = 0.02  # of a prior without an interval
_Z = 1.6448536269514722  # half of a 90 % interval, in standard deviations


def rows_of(table: LatencyTable) -> list[Row]:
    """Return all rows."""
    rows = table.rows.to_pylist()
    return [Row(**{**row, "journal_rows": tuple(row["journal_rows"])}) for row in rows]


def predicted_rows(table: LatencyTable) -> list[Row]:
    """Return the rows that are predicted, not measured."""
    return [row for row in rows_of(table) if row.status == "predicted"]


def with_priors(table: LatencyTable, priors: Iterable[Row], source: str) -> LatencyTable:
    """Return the table with a predicted row for each prior that it lacks, calibrated again.

    Args:
        source: the name of the priors' table, for the reason of the rows.
    """
    measured = {row.layer: row.hot_ms for row in rows_of(table)}
    priors = [prior for prior in priors if prior.layer not in table.invalid]
    ratios: dict[str, list[float]] = {}
    for prior in priors:
        if prior.layer in measured:
            ratio = math.log(measured[prior.layer] / prior.hot_ms)
            ratios.setdefault(_kind(prior), []).append(ratio)
    predicted = [
        _predicted(prior, ratios, source) for prior in priors if prior.layer not in measured
    ]
    if not predicted:
        return table
    rows = [*rows_of(table), *predicted]
    whole = LatencyTable.from_rows(
        table.name, table.condition, rows, provenance=table.provenance, networks=table.networks,
        invalid=table.invalid, anchors=table.anchors,
    )  # fmt: skip
    return calibrate_operators(whole) if granularity_of(whole) == "operator" else calibrate(whole)


def _predicted(prior: Row, ratios: Mapping[str, list[float]], source: str) -> Row:
    if prior.status == "predicted" and not ratios:
        return prior
    own = ratios.get(_kind(prior), [])
    used = own if len(own) >= ENOUGH else [r for of_kind in ratios.values() for r in of_kind]
    factor = math.exp(float(np.median(used))) if used else 1.0
    spread = 0.0
    if used:
        spread = float(np.std(used, ddof=1)) if len(used) >= ENOUGH else FEW_STD
    std = math.hypot(prior.relative_std or UNKNOWN_STD, spread)
    hot_ms = factor * prior.hot_ms
    reason = f"{factor:.3f} x its row in {source}, not measured yet"
    return replace(
        prior, hot_ms=hot_ms, cold_ms=None, visits=0, status="predicted", spread=0.0,
        low_ms=hot_ms * math.exp(-_Z * std), high_ms=hot_ms * math.exp(_Z * std), p90_ms=None,
        samples=0, reason=reason, serial=None, journal_rows=(),
    )  # fmt: skip


def _kind(row: Row) -> str:
    return row.layer.split("/")[1]
