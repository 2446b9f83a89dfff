"""Conditions, visits and tables that the tests of this folder share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device_agents.measurement import Condition, Origin, Visit
from device_agents.processes import ProcessVisit
from latency_tables.store import TableDirectory, TableStore
from latency_tables.table import LatencyTable, Provenance, Row

CONDITION = Condition(
    device="test-machine", soc="test-soc", os_build="test-os", runtime="ai-edge-litert 2.3.0",
    delegate="xnnpack", precision="float32", threads=1, cores="0", power_mode="unknown", batch=1,
    method="resident", statistic="thread-cpu-time", summary="floor-3-of-minima-1.5%",
)  # fmt: skip
OTHER_CONDITION = replace(CONDITION, precision="int8", threads=4)
PROVENANCE = Provenance("test:", "0", "journal.sqlite", (1,))


def make_visit(sha256: str = "a" * 64, at: float = 1.0, hot_ns: int = 1000) -> Visit:
    """Return a visit whose CPU and wall samples are equal."""
    hot = (hot_ns, hot_ns + 10, hot_ns + 1)
    return Visit(sha256, at, hot_ns * 2, hot_ns * 2, hot, hot, 0, 0.5, 0.0, 9600)


def make_process(
    sha256: str = "a" * 64,
    at: float = 1.0,
    ns: int = 1000,
    *,
    median: bool = True,
    raw: str = "",
    origin: Origin | None = None,
) -> ProcessVisit:
    """Return a process whose value is ``ns``, from a tool with medians or an older one."""
    return ProcessVisit(
        sha256, at, warmup_runs=10, runs=50, init_ns=5, first_ns=2 * ns, min_ns=ns, mean_ns=ns,
        max_ns=3 * ns, median_ns=ns if median else None, raw=raw, origin=origin,
    )  # fmt: skip


def make_row(layer: str, hot_ms: float = 1.0, at: float = 1.0) -> Row:
    """Return a settled row."""
    return Row(layer, hot_ms, hot_ms * 1.2, 6, "ok", 0.01, at, f"{hash(layer) % 2**64:064x}")


@pytest.fixture
def table() -> LatencyTable:
    """A table of three rows."""
    rows = [make_row(f"v1/conv/8x8x{c}/c8/k1/s1/relu/se0/none", c / 7) for c in (3, 5, 4)]
    return LatencyTable.from_rows(
        "test", CONDITION, rows, provenance=PROVENANCE, invalid={"v1/x": "crashed: signal 11"}
    )


@pytest.fixture
def directory(tmp_path: Path) -> TableDirectory:
    """The place of a table that does not exist yet."""
    return TableStore(tmp_path).directory("test")
