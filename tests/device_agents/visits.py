"""Visits made up for tests."""

from __future__ import annotations

from device_agents.measurement import Visit


def visit(
    hot_ns: int,
    *,
    sha256: str = "0" * 64,
    started_unix_s: float = 0.0,
    pace_ns: int | None = None,
) -> Visit:
    """Return a visit whose smallest hot sample is ``hot_ns``, of wall and of CPU time."""
    hot = (hot_ns + 7, hot_ns, hot_ns + 1)
    return Visit(sha256, started_unix_s, 2 * hot_ns, 2 * hot_ns, hot, hot, 0, 0.0, 0.0, pace_ns)
