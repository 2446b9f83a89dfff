from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.errors import (
    ConditionMismatch,
    SpecimenDiffers,
    TableError,
    TablesDisagree,
    WrongGranularity,
)
from latency_tables.merging import merge_tables
from latency_tables.rows import Anchor, MeasuredNetwork, Provenance, Row, Status
from latency_tables.table import LatencyTable
from tests.latency_tables.conftest import CONDITION, OTHER_CONDITION, PROVENANCE
from tests.latency_tables.test_difference import row, table

KEYS = ("v1/conv/1", "v1/conv/2", "v1/conv/3", "v1/conv/4")


def network(sha256: str, layers: tuple[str, ...], latency_ms: float) -> MeasuredNetwork:
    return MeasuredNetwork("n", layers, latency_ms, None, 6, "ok", 1.0, sha256)


@st.composite
def similar_tables(draw: st.DrawFn, name: str) -> LatencyTable:
    """A table of a device whose layers take 1, 2, 3 and 4 ms, within a percent."""
    rows = []
    for number, layer in enumerate(draw(st.sets(st.sampled_from(KEYS)))):
        status = draw(st.sampled_from(get_args(Status)))
        nearly = draw(st.sampled_from([0.995, 1.0, 1.005]))
        made = row(layer, (1 + KEYS.index(layer)) * nearly, status=status)
        rows.append(
            replace(
                made, measured_unix_s=float(draw(st.integers(0, 2))), journal_rows=(number,),
                reason=draw(st.sampled_from(["", "why"])), sha256=draw(st.sampled_from("ab")) * 64,
            )
        )  # fmt: skip
    networks = [
        network(sha256, KEYS[:2], 3.3 * draw(st.sampled_from([1.0, 1.01])))
        for sha256 in draw(st.sets(st.sampled_from("xyz")))
    ]
    anchors = [
        Anchor("conv", "v1/conv/1", sha256, draw(st.sampled_from([1.0, 1.02])), 0.05)
        for sha256 in draw(st.sets(st.sampled_from("pq")))
    ]
    invalid = {
        layer: draw(st.sampled_from(["a", "b"])) for layer in draw(st.sets(st.sampled_from(KEYS)))
    }
    return replace(
        table(name, rows), networks=tuple(networks), anchors=tuple(anchors), invalid=invalid,
    )  # fmt: skip


@given(
    st.tuples(*map(similar_tables, "abc")).flatmap(
        lambda made: st.tuples(st.just(made), st.permutations(made))
    )
)
@settings(max_examples=80, deadline=None)
def test_their_order_makes_no_difference(
    made: tuple[tuple[LatencyTable, ...], list[LatencyTable]],
) -> None:
    given_order, other_order = made
    merged = merge_tables("m", given_order)
    assert merge_tables("m", other_order) == merged
    assert merge_tables("m", [*other_order, given_order[0]]) == merged
    layers = {layer for t in given_order for layer in t.rows["layer"].to_pylist()}
    assert set(merged.rows["layer"].to_pylist()) == layers
    assert not layers & set(merged.invalid)


def test_the_best_row_stays() -> None:
    predicted = row(KEYS[0], 1.0, status="predicted")
    unstable = replace(row(KEYS[0], 1.0, status="unstable"), measured_unix_s=9.0)
    early, late = (replace(row(KEYS[0], 1.0), measured_unix_s=at) for at in (2.0, 3.0))
    for best, other in ((unstable, predicted), (early, unstable), (late, early)):
        merged = merge_tables("m", [table("a", [best]), table("b", [other])])
        assert merged.row(KEYS[0]) == best


def test_the_scale_is_fitted_to_all_networks() -> None:
    rows = [row(layer, 1.0) for layer in KEYS]
    first = replace(table("a", rows[:2]), networks=(network("x", KEYS[:2], 2.2),))
    second = replace(table("b", rows[2:]), networks=(network("y", KEYS, 4.4),))
    assert first.calibration is None
    merged = merge_tables("m", [first, second])
    assert merged.calibration is not None
    assert merged.calibration.scale == pytest.approx(1.1)
    assert merged.calibration.networks == 2


def test_the_provenance_is_of_all() -> None:
    first = replace(
        table("a", [replace(row(KEYS[0], 1.0), serial="S1", journal_rows=(1, 2))]),
        provenance=Provenance("adb:1", "0.3", "journal.sqlite", (1, 2), "S1"),
    )
    second = replace(
        table("b", [replace(row(KEYS[0], 1.0), serial="S2"), row(KEYS[1], 1.0)]),
        provenance=Provenance("adb:2", "0.4", "journal.sqlite", (7,), "S2"),
    )
    merged = merge_tables("m", [first, second])
    assert merged.provenance == Provenance(
        "adb:1; adb:2", "0.3; 0.4",
        "a: journal.sqlite, sessions 1 2; b: journal.sqlite, sessions 7", (),
    )  # fmt: skip
    assert merged.row(KEYS[0]).journal_rows == ()
    assert merged.row(KEYS[0]).serial in ("S1", "S2")


def test_what_may_not_share_a_table_is_refused() -> None:
    first = table("a", [row(KEYS[0], 1.0)])
    with pytest.raises(ConditionMismatch, match=r"precision '(float32|int8)'"):
        merge_tables("m", [first, replace(table("b", []), condition=OTHER_CONDITION)])
    with pytest.raises(TableError, match="two different tables or more, found 1"):
        merge_tables("m", [first, first])
    operators = table("b", [row("op1/relu/x", 1.0)])
    with pytest.raises(WrongGranularity):
        merge_tables("m", [first, operators])


def test_specimens_share_a_table_only_if_their_anchors_agree() -> None:
    def specimen(name: str, anchor_ms: float, *rows: Row) -> LatencyTable:
        anchor = Anchor("conv", KEYS[3], "p", anchor_ms, 0.05)
        provenance = replace(PROVENANCE, serial=name)
        return replace(table(name, [*rows]), anchors=(anchor,), provenance=provenance)

    first, second = row(KEYS[0], 1.0), row(KEYS[1], 1.0)
    assert len(merge_tables("m", [specimen("a", 1.0, first), specimen("b", 1.02, second)])) == 2
    with pytest.raises(SpecimenDiffers, match=r"4\.0 % apart"):
        merge_tables("m", [specimen("a", 1.0, first), specimen("b", 1.04, second)])
    bare = [replace(specimen(n, 1.0, r), anchors=()) for n, r in (("a", first), ("b", second))]
    with pytest.raises(TableError, match="expected an anchor or a layer in both"):
        merge_tables("m", bare)
    shared = [replace(t, provenance=PROVENANCE) for t in bare]
    assert len(merge_tables("m", shared)) == 2


def test_tables_that_disagree_are_refused_by_name() -> None:
    first = table("a", [row(layer, 1.0) for layer in KEYS])
    within = table("b", [row(layer, 1.02) for layer in KEYS])
    assert len(merge_tables("m", [first, within])) == 4
    noisy = table("b", [row(layer, 1.15, std=0.2) for layer in KEYS])
    assert len(merge_tables("m", [first, noisy])) == 4
    beyond = table("b", [row(KEYS[0], 1.2), row(KEYS[1], 1.5), row(KEYS[2], 1.0)])
    with pytest.raises(TablesDisagree) as caught:
        merge_tables("m", [first, beyond])
    assert caught.value.layers == (KEYS[1], KEYS[0])
    assert f"{KEYS[1]} of 1.0000 ms in 'a' and 1.5000 ms in 'b' and 1 more" in str(caught.value)
    unknown = table("b", [row(KEYS[0], 1.2, None)])
    with pytest.raises(TablesDisagree):
        merge_tables("m", [first, unknown])
    predicted = table("b", [row(KEYS[0], 9.0, status="predicted")])
    assert merge_tables("m", [first, predicted]).row(KEYS[0]).hot_ms == 1.0


def test_conditions_are_the_tables_own() -> None:
    merged = merge_tables("m", [table("a", [row(KEYS[0], 1.0)]), table("b", [row(KEYS[1], 1.0)])])
    assert merged.condition == CONDITION
