"""Campaigns: the visits to one model that belong together, told from earlier ones by time.

    visits in the journal's order  --a gap of half a day or more-->  campaign, campaign, ...

A gap either way: where a clock was set back by days, what was written later is newer all the same.

A model that is measured again after a week is measured anew: its old visits stay in the journal
and no longer count, else a device that drifts would be averaged with what it was. Visits of one
day count together, so that a measurement that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from device_agents.measurement import Outcome
from latency_tables.floors import measured

PAUSE_S = 12 * 3600.0


def split_campaigns(
    outcomes: Iterable[Outcome], *, pause_s: float = PAUSE_S
) -> list[list[Outcome]]:
    """Return outcomes, in the order of the journal, by campaign, oldest first."""
    campaigns: list[list[Outcome]] = []
    for outcome in outcomes:
        last = campaigns[-1][-1].started_unix_s if campaigns else float("-inf")
        if abs(outcome.started_unix_s - last) > pause_s:
            campaigns.append([])
        campaigns[-1].append(outcome)
    return campaigns


def whole_campaigns(outcomes: Sequence[Outcome], least: int) -> list[list[Outcome]]:
    """Return the campaigns with ``least`` visits that gave a number; all as one if none has."""
    whole = [c for c in split_campaigns(outcomes) if len(measured(c)) >= least]
    return whole or [list(outcomes)]


def newest_campaign(outcomes: Sequence[Outcome], least: int) -> list[Outcome]:
    """Return the visits that a row is made of: of the newest campaign with at least ``least``."""
    return whole_campaigns(outcomes, least)[-1]
