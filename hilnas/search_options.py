"""Options of a search as what they mean: rewards, limits, settings, the file of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from hilnas.console import table_store

if TYPE_CHECKING:
    from search.objective import Cost, Penalty
    from search.rewards import Reward


def located(latency: str) -> str:
    """Return the latency with the file of a table in place of its name: one version of it."""
    kind, _, value = latency.partition(":")
    if kind != "table" or not value:
        return latency
    return f"table:{table_store().file(value).absolute()}"


def make_reward(
    kind: str, target_ms: float | None, weight: float | None, cost: str
) -> Reward | Penalty:
    """Return the reward that the options name."""
    from search import rewards
    from search.objective import COSTS, Penalty

    if kind != "penalty":
        if weight is not None:
            raise typer.BadParameter("--penalty is of --reward penalty")
        assert target_ms is not None
        return rewards.make_reward(kind, target_ms=target_ms)
    if weight is None:
        raise typer.BadParameter("expected --penalty, what a ms or a million costs")
    names: dict[str, Cost] = {name: name for name in COSTS}
    if cost not in names:
        raise typer.BadParameter(f"--penalty-cost is one of {', '.join(COSTS)}, found {cost!r}")
    return Penalty(weight, names[cost])


def parse_limits(texts: Sequence[str]) -> dict[Cost, float]:
    """Return limits from texts such as ``params=2e6``."""
    from search.objective import COSTS

    names: dict[str, Cost] = {name: name for name in COSTS}
    limits = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limits[names[name]] = float(value)
        except (KeyError, ValueError):
            known = ", ".join(COSTS)
            raise typer.BadParameter(
                f"expected a limit such as params=2e6 (there are {known}), found {text!r}"
            ) from None
    return limits


def parse_settings(texts: Sequence[str]) -> dict[str, str | int | float | bool]:
    """Return settings from texts such as ``epochs=2``; numbers, true and false are no texts."""
    settings: dict[str, str | int | float | bool] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"expected a setting such as epochs=2, found {text!r}")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        settings[name] = parsed if isinstance(parsed, str | int | float | bool) else value
    return settings
