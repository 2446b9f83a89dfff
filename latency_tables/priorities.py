"""Priorities: which rows of a table to measure again, and which of them first.

    value = relative uncertainty x expected uses x milliseconds

which is what the row's error adds to the latency of a network. Uses are those of networks drawn
uniformly from a space, or of the networks that somebody is interested in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from device_agents.measurement import Condition, Outcome, Plan
from latency_tables.campaigns import whole_campaigns
from latency_tables.errors import ClockWentBack
from latency_tables.floors import clean_plan, floor_of, least_visits
from latency_tables.granularity import Granularity, units_of, units_to_price
from latency_tables.table import LatencyTable, Row
from latency_tables.units import parse_unit
from networks.network import ImageNetwork, count_madds
from networks.operators import Unit, lower_unit
from networks.spaces.space import LayerSpace

Reason = Literal["missing", "predicted", "unstable", "drifted", "stale"]
MISSING_STD = 0.5  # of a row that is guessed from its multiply-adds
UNKNOWN_STD = 0.02  # of a row without an interval, as tables had before schema 3
DRIFTED = 0.05  # between a row's two newest campaigns; two good ones are within 3 %
SAMPLE = 1000
CLOCK_SLACK_S = 300.0

Uses = Mapping[str, float]
"""Expected uses in one network, by layer key."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layer to measure again, why, and its value: the larger, the sooner."""

    unit: Unit
    reason: Reason
    value: float


def space_uses(
    space: LayerSpace, granularity: Granularity = "layer", *, n: int = SAMPLE, seed: int = 0
) -> dict[str, float]:
    """Return the expected uses of each unit of a space by its networks, all as likely.

    Of a sample; a layer that none of its networks has counts half of one use in all of them.
    """
    genotypes = space.sample(n, np.random.default_rng(seed), uniform_over="networks")
    uses = network_uses([space.decode(genotype) for genotype in genotypes], granularity)
    units = units_to_price(granularity, space.layers)
    return {unit.key: max(uses.get(unit.key, 0.0), 0.5 / n) for unit in units}


def network_uses(
    networks: Sequence[ImageNetwork], granularity: Granularity = "layer"
) -> dict[str, float]:
    """Return the mean uses of each unit in these networks.

    Raises:
        NotAChain: of a network of cells, layers are wanted.
    """
    counts = Counter(unit.key for network in networks for unit in units_of(granularity, network))
    return {key: count / len(networks) for key, count in counts.items()}


def rank(
    table: LatencyTable,
    units: Iterable[Unit],
    uses: Uses,
    *,
    drifted: Mapping[str, float],
    now_unix_s: float,
    max_age_s: float,
) -> list[Candidate]:
    """Return the units to measure again, the most valuable first.

    Args:
        uses: what they do not name is taken last.
        drifted: how far rows moved, see `drifted_rows`.
        max_age_s: rows whose last visit is longer ago are stale.

    Raises:
        ClockWentBack: rows were measured in what is the future now.
    """
    units = list(dict.fromkeys(units))
    rows = {row["layer"]: row for row in table.rows.to_pylist()}
    require_clock(table, now_unix_s)
    ns_per_madd = _ns_per_madd(table)
    least = 1e-3 * min(uses.values(), default=1.0)
    candidates = []
    for unit in units:
        row = rows.get(unit.key)
        reason, std = _why(row, drifted, now_unix_s, max_age_s)
        if reason is not None:
            ms = row["hot_ms"] if row else count_madds(lower_unit(unit)) * ns_per_madd / 1e6
            candidates.append(Candidate(unit, reason, std * uses.get(unit.key, least) * ms))
    return sorted(candidates, key=lambda c: (-c.value, c.unit.key))


def require_clock(table: LatencyTable, now_unix_s: float) -> None:
    """Check that no row was measured in the future, some minutes of two clocks aside.

    Raises:
        ClockWentBack: this machine's clock, or the device's, is not what it was.
    """
    latest = max(table.rows["measured_unix_s"].to_pylist(), default=now_unix_s)
    if latest > now_unix_s + CLOCK_SLACK_S:
        raise ClockWentBack(table.name, latest, now_unix_s)


def drifted_rows(
    visits: Mapping[str, Sequence[Outcome]],
    rows: Iterable[Row],
    condition: Condition,
    plan: Plan,
    *,
    pace_ns: int | None,
) -> dict[str, float]:
    """Return by layer how far rows moved whose two newest campaigns differ by over ``DRIFTED``.

    A third campaign that agrees with the second ends it.
    """
    moved = {}
    for row in rows:
        campaigns = whole_campaigns(visits.get(row.sha256, ()), least_visits(clean_plan(plan)))
        if len(campaigns) < 2:
            continue
        before, after = (
            floor_of(campaign, condition, plan, pace_ns=pace_ns).hot_ns
            for campaign in campaigns[-2:]
        )
        difference = max(before, after) / min(before, after) - 1
        if difference > DRIFTED:
            moved[row.layer] = difference
    return moved


def _why(
    row: dict[str, float] | None, drifted: Mapping[str, float], now_unix_s: float, max_age_s: float
) -> tuple[Reason | None, float]:
    """Return why a row is to be measured again, if it is, and its relative uncertainty."""
    if row is None:
        return "missing", MISSING_STD
    layer, status = str(row["layer"]), str(row["status"])
    low, high = row["low_ms"], row["high_ms"]
    std = UNKNOWN_STD if low is None else float(np.log(high / low)) / 3.29
    if status == "predicted":
        return "predicted", std
    if layer in drifted:
        return "drifted", max(std, drifted[layer])
    if status == "unstable":
        return "unstable", max(std, row["spread"])
    age_s = max(0.0, now_unix_s - row["measured_unix_s"])
    if age_s > max_age_s:
        return "stale", std * age_s / max_age_s
    return None, std


def _ns_per_madd(table: LatencyTable) -> float:
    """Return the median nanoseconds a multiply-add of some of the table's rows; 1 without any."""
    some = table.rows.slice(0, len(table)).to_pylist()[:: max(1, len(table) // 50)]
    rates = [
        row["hot_ms"] * 1e6 / max(1, count_madds(lower_unit(parse_unit(row["layer"]))))
        for row in some
    ]
    return float(np.median(rates)) if rates else 1.0
