from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from device_agents.measurement import DEFAULT_PLAN, Outcome
from latency_tables.priorities import drifted_rows, network_uses, rank, space_uses
from latency_tables.priors import predicted_rows, rows_of, with_priors
from latency_tables.table import LatencyTable, Row
from networks.operators import Unit
from networks.spaces import make_space
from tests.latency_tables.conftest import CONDITION, PROVENANCE, make_row, make_visit
from tests.latency_tables.test_profile import BODIES, HEAD, STEM

NOW, MAX_AGE_S = 1000.0, 100.0
UNITS: list[Unit] = [STEM, *BODIES, HEAD]


def table_of(*rows: Row) -> LatencyTable:
    return LatencyTable.from_rows("t", CONDITION, rows, provenance=PROVENANCE)


def sure(row: Row, std: float = 0.01) -> Row:
    reach = math.exp(1.645 * std)
    return replace(row, low_ms=row.hot_ms / reach, high_ms=row.hot_ms * reach)


def test_each_row_says_why_it_is_measured_again() -> None:
    fresh, old = NOW - 1, NOW - 2 * MAX_AGE_S
    rows = [
        make_row(STEM.key, at=fresh),
        make_row(BODIES[0].key, at=old),
        replace(make_row(BODIES[1].key, at=fresh), status="unstable"),
        sure(replace(make_row(BODIES[2].key, at=old), status="predicted", low_ms=1, high_ms=1)),
        make_row(BODIES[3].key, at=fresh),
    ]
    found = rank(
        table_of(*rows), UNITS, {}, drifted={BODIES[3].key: 0.1}, now_unix_s=NOW,
        max_age_s=MAX_AGE_S,
    )  # fmt: skip
    assert {c.unit.key: c.reason for c in found} == {
        BODIES[0].key: "stale", BODIES[1].key: "unstable", BODIES[2].key: "predicted",
        BODIES[3].key: "drifted", BODIES[4].key: "missing", BODIES[5].key: "missing",
        HEAD.key: "missing",
    }  # fmt: skip


@pytest.mark.parametrize("what", ["uses", "ms", "std", "age"])
def test_more_use_time_doubt_or_age_comes_first(what: str) -> None:
    first, second = (sure(make_row(layer.key, at=0.0)) for layer in BODIES[:2])
    uses = {BODIES[0].key: 1.0, BODIES[1].key: 1.0}
    if what == "uses":
        uses[BODIES[1].key] = 1.1
    elif what == "ms":
        second = sure(make_row(BODIES[1].key, 1.1, at=0.0))
    elif what == "std":
        second = sure(second, 0.011)
    else:
        second = sure(make_row(BODIES[1].key, at=-100.0))
    found = rank(
        table_of(first, second), BODIES[:2], uses, drifted={}, now_unix_s=NOW,
        max_age_s=MAX_AGE_S,
    )  # fmt: skip
    assert [c.unit for c in found] == [BODIES[1], BODIES[0]]
    assert found[0].value > found[1].value > 0


def test_uses_of_a_space_are_those_of_its_networks() -> None:
    space = make_space("accel-nasbench", resolution=32)
    uses = space_uses(space)
    assert set(uses) == {layer.key for layer in space.layers}
    assert uses[space.layers[0].key] == 1.0  # the stem
    genotypes = space.sample(2000, np.random.default_rng(9), uniform_over="networks")
    networks = [space.decode(genotype) for genotype in genotypes]
    exact = network_uses(networks)
    assert sum(uses.values()) == pytest.approx(sum(exact.values()), rel=0.03)


def test_a_row_whose_newest_campaigns_differ_has_drifted() -> None:
    row = make_row(STEM.key)
    day = 86400.0

    def campaign(at: float, ns: int) -> list[Outcome]:
        return [make_visit(row.sha256, at + i, ns) for i in range(DEFAULT_PLAN.min_visits)]

    def moved(*campaigns: list[Outcome]) -> dict[str, float]:
        visits = {row.sha256: [visit for c in campaigns for visit in c]}
        return drifted_rows(visits, [row], CONDITION, DEFAULT_PLAN, pace_ns=None)

    first, second, third = campaign(0, 1000), campaign(day, 1100), campaign(2 * day, 1105)
    assert moved(first) == {}
    assert moved(first, second) == {STEM.key: pytest.approx(0.1)}
    assert moved(first, second, third) == {}


def test_priors_are_predicted_by_the_factor_of_their_kind_and_never_measured() -> None:
    old = table_of(*(sure(make_row(layer.key, 1.0 + i)) for i, layer in enumerate(UNITS)))
    measured = [replace(row, hot_ms=1.1 * row.hot_ms, low_ms=None, high_ms=None)
                for row in rows_of(old) if row.layer in {b.key for b in BODIES[:4]}]  # fmt: skip
    table = with_priors(table_of(*measured), rows_of(old), "t")
    assert len(table) == len(old)
    for row in predicted_rows(table):
        assert row.hot_ms == pytest.approx(1.1 * old.row(row.layer).hot_ms)
        assert row.low_ms is not None
        assert row.high_ms is not None
        assert row.low_ms < row.hot_ms < row.high_ms
        assert (row.visits, row.samples, row.journal_rows) == (0, 0, ())
        assert "not measured yet" in row.reason
    assert len(predicted_rows(table)) == 4
    again = with_priors(table_of(*measured), predicted_rows(table), "t")
    assert predicted_rows(again) == predicted_rows(table)
