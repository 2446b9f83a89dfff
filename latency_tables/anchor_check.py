"""Anchor check: a table's anchors measured again in fresh sessions, before any row is.

    export --> sessions, as many as `drift.look_at_anchors` asks for --> report

The visits stay in the journal, marked so that no row is ever made of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from device_agents.measurement import Agent, Condition, ModelFile, Plan, Visit
from exporters.exporter import Exporter
from latency_tables.anchors import Outcomes, fresh_processes, read_session, table_noise
from latency_tables.drift import AnchorSession, Readings, look_at_anchors
from latency_tables.drift_report import NETWORK, DriftReport
from latency_tables.errors import NotMeasured
from latency_tables.fleet import Fleet
from latency_tables.granularity import granularity_of_keys
from latency_tables.journal import JournalWriter
from latency_tables.measuring import Progress, export_models, measure_into
from latency_tables.plan_time import plan_time
from latency_tables.table import Anchor
from latency_tables.units import parse_unit
from networks.names import find_network


def check_time_s(anchors: Sequence[Anchor], plan: Plan) -> float:
    """Return how long the first look takes, at least, in seconds."""
    return fresh_processes(plan) * plan_time(len(anchors), 0, plan).wall_s


class AnchorCheck:
    """The anchors of one table on one device; see the module.

    Args:
        deadline_s: when to stop, by ``time.monotonic``.
    """

    def __init__(
        self,
        journal: JournalWriter,
        agent: Agent,
        anchors: Sequence[Anchor],
        condition: Condition,
        plan: Plan,
        *,
        tool_version: str,
        deadline_s: float | None,
        progress: Progress,
    ) -> None:
        self._journal, self._agent, self._anchors = journal, agent, anchors
        self._condition, self._plan = condition, plan
        self._tool_version, self._deadline_s = tool_version, deadline_s
        self._progress = progress
        self._pace_ns = journal.pace_ns(condition)
        self._noise = table_noise(journal, condition, plan, pace_ns=self._pace_ns)
        self._taken = 0

    def run(self, work: Path, seed: int, exporter: Exporter) -> DriftReport:
        """Return what the anchors say; they are exported into ``work`` first.

        Raises:
            NotMeasured: the time was over before, or the device refused every anchor.
        """
        files = self.export(work, seed, exporter)
        report = look_at_anchors(
            self._anchors, self._noise, lambda: self.take(files),
            sessions=fresh_processes(self._plan), pace_ns=self._pace_ns,
        )  # fmt: skip
        if report is None:
            raise NotMeasured(
                "no anchor could be measured: expected a longer budget, or a device that takes"
                f" its models; tried {', '.join(label for _, label in files.values())}"
            )
        if not report.is_drifted:
            self.accept()
        return report

    def export(self, work: Path, seed: int, exporter: Exporter) -> dict[str, tuple[ModelFile, str]]:
        """Return the anchors' files and labels by sha256, and name them in the journal."""
        layers = [parse_unit(a.label) for a in self._anchors if a.kind != NETWORK]
        networks = [find_network(a.label) for a in self._anchors if a.kind == NETWORK]
        granularity = granularity_of_keys([layer.key for layer in layers])
        models = export_models(layers, networks, work, seed, exporter, self._progress, granularity)
        self._journal.name(model for model, _ in models)
        return {
            model.sha256: (ModelFile(file.path, file.sha256, "layer"), model.label)
            for model, file in models
        }

    def take(self, files: Mapping[str, tuple[ModelFile, str]]) -> AnchorSession | None:
        """Measure the anchors in a session of their own; None where the time was over before."""
        number = self._taken

        def tell(done: int, total: int, text: str) -> None:
            self._progress(done, total, f"anchors, session {number + 1}: {text}")

        outcomes = measure_into(
            self._journal, Fleet(self._agent), [file for file, _ in files.values()], self._plan,
            condition=self._condition, purpose="anchors", seed=number,
            tool_version=self._tool_version, deadline_s=self._deadline_s, progress=tell,
        )  # fmt: skip
        is_over = self._deadline_s is not None and time.monotonic() >= self._deadline_s
        labels = {sha256: label for sha256, (_, label) in files.items()}
        readings = read_session(
            outcomes, labels, self._condition, self._plan, pace_ns=self._pace_ns
        )
        if is_over or not readings:
            return None
        self._taken += 1
        return session_of(readings, outcomes)

    def accept(self) -> None:
        """Say in the journal that the sessions so far are of the device as it was."""
        self._journal.begin(
            started_unix_s=time.time(), purpose="anchors-within", address=self._agent.address,
            tool_version=self._tool_version, seed=self._taken, condition=self._condition,
            serial=self._agent.serial,
        )  # fmt: skip


def session_of(readings: Readings, outcomes: Outcomes) -> AnchorSession:
    """Return the session that had these outcomes."""
    made = [outcome for of_model in outcomes.values() for outcome in of_model]
    visits = [visit for visit in made if isinstance(visit, Visit)]
    paces_ns = tuple(visit.pace_ns for visit in visits if visit.pace_ns is not None)
    times = [outcome.started_unix_s for outcome in made]
    load = median(visit.load for visit in visits) if visits else None
    return AnchorSession(readings, paces_ns, min(times), max(times), load)
