"""What table show prints of a table: what it is, what ties it to the truth, and its rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from hilnas.console import columns, emit

if TYPE_CHECKING:
    import pyarrow as pa

    from latency_tables.table import LatencyTable

SLOWEST = 10
LONGEST = 80
RowStatus = Literal["ok", "unstable", "predicted"]


def show_rows(
    table: LatencyTable,
    *,
    holding: str | None,
    status: RowStatus | None,
    slowest: int | None,
    as_json: bool,
) -> None:
    """Print what is known of a table, and its slowest rows; of a choice of rows only these.

    As JSON everything, and all rows.

    Args:
        holding: only rows whose key holds this text.
        status: only rows of this status.
        slowest: at most so many rows.

    Raises:
        TableError: no key holds the text.
    """
    matching = _matching(table, holding, status)
    shown = matching.slice(0, slowest if as_json or slowest else SLOWEST)
    if as_json:
        values = describe(table) | {"matching": matching.num_rows, "rows": shown.to_pylist()}
        emit(values, None, as_json=True)
        return
    lines = [] if holding or status else [*_about(table), ""]
    lines.append(f"{matching.num_rows} of {len(table)} rows, the slowest first")
    if shown.num_rows:
        lines.append(_rows(shown))
    if shown.num_rows < matching.num_rows:
        lines.append(f"and {matching.num_rows - shown.num_rows} more: --slowest N, --layers TEXT")
    emit({}, "\n".join(lines), as_json=False)


def describe(table: LatencyTable) -> dict[str, object]:
    """Return everything but the rows, for JSON."""
    from latency_tables.table import LEVEL

    description = table.describe()
    counts = _counts(table)
    times = table.rows["measured_unix_s"].to_pylist()
    return {
        "table": table.name, "layers": len(table), "unstable": counts["unstable"],
        "counts": counts, "invalid": dict(table.invalid), "condition": table.condition.to_dict(),
        "calibration": description["calibration"], "scale_interval": scale_interval(table),
        "level": LEVEL, "networks": description["networks"], "anchors": description["anchors"],
        "check": description["check"], "provenance": description["provenance"],
        "oldest_unix_s": min(times, default=None), "newest_unix_s": max(times, default=None),
        "versions": _versions(table), "schema": description["schema"],
    }  # fmt: skip


def scale_interval(table: LatencyTable) -> tuple[float, float] | None:
    """Return where another session would put the scale, 90 %; None where nothing tells."""
    from latency_tables.uncertainty import interval_ms

    fit = table.calibration
    if fit is None or fit.scale_std is None:
        return None
    freedom = max(1, fit.networks - 1 - len(fit.coefficients))
    return interval_ms(fit.scale, fit.scale * fit.scale_std, freedom=freedom)


def _matching(table: LatencyTable, holding: str | None, status: RowStatus | None) -> pa.Table:
    import pyarrow.compute as pc

    from latency_tables.errors import TableError

    rows = table.rows
    if holding is not None:
        rows = rows.filter(pc.match_substring(rows["layer"], holding))
        if not rows.num_rows:
            raise TableError(
                f"table {table.name!r}: expected rows whose key holds {holding!r}, found none of"
                f" {len(table)}; leave out --layers to see some"
            )
    if status is not None:
        rows = rows.filter(pc.equal(rows["status"], status))
    return rows.sort_by([("hot_ms", "descending"), ("layer", "ascending")])


def _about(table: LatencyTable) -> list[str]:
    counts = _counts(table)
    lines = [f"{table.name}: {len(table)} rows: {', '.join(f'{n} {s}' for s, n in counts.items())}"]
    lines += [f"  {key:<12}{value}" for key, value in table.condition.to_dict().items()]
    lines.append(f"  {'scale':<12}{_calibration(table)}")
    if table.check is not None:
        lines.append(f"  {'packs':<12}{_packs(table)}")
    times = table.rows["measured_unix_s"].to_pylist()
    if times:
        lines.append(f"  {'measured':<12}{_utc(min(times))} to {_utc(max(times))}")
    where, serial = table.provenance, table.provenance.serial
    lines.append(f"  {'address':<12}{where.address}" + (f", serial {serial}" if serial else ""))
    lines.append(f"  {'versions':<12}" + ", ".join(f"{k} {v}" for k, v in _versions(table).items()))
    lines += [f"  {'invalid':<12}{layer}: {why}" for layer, why in list(table.invalid.items())[:3]]
    if len(table.invalid) > 3:
        lines.append(f"  {'':<12}and {len(table.invalid) - 3} more, see --json")
    if table.anchors:
        anchors = [
            [_short(f"{a.kind} {a.label}"), f"{a.latency_ms:.4f}", f"{100 * a.band:.1f} %"]
            for a in table.anchors
        ]
        lines += ["", columns(["anchors", "ms", "band"], anchors)]
    return lines


def _calibration(table: LatencyTable) -> str:
    fit = table.calibration
    if fit is None:
        return "none: no whole network was measured"
    reach = scale_interval(table)
    where = "" if reach is None else f", {reach[0]:.4f} to {reach[1]:.4f} in another session (90 %)"
    return f"{fit.scale:.4f}{where}, {fit.kind} from {fit.networks} networks"


def _packs(table: LatencyTable) -> str:
    check = table.check
    assert check is not None
    return f"median error {100 * check.layer_error:.1f} % of {check.layers} layers timed clean" + (
        "" if check.holds else ": not validated"
    )


def _rows(rows: pa.Table) -> str:
    found = rows.to_pylist()
    header = ["layer", "hot ms", "90 % low", "high", "p90 ms", "cold ms", "visits", "status"]
    names = ("hot_ms", "low_ms", "high_ms", "p90_ms", "cold_ms")
    lines = [
        [row["layer"], *(_ms(row[name]) for name in names), str(row["visits"]), row["status"]]
        for row in found
    ]
    if any(row["reason"] for row in found):
        header.append("why")
        lines = [[*line, row["reason"]] for line, row in zip(lines, found, strict=True)]
    return columns(header, lines)


def _counts(table: LatencyTable) -> dict[str, int]:
    import pyarrow.compute as pc

    found = {c["values"]: c["counts"] for c in pc.value_counts(table.rows["status"]).to_pylist()}
    counts = {status: found.get(status, 0) for status in ("ok", "unstable", "predicted")}
    return counts | {"invalid": len(table.invalid)}


def _versions(table: LatencyTable) -> dict[str, str]:
    return {
        "hilnas": table.provenance.tool_version or "unknown",
        "runtime": table.condition.runtime,
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _utc(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
