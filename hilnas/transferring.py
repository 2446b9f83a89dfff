"""A new device in minutes: what ``hilnas profile --prior`` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.console import emit, table_store

if TYPE_CHECKING:
    from device_agents.measurement import Agent
    from latency_tables.profile import Request
    from networks.layers import Layer

Priors = Annotated[
    list[str] | None,
    typer.Option(
        "--prior",
        help="Table of another device or condition, to predict what the budget does not reach;"
        " may be repeated.",
    ),
]


def transfer(
    agents: Sequence[Agent],
    layers: Sequence[Layer],
    name: str,
    priors: Sequence[str],
    request: Request,
    uses: Mapping[Layer, float],
    progress: Callable[[int, int, str], None],
    *,
    as_json: bool,
) -> int:
    """Profile with priors, print the result, and return the exit code."""
    from latency_tables.transfer import profile_with_priors

    if len(agents) > 1 or request.budget_s is None:
        raise typer.BadParameter(
            f"--prior takes one device and a --budget, found {len(agents)} devices and"
            f" {'no budget' if request.budget_s is None else 'a budget'}"
        )
    store = table_store()
    result = profile_with_priors(
        agents[0], layers, store.directory(name), [store.load(prior) for prior in priors],
        request, budget_s=request.budget_s, uses=uses, progress=progress,
    )  # fmt: skip
    found = result.profile
    values = {
        "table": str(found.table), "layers": found.layers, "measured": found.measured,
        "invalid": dict(found.invalid), "unstable": found.unstable, "coverage": found.coverage,
        "remaining": found.remaining, "wall_s": found.wall_s, "journal": str(found.journal),
        "validated": found.validated, "granularity": "layer", "drained": {},
        "predicted": result.predicted,
        "expected_layer_error_pct": result.expected_layer_error_pct,
        "expected_network_error_pct": result.expected_network_error_pct,
        "next_minute_layers": result.next_layers,
        "next_minute_layer_error_pct": result.next_layer_error_pct,
    }  # fmt: skip
    emit(values, str(result), as_json=as_json)
    whole = found.validated and not found.remaining and not found.invalid
    return 0 if whole and result.expected_network_error_pct is not None else 3
