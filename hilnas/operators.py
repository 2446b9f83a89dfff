"""Where a network's time goes by kind of operator: what table show --by operator prints."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from hilnas.console import columns, emit, named_network

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable

MOST_OPERATORS = 10


def show_by_operator(table: LatencyTable, text: str, *, as_json: bool) -> None:
    """Print the network's latency by kind of operator, and its slowest operators.

    Args:
        text: as `console.named_network` takes it.
    """
    from latency_tables.operator_pricing import CALL, predict_operators, shares_by_kind
    from networks.operators import operators_of

    network, _ = named_network(text)
    prediction = predict_operators(table, operators_of(network))
    kinds = shares_by_kind(prediction)
    slowest = sorted(prediction.layers, key=lambda share: (-share[1], share[0]))[:MOST_OPERATORS]
    values = {
        "table": table.name, "network": text, "latency_ms": prediction.latency_ms,
        "std_ms": prediction.std_ms, "kinds": [dataclasses.asdict(kind) for kind in kinds],
        "slowest": [{"operator": key, "latency_ms": share_ms} for key, share_ms in slowest],
    }  # fmt: skip

    def shares(ms: float) -> list[str]:
        return [f"{ms:.4f}", f"{100 * ms / prediction.latency_ms:.1f} %"]

    count = sum(kind.operators for kind in kinds if kind.kind != CALL)
    rows = [[kind.kind, str(kind.operators), *shares(kind.latency_ms)] for kind in kinds]
    lines = [
        f"{text} by {table.name}: {prediction.latency_ms:.3f} ms in {count} operators",
        "",
        columns(["kind", "operators", "ms", "share"], rows),
        "",
        columns(["slowest operators", "ms", "share"], [[key, *shares(ms)] for key, ms in slowest]),
    ]
    emit(values, "\n".join(lines), as_json=as_json)
