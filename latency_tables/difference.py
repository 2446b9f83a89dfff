"""Difference: two tables row by row, and which changes are more than noise.

A row's interval is where another session's value would lie, so its variance counts a session
twice: its own and another like it. Of two rows, one from each table, the difference of logarithms
then has the mean of both variances:

    z = log(second / first) / sqrt((sigma_first^2 + sigma_second^2) / 2)

Many rows are compared at once, and at 5 % each one in twenty would differ by chance. A change is
called significant so that of all that are called so, 5 % are expected to be chance (Benjamini and
Hochberg 1995). Rows without an interval are compared and never called anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from latency_tables.granularity import require_same_granularity
from latency_tables.table import LatencyTable

FALSE_DISCOVERIES = 0.05
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowDifference:
    """One layer in both tables; ``ratio`` is second / first.

    ``significant`` is None where a row has no interval.
    """

    layer: str
    first_ms: float
    second_ms: float
    ratio: float
    significant: bool | None
    first_status: str
    second_status: str


@dataclass(frozen=True, slots=True)
class FactorOfKind:
    """The median ratio, second / first, of ``rows`` rows of one kind of layer."""

    rows: int
    ratio: float


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What differs from the first table to the second.

    conditions   fields in which the conditions differ, with both values: where there are any, the
                 rows are of two things, and the comparison is a report of both, not of a change
    rows         layers in both, the largest change first
    ratio        median ratio of those, None where there are none; ``kinds`` by kind of layer
    added        layers of the second table alone; ``removed`` of the first alone
    """

    first: str
    second: str
    conditions: Mapping[str, tuple[object, object]]
    rows: tuple[RowDifference, ...]
    ratio: float | None
    kinds: Mapping[str, FactorOfKind]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def significant(self) -> tuple[RowDifference, ...]:
        """The rows whose change is more than noise."""
        return tuple(row for row in self.rows if row.significant)

    @property
    def restated(self) -> tuple[RowDifference, ...]:
        """The rows that have another status."""
        return tuple(row for row in self.rows if row.first_status != row.second_status)


def compare_tables(first: LatencyTable, second: LatencyTable) -> TableDifference:
    """Return what differs from the first table to the second.

    Raises:
        WrongGranularity: one is by layers, the other by operators.
    """
    require_same_granularity(first, second)
    common = sorted(set(_layers(first)) & set(_layers(second)))
    first_ms, second_ms = first.hot_ms(common), second.hot_ms(common)
    ratios = second_ms / first_ms
    p_values = difference_p_values(first, second, common)
    significant = _significant(p_values)
    statuses = [_statuses(table, common) for table in (first, second)]
    order = np.argsort(-np.abs(np.log(ratios)), kind="stable")
    rows = tuple(
        RowDifference(
            common[i], float(first_ms[i]), float(second_ms[i]), float(ratios[i]),
            None if np.isnan(p_values[i]) else bool(significant[i]),
            statuses[0][i], statuses[1][i],
        )
        for i in order.tolist()
    )  # fmt: skip
    return TableDifference(
        first=first.name,
        second=second.name,
        conditions=first.condition.differences(second.condition),
        rows=rows,
        ratio=float(np.median(ratios)) if len(ratios) else None,
        kinds=ratios_by_kind(common, ratios),
        added=tuple(layer for layer in _layers(second) if layer not in first),
        removed=tuple(layer for layer in _layers(first) if layer not in second),
    )


def difference_p_values(first: LatencyTable, second: LatencyTable, layers: list[str]) -> Floats:
    """Return how likely noise alone gives each layer's difference, NaN without both intervals.

    Args:
        layers: keys that both tables price, shape ``(n,)``; the result has that shape too.
    """
    from scipy import stats

    change = np.log(second.hot_ms(layers) / first.hot_ms(layers))
    variances = [table.relative_std(layers) ** 2 for table in (first, second)]
    std = np.sqrt((variances[0] + variances[1]) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(change == 0, 0.0, np.abs(change) / std)
    p_values: Floats = np.where(np.isnan(std), np.nan, 2 * stats.norm.sf(z))
    return p_values


def ratios_by_kind(layers: list[str], ratios: Floats) -> dict[str, FactorOfKind]:
    """Return the median ratio of each kind of layer, such as ``bottleneck``."""
    kinds = np.array([kind_of(layer) for layer in layers])
    return {
        str(kind): FactorOfKind(int((kinds == kind).sum()), float(np.median(ratios[kinds == kind])))
        for kind in np.unique(kinds)
    }


def kind_of(layer: str) -> str:
    """Return the kind in a key, its second part."""
    return layer.split("/")[1] if "/" in layer else layer


def _significant(p_values: Floats) -> npt.NDArray[np.bool_]:
    from scipy import stats

    known = ~np.isnan(p_values)
    result = np.zeros(len(p_values), dtype=bool)
    if known.any():
        adjusted = stats.false_discovery_control(p_values[known])
        result[known] = adjusted <= FALSE_DISCOVERIES
    return result


def _layers(table: LatencyTable) -> list[str]:
    layers: list[str] = table.rows["layer"].to_pylist()
    return layers


def _statuses(table: LatencyTable, layers: list[str]) -> list[str]:
    places = pa.array(layers, pa.string())
    kept = table.rows.filter(pa.compute.is_in(table.rows["layer"], places))
    statuses: list[str] = kept["status"].to_pylist()
    return statuses
