"""Merging: tables of one condition as one, the same whichever comes first.

Of one layer's rows the best stays: measured before predicted, settled before unstable, then the
later. Before that, the tables must be of things that may share a table at all: their anchors
agree (or, where they have none in common, their rows do), and no layer's measured rows differ by
more than both `AGREE` and noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeVar

import numpy as np

from latency_tables.anchors import AGREE, differ
from latency_tables.calibration import calibrate
from latency_tables.difference import difference_p_values
from latency_tables.errors import (
    ConditionMismatch,
    SpecimenDiffers,
    TableError,
    TablesDisagree,
)
from latency_tables.granularity import granularity_of, require_same_granularity
from latency_tables.operator_pricing import calibrate_operators
from latency_tables.table import LatencyTable, MeasuredNetwork, Provenance, Row

CHANCE = 0.01
"""Probability that any row of two tables that do not differ is called a disagreement."""

_RANK = {"predicted": 0, "unstable": 1, "ok": 2}
T = TypeVar("T")


def merge_tables(name: str, tables: Sequence[LatencyTable]) -> LatencyTable:
    """Return the rows and networks of all tables under this name, calibrated again.

    Rows forget their numbers in a journal, which another journal has too; the provenance names
    the journals. A packed table's check is left out: it holds for the whole of one journal.

    Raises:
        ConditionMismatch: their rows are not comparable; names the fields that differ.
        SpecimenDiffers: anchors are further apart than specimens of one table may be.
        WrongGranularity: some price layers and some single operators.
        TablesDisagree: rows differ by more than noise explains; names the first.
        TableError: fewer than two different tables, or nothing by which two can be compared.
    """
    different = _distinct(tables)
    if len(different) < 2:
        raise TableError(f"expected two different tables or more, found {len(different)}")
    for first, second in combinations(different, 2):
        if first.condition != second.condition:
            raise ConditionMismatch(
                f"{second.name!r} with {first.name!r}", first.condition, second.condition
            )
        _require_alike(first, second)
    rows = _best(
        (Row(**{**row, "journal_rows": ()}) for t in different for row in t.rows.to_pylist()),
        key=lambda row: row.layer, rank=_row_rank,
    )  # fmt: skip
    networks = _best(
        (network for table in different for network in table.networks),
        key=lambda network: network.sha256, rank=_network_rank,
    )  # fmt: skip
    anchors = _best(
        (anchor for table in different for anchor in table.anchors),
        key=lambda anchor: anchor.sha256, rank=lambda anchor: (-anchor.latency_ms, -anchor.band),
    )  # fmt: skip
    reasons = sorted(
        (layer, reason) for table in different for layer, reason in table.invalid.items()
    )
    said = {table.calibration for table in different if not table.networks}
    merged = LatencyTable.from_rows(
        name,
        different[0].condition,
        rows.values(),
        provenance=_provenance(different),
        networks=tuple(networks.values()),
        invalid={layer: reason for layer, reason in reasons if layer not in rows},
        anchors=tuple(anchors.values()),
    )
    if not networks:  # what a person said of them holds where they said the same
        return replace(merged, calibration=said.pop() if len(said) == 1 else None)
    by_operators = granularity_of(merged) == "operator"
    return calibrate_operators(merged) if by_operators else calibrate(merged)


def _distinct(tables: Sequence[LatencyTable]) -> list[LatencyTable]:
    """Return the tables that differ, in an order that does not depend on how they came."""
    by_content = {(table.name, table.to_bytes()): table for table in tables}
    return [by_content[key] for key in sorted(by_content)]


def _require_alike(first: LatencyTable, second: LatencyTable) -> None:
    """Check that two tables of one condition may become one."""
    require_same_granularity(first, second)
    mine, theirs = _anchors(first), _anchors(second)
    if mine.keys() & theirs.keys():
        difference = differ(mine, theirs)
        if difference > AGREE:
            raise SpecimenDiffers(second.name, [first.name], difference)
    layers = _measured(first) & _measured(second)
    if not layers and not mine.keys() & theirs.keys() and _serials(first) != _serials(second):
        raise TableError(
            f"{first.name!r} and {second.name!r}: expected an anchor or a layer in both, since they"
            " are of two specimens, found none; measure one model on both"
        )
    _require_agreement(first, second, sorted(layers))


def _require_agreement(first: LatencyTable, second: LatencyTable, layers: list[str]) -> None:
    ratios = second.hot_ms(layers) / first.hot_ms(layers)
    apart = np.maximum(ratios, 1 / ratios) - 1 > AGREE
    p_values = difference_p_values(first, second, layers)
    beyond = np.isnan(p_values) | (p_values < CHANCE / max(1, len(layers)))
    worst_first = np.argsort(-np.abs(np.log(ratios)))
    found = [int(i) for i in worst_first if apart[i] and beyond[i]]
    if found:
        layer = layers[found[0]]
        raise TablesDisagree(
            [layers[i] for i in found],
            f"{layer} of {first.row(layer).hot_ms:.4f} ms in {first.name!r} and"
            f" {second.row(layer).hot_ms:.4f} ms in {second.name!r}",
        )


def _best(
    items: Iterable[T], *, key: Callable[[T], str], rank: Callable[[T], tuple[object, ...]]
) -> dict[str, T]:
    """Return of the items of each key the one of highest rank, by key in order.

    Where ranks are equal the items' texts decide, so that no order of arrival does.
    """
    found: dict[str, T] = {}
    for item in items:
        other = found.get(key(item))
        if other is None or (*rank(item), repr(item)) > (*rank(other), repr(other)):
            found[key(item)] = item
    return {k: found[k] for k in sorted(found)}


def _row_rank(row: Row) -> tuple[object, ...]:
    return _RANK[row.status], row.measured_unix_s, row.sha256


def _network_rank(network: MeasuredNetwork) -> tuple[object, ...]:
    return _RANK[network.status], network.measured_unix_s


def _anchors(table: LatencyTable) -> Mapping[str, float]:
    return {anchor.sha256: anchor.latency_ms for anchor in table.anchors}


def _measured(table: LatencyTable) -> set[str]:
    columns = table.rows.select(["layer", "status"]).to_pydict()
    pairs = zip(columns["layer"], columns["status"], strict=True)
    return {layer for layer, status in pairs if status != "predicted"}


def _serials(table: LatencyTable) -> set[str | None]:
    return {table.provenance.serial, *table.rows["serial"].to_pylist()} - {None}


def _provenance(tables: Sequence[LatencyTable]) -> Provenance:
    """Return where all of them come from; sessions of several journals have no common numbers."""
    origins = [table.provenance for table in tables]
    serials = {serial for table in tables for serial in _serials(table)}
    journals = [
        f"{table.name}: {table.provenance.journal or 'none'}, sessions"
        f" {' '.join(map(str, table.provenance.sessions)) or 'none'}"
        for table in tables
    ]
    return Provenance(
        address="; ".join(sorted({origin.address for origin in origins})),
        tool_version="; ".join(sorted({origin.tool_version for origin in origins} - {""})),
        journal="; ".join(sorted(journals)),
        sessions=(),
        serial=serials.pop() if len(serials) == 1 else None,
    )
