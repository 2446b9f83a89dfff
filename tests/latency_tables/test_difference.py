from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.difference import FALSE_DISCOVERIES, compare_tables
from latency_tables.errors import WrongGranularity
from latency_tables.rows import Row, Status, Z
from latency_tables.table import LatencyTable
from tests.latency_tables.conftest import CONDITION, OTHER_CONDITION, PROVENANCE, make_row

KINDS = ("conv", "separable", "bottleneck")


def row(layer: str, hot_ms: float, std: float | None = 0.01, status: Status = "ok") -> Row:
    """Return a row whose interval is that of this relative standard deviation."""
    plain = make_row(layer, hot_ms)
    if std is None:
        return replace(plain, status=status)
    factor = float(np.exp(Z * std))
    return replace(plain, low_ms=hot_ms / factor, high_ms=hot_ms * factor, status=status)


def table(name: str, rows: list[Row]) -> LatencyTable:
    return LatencyTable.from_rows(name, CONDITION, rows, provenance=PROVENANCE)


def test_each_row_says_how_it_changed() -> None:
    first = table("a", [row("v1/conv/1", 1.0), row("v1/conv/2", 2.0), row("v1/sep/3", 4.0)])
    second = table(
        "b", [row("v1/conv/1", 1.2, status="unstable"), row("v1/sep/3", 4.01), row("v1/new/4", 9.0)]
    )
    found = compare_tables(first, second)
    assert [(r.layer, r.significant) for r in found.rows] == [
        ("v1/conv/1", True), ("v1/sep/3", False),
    ]  # fmt: skip
    assert found.rows[0].ratio == pytest.approx(1.2)
    assert (found.added, found.removed) == (("v1/new/4",), ("v1/conv/2",))
    assert [r.layer for r in found.restated] == ["v1/conv/1"]
    assert found.restated[0].first_status == "ok"
    assert found.ratio == pytest.approx((1.2 + 4.01 / 4) / 2)
    assert {kind: of.rows for kind, of in found.kinds.items()} == {"conv": 1, "sep": 1}
    assert found.kinds["conv"].ratio == pytest.approx(1.2)
    assert found.conditions == {}


def test_a_row_without_interval_is_compared_and_never_called_anything() -> None:
    found = compare_tables(table("a", [row("x", 1.0, None)]), table("b", [row("x", 2.0)]))
    assert [r.significant for r in found.rows] == [None]
    assert found.significant == ()


def test_tables_without_a_common_layer_have_no_ratio() -> None:
    found = compare_tables(table("a", [row("x", 1.0)]), table("b", []))
    assert (found.rows, found.ratio, found.kinds, found.removed) == ((), None, {}, ("x",))


def test_two_conditions_are_shown_side_by_side() -> None:
    other = replace(table("b", [row("x", 1.0)]), condition=OTHER_CONDITION)
    found = compare_tables(table("a", [row("x", 1.0)]), other)
    assert found.conditions == {"threads": (1, 4), "precision": ("float32", "int8")}


latencies = st.floats(0.01, 100)
contents = st.dictionaries(
    st.sampled_from([f"v1/{kind}/{n}" for kind in KINDS for n in range(3)]),
    st.tuples(latencies, st.none() | st.floats(0.001, 0.1)),
)


@given(contents, contents)
@settings(max_examples=60, deadline=None)
def test_back_is_the_reverse_of_there(
    first: dict[str, tuple[float, float | None]], second: dict[str, tuple[float, float | None]]
) -> None:
    a, b = (
        table(name, [row(layer, ms, std) for layer, (ms, std) in rows.items()])
        for name, rows in (("a", first), ("b", second))
    )
    there, back = compare_tables(a, b), compare_tables(b, a)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert len(there.rows) + len(there.removed) == len(a)
    reversed_rows = {r.layer: r for r in back.rows}
    for r in there.rows:
        assert r.ratio * reversed_rows[r.layer].ratio == pytest.approx(1)
        assert r.significant == reversed_rows[r.layer].significant
    assert not compare_tables(a, a).significant


def sessions(rng: np.random.Generator, n: int, changed: int) -> tuple[LatencyTable, LatencyTable]:
    """Two sessions of a device whose rows vary by 1 % a session; the first so many are 8 % slower.

    An interval is where another session's value lies: both sessions' noise.
    """
    truth = rng.lognormal(0, 1, n)
    noise = np.exp(rng.normal(0, 0.01, (2, n)))
    slower = np.where(np.arange(n) < changed, 1.08, 1.0)
    values = truth * noise * np.array([np.ones(n), slower])
    first, second = (
        table(
            name, [row(f"v1/conv/{i:04d}", float(ms), 0.01 * np.sqrt(2)) for i, ms in enumerate(v)]
        )
        for name, v in zip("ab", values, strict=True)
    )
    return first, second


def test_few_of_what_is_called_changed_is_chance() -> None:
    rng = np.random.default_rng(5)
    false, found, missed = 0, 0, 0
    for _ in range(20):
        result = compare_tables(*sessions(rng, 300, changed=60))
        called = {int(r.layer.split("/")[-1]) for r in result.significant}
        found += len(called)
        false += sum(layer >= 60 for layer in called)
        missed += 60 - sum(layer < 60 for layer in called)
    assert false / found < FALSE_DISCOVERIES + 0.02
    assert missed / (20 * 60) < 0.02


def test_nothing_is_called_changed_where_nothing_did() -> None:
    rng = np.random.default_rng(6)
    alarms = sum(bool(compare_tables(*sessions(rng, 100, 0)).significant) for _ in range(60))
    assert alarms / 60 < 0.15  # 5 % expected


def test_layers_and_operators_are_not_compared(table: LatencyTable) -> None:
    operators = LatencyTable.from_rows(
        "b", CONDITION, [make_row("op1/relu/x")], provenance=PROVENANCE
    )
    with pytest.raises(WrongGranularity, match="'test' by layer and 'b' by operator; keep them"):
        compare_tables(table, operators)
