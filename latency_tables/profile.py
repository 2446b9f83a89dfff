"""Profiling: has a space's layers and a few whole networks measured, and publishes the table.

    layers, networks -> .tflite files -> one interleaved session -> journal -> table version
                                         of a whole new table: its anchors, see `references`

Whatever was visited before, under the same condition and of the same bytes, is not visited again:
a profile that was interrupted goes on where it stopped when it is run again.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from device_agents.errors import DeviceError
from device_agents.measurement import (
    Agent,
    Condition,
    ModelFile,
    Plan,
    ResidentPlan,
)
from device_agents.packs import PackedPlan
from exporters.catalog import make_exporter
from exporters.exporter import Exporter
from latency_tables.anchors import choose_anchors, mark_anchors
from latency_tables.coverage import measure_coverage
from latency_tables.errors import NotMeasured, TableNotFound
from latency_tables.fleet import Fleet, Outcomes
from latency_tables.floors import is_enough, plan_of
from latency_tables.granularity import (
    granularity_of_keys,
    granularity_of_units,
    only_layers,
    require_one_granularity,
)
from latency_tables.guards import require_known, require_same
from latency_tables.journal import Journal, JournalWriter, Model
from latency_tables.measuring import (
    Progress,
    earlier_visits,
    export_models,
    measure_into,
    silent,
)
from latency_tables.packed import export_packed
from latency_tables.plan_time import Announce, Forecast, forecast
from latency_tables.publishing import build_table
from latency_tables.references import take_references, wants_references
from latency_tables.specimens import Given, admit
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.names import NamedNetwork
from networks.operators import Unit


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """What a profile came to.

    ``layers`` were asked for; of these ``measured`` have a row, ``unstable`` among them have one
    whose visits did not agree, ``invalid`` were tried and failed (key -> reason), and
    ``remaining`` were not visited enough within the budget. ``coverage`` is measured / layers.
    ``validated`` is false of packs whose check does not hold.
    ``drained`` are addresses that failed on the way, and why; others did their work.
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
    drained: Mapping[str, str]
    validated: bool


def profile(
    agent: Agent,
    layers: Sequence[Unit],
    directory: TableDirectory,
    *,
    networks: Sequence[NamedNetwork] = (),
    precision: str = "float32",
    plan: Plan | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    exporter: Exporter | None = None,
    tool_version: str = "",
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> ProfileResult:
    """Measure what the journal lacks of these layers, and publish a new version of the table.

    Args:
        layers: or single operators, not both; see `granularity.units_to_price`.
        networks: whole networks to calibrate with, see `calibration.choose_networks`.
        budget_s: wall-clock seconds for exporting and measuring; when they are over, what was
            measured is published as a partial table. None: until all is done.
        seed: of the random weights and of the order of visits.
        exporter: of this precision; by default the direct one.
        progress: called with (done, total, what) some times a second.
        announce: called once with how long the rest takes, before the device is asked for it.

    Raises:
        JournalLocked: another process profiles into this table.
        ConditionMismatch: the table holds another condition; nothing in it is touched.
        WrongGranularity: it holds layers and these are operators, or the reverse; or operators
            are to be packed.
        DeviceSwapped: another device answers at an address that is in the journal.
        NotMeasured: the budget was over before any layer had enough visits.
        ExportError: a file could not be written.
        DeviceError: the device as a whole cannot measure.
    """
    return profile_group(
        Fleet(agent), layers, directory,
        Request(networks, precision, plan, budget_s, seed, exporter, tool_version, announce),
        progress or silent,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of a profile, beside layers and where the table goes; see `profile`."""

    networks: Sequence[NamedNetwork] = ()
    precision: str = "float32"
    plan: Plan | None = None
    budget_s: float | None = None
    seed: int = 0
    exporter: Exporter | None = None
    tool_version: str = ""
    announce: Announce | None = None


def profile_group(
    fleet: Fleet,
    layers: Sequence[Unit],
    directory: TableDirectory,
    wanted: Request,
    report: Progress,
    given: Given | None = None,
) -> ProfileResult:
    """Profile with devices that share a table; ``given`` is what they made of its anchors."""
    started_s = time.monotonic()
    agent, seed = fleet.agents[0], wanted.seed
    plan = wanted.plan or agent.default_plan
    exporter = wanted.exporter or make_exporter(precision=wanted.precision, seed=seed)
    condition = agent.condition(precision=wanted.precision, plan=plan)
    with JournalWriter.open(directory.journal) as journal:
        _check_table(directory, journal, condition, layers)
        for member in fleet.agents:
            require_known(member, journal)
        with tempfile.TemporaryDirectory(prefix="hilnas-") as work:
            models = _export(layers, wanted, plan, Path(work), exporter, report)
            journal.name(model for model, _ in models)
            files = [file for _, file in models]
            if not isinstance(plan, ResidentPlan):
                files = mark_anchors(models)
            done = earlier_visits(journal, files, condition)
            if wanted.announce is not None:
                wanted.announce(_forecast(models, done, condition, plan, wanted, fleet))
            deadline_s = None if wanted.budget_s is None else started_s + wanted.budget_s
            given = admit(journal, fleet, choose_anchors(models), condition, plan, given or {})
            made = measure_into(
                journal, fleet, files, plan,
                condition=condition, purpose="profile", seed=seed,
                tool_version=wanted.tool_version, deadline_s=deadline_s, progress=report,
                done=done, given=given,
            )  # fmt: skip
            table = build_table(directory.name, journal, condition, plan, address=agent.address)
            if (
                made and len(fleet.agents) == 1 and isinstance(plan, ResidentPlan)
                and wants_references(journal, table, layers, plan)
            ):  # fmt: skip
                with suppress(DeviceError):  # the table is done, and does without them
                    take_references(
                        journal, agent, table, models, plan, tool_version=wanted.tool_version,
                        deadline_s=deadline_s, progress=report,
                    )  # fmt: skip
                table = build_table(directory.name, journal, condition, plan, address=agent.address)
        if not len(table):
            raise NotMeasured(_why_nothing(journal, table, wanted.budget_s))
        file = directory.publish(table)
    wall_s = time.monotonic() - started_s
    return _result(table, layers, file, directory.journal, wall_s, fleet.drained)


def _forecast(
    models: Sequence[tuple[Model, ModelFile]],
    done: Outcomes,
    condition: Condition,
    plan: Plan,
    wanted: Request,
    fleet: Fleet,
) -> Forecast:
    """Return how long it takes to measure what the journal lacks."""
    lacking = Counter(
        model.role
        for model, _ in models
        if not is_enough(done[model.sha256], condition, plan_of(plan, model.role))
    )
    layers = lacking["layer"]
    if isinstance(plan, PackedPlan):  # those that lie in packs which were not profiled yet
        packs = [m for m, _ in models if m.role == "pack"]
        unprofiled = [m for m in packs if not is_enough(done[m.sha256], condition, plan)]
        layers = len({key for model in unprofiled for key in model.layers})
    found = forecast(
        layers, lacking["network"], plan,
        budget_s=wanted.budget_s, devices=len(fleet.agents),
    )  # fmt: skip
    keys = [model.label for model, _ in models if model.role == "layer"]
    return replace(found, packed=None) if granularity_of_keys(keys) == "operator" else found


def _export(
    layers: Sequence[Unit],
    wanted: Request,
    plan: Plan,
    work: Path,
    exporter: Exporter,
    report: Progress,
) -> list[tuple[Model, ModelFile]]:
    if isinstance(plan, PackedPlan):
        return export_packed(
            only_layers(layers, "--method packed"), wanted.networks, work, plan,
            seed=wanted.seed, exporter=exporter, progress=report,
        )  # fmt: skip
    granularity = granularity_of_units(layers)
    return export_models(layers, wanted.networks, work, wanted.seed, exporter, report, granularity)


def _check_table(
    directory: TableDirectory, journal: Journal, condition: Condition, layers: Sequence[Unit]
) -> None:
    """Check that what is there may take these units under this condition."""
    known = [model.label for model in journal.models() if model.role == "layer"]
    require_one_granularity(directory.name, known, granularity_of_units(layers))
    try:
        table = directory.load()
    except TableNotFound:
        return
    require_same(f"profile into {directory.name!r}", table.condition, condition)
    keys = table.rows["layer"].slice(0, 1).to_pylist()
    require_one_granularity(directory.name, keys, granularity_of_units(layers))


def _why_nothing(journal: Journal, table: LatencyTable, budget_s: float | None) -> str:
    if table.invalid:
        layer, reason = next(iter(table.invalid.items()))
        return f"no layer could be measured: {layer}: {reason}"
    return (
        f"no layer has enough visits yet ({journal.count_visits()} visits are kept in"
        f" {journal.path}): expected a budget longer than {budget_s or 0:g} s; run again to go on"
    )


def _result(
    table: LatencyTable,
    layers: Sequence[Unit],
    file: Path,
    journal: Path,
    wall_s: float,
    drained: Mapping[str, str],
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
        drained=dict(drained),
        validated=table.is_validated,
    )
