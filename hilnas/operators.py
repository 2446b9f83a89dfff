"""Where a network's time goes by kind of operator: what table show --by operator prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hilnas.console import columns, decimals_of, emit, named_network

if TYPE_CHECKING:
    from latency_tables.operator_pricing import TimeShare
    from latency_tables.table import LatencyTable

MOST_OPERATORS = 10


def show_by_operator(table: LatencyTable, text: str, *, as_json: bool) -> None:
    """Print the network's latency by kind of operator, and its slowest operators.

    Args:
        text: as `console.named_network` takes it.
    """
    from latency_tables.operator_pricing import (
        CALL,
        predict_operators,
        shares_by_kind,
        shares_by_operator,
    )
    from networks.operators import operators_of

    network, _ = named_network(text)
    prediction = predict_operators(table, operators_of(network))
    kinds = shares_by_kind(prediction)
    slowest = shares_by_operator(prediction)[:MOST_OPERATORS]
    values = {
        "table": table.name, "network": text, "latency_ms": prediction.latency_ms,
        "std_ms": prediction.std_ms, "kinds": [dataclasses.asdict(kind) for kind in kinds],
        "slowest": [dataclasses.asdict(share) for share in slowest],
    }  # fmt: skip
    count = sum(kind.operators for kind in kinds if kind.name != CALL)
    decimals = decimals_of([prediction.latency_ms])
    lines = [
        f"{text} by {table.name}: {prediction.latency_ms:.{decimals}f} ms in {count} operators",
        "",
        _columns("kind", kinds),
        "",
        _columns("slowest operators", slowest),
    ]
    emit(values, "\n".join(lines), as_json=as_json)


def _columns(header: str, shares: Sequence[TimeShare]) -> str:
    rows = [
        [s.name, str(s.operators), f"{s.latency_ms:.4f}", f"{100 * s.share:.1f} %"] for s in shares
    ]
    return columns([header, "operators", "ms", "share"], rows)
