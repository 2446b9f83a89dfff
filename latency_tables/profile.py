"""Profiling: has a space's layers and a few whole networks measured, and publishes the table.

    layers, networks -> .tflite files -> one interleaved session -> journal -> table version

Whatever was visited before, under the same condition and of the same bytes, is not visited again:
a profile that was interrupted goes on where it stopped when it is run again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_agents.measurement import Agent, Condition, Plan
from exporters.catalog import make_exporter
from exporters.exporter import Exporter
from latency_tables.coverage import measure_coverage
from latency_tables.errors import ConditionMismatch, NotMeasured, TableNotFound
from latency_tables.journal import Journal, JournalWriter
from latency_tables.measuring import Progress, export_models, measure_into, silent
from latency_tables.publishing import build_table
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.layers import Layer
from networks.network import Network


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """What a profile came to.

    ``layers`` were asked for; of these ``measured`` have a row, ``unstable`` among them have one
    whose visits did not agree, ``invalid`` were tried and failed (key -> reason), and
    ``remaining`` were not visited enough within the budget. ``coverage`` is measured / layers.
    """

    table: Path
    layers: int
    measured: int
    unstable: int
    invalid: Mapping[str, str]
    remaining: int
    coverage: float
    wall_s: float
    journal: Path


def profile(
    agent: Agent,
    layers: Sequence[Layer],
    directory: TableDirectory,
    *,
    networks: Sequence[Network] = (),
    precision: str = "float32",
    plan: Plan | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    exporter: Exporter | None = None,
    tool_version: str = "",
    progress: Progress | None = None,
) -> ProfileResult:
    """Measure what the journal lacks of these layers, and publish a new version of the table.

    Args:
        networks: whole networks to calibrate with, see `calibration.choose_networks`.
        budget_s: wall-clock seconds for exporting and measuring; when they are over, what was
            measured is published as a partial table. None: until all is done.
        seed: of the random weights and of the order of visits.
        exporter: of this precision; by default the direct one.
        progress: called with (done, total, what) some times a second.

    Raises:
        JournalLocked: another process profiles into this table.
        ConditionMismatch: the table holds another condition.
        NotMeasured: the budget was over before any layer had enough visits.
        ExportError: a file could not be written.
        DeviceError: the device as a whole cannot measure.
    """
    started_s = time.monotonic()
    report = progress or silent
    exporter = exporter or make_exporter(precision=precision, seed=seed)
    plan = plan or agent.default_plan
    condition = agent.condition(precision=precision, plan=plan)
    with JournalWriter.open(directory.journal) as journal:
        _check_condition(directory, condition)
        with tempfile.TemporaryDirectory(prefix="hilnas-") as work:
            models = export_models(layers, networks, Path(work), seed, exporter, report)
            journal.name(model for model, _ in models)
            deadline_s = None if budget_s is None else started_s + budget_s
            measure_into(
                journal, agent, [file for _, file in models], plan,
                condition=condition, purpose="profile", seed=seed, tool_version=tool_version,
                deadline_s=deadline_s, progress=report,
            )  # fmt: skip
        table = build_table(directory.name, journal, condition, plan, address=agent.address)
        if not len(table):
            raise NotMeasured(_why_nothing(journal, table, budget_s))
        file = directory.publish(table)
    return _result(table, layers, file, directory.journal, time.monotonic() - started_s)


def _check_condition(directory: TableDirectory, condition: Condition) -> None:
    try:
        table = directory.load()
    except TableNotFound:
        return
    if table.condition != condition:
        raise ConditionMismatch(f"profile into {directory.name!r}", table.condition, condition)


def _why_nothing(journal: Journal, table: LatencyTable, budget_s: float | None) -> str:
    if table.invalid:
        layer, reason = next(iter(table.invalid.items()))
        return f"no layer could be measured: {layer}: {reason}"
    return (
        f"no layer has enough visits yet ({journal.count_visits()} visits are kept in"
        f" {journal.path}): expected a budget longer than {budget_s or 0:g} s; run again to go on"
    )


def _result(
    table: LatencyTable, layers: Sequence[Layer], file: Path, journal: Path, wall_s: float
) -> ProfileResult:
    coverage = measure_coverage(table, layers)
    missing = set(coverage.missing)
    keys = {layer.key for layer in layers}
    rows = table.rows.to_pydict()
    unstable = {
        layer
        for layer, status in zip(rows["layer"], rows["status"], strict=True)
        if status == "unstable"
    }
    invalid = {layer: reason for layer, reason in table.invalid.items() if layer in missing}
    return ProfileResult(
        table=file,
        layers=coverage.layers,
        measured=coverage.layers - len(missing),
        unstable=len(unstable & keys),
        invalid=invalid,
        remaining=len(missing) - len(invalid),
        coverage=coverage.share,
        wall_s=wall_s,
        journal=journal,
    )
