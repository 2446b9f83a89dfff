"""Anchor check: a table's anchors measured again in fresh sessions, before any row is.

    some sessions --judge--> within their bands: done
                             beyond: as many again, and all of them decide
                             the core slower than ever: on, until it is at its pace, or 3 minutes

The visits stay in the journal, marked so that no row is ever made of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from device_agents.floor import reference_pace_ns
from device_agents.measurement import Agent, Condition, ModelFile, Outcome, Plan, Visit
from exporters.exporter import Exporter
from latency_tables.anchors import fresh_processes, read_session, table_noise
from latency_tables.drift import NETWORK, DriftReport, Readings, judge
from latency_tables.errors import NotMeasured
from latency_tables.fleet import Fleet
from latency_tables.granularity import granularity_of_keys
from latency_tables.journal import JournalWriter
from latency_tables.measuring import Progress, export_models, measure_into
from latency_tables.plan_time import plan_time
from latency_tables.table import Anchor
from latency_tables.units import parse_unit
from networks.names import find_network

PATIENCE_S = 180.0  # the core's fast state comes for some 20 s about once a minute


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
        self._sessions: list[Readings] = []
        self._visits: list[Visit] = []

    def run(self, work: Path, seed: int, exporter: Exporter) -> DriftReport:
        """Return what the anchors say; they are exported into ``work`` first.

        Raises:
            NotMeasured: the time was over before, or the device refused every anchor.
        """
        files = self._export(work, seed, exporter)
        processes = fresh_processes(self._plan)
        report = self._look(files, processes)
        if report.is_drifted and not self._is_over:
            report = self._look(files, processes)
        while self._is_slow(report) and self._has_patience():
            report = self._look(files, 1)
        if not report.is_drifted:
            self._accept()
        return report

    def _export(
        self, work: Path, seed: int, exporter: Exporter
    ) -> dict[str, tuple[ModelFile, str]]:
        layers = [parse_unit(a.label) for a in self._anchors if a.kind != NETWORK]
        networks = [find_network(a.label) for a in self._anchors if a.kind == NETWORK]
        granularity = granularity_of_keys([layer.key for layer in layers])
        models = export_models(layers, networks, work, seed, exporter, self._progress, granularity)
        self._journal.name(model for model, _ in models)
        return {
            model.sha256: (ModelFile(file.path, file.sha256, "layer"), model.label)
            for model, file in models
        }

    def _look(self, files: dict[str, tuple[ModelFile, str]], sessions: int) -> DriftReport:
        for _ in range(sessions):
            outcomes = self._measure([file for file, _ in files.values()])
            labels = {sha256: label for sha256, (_, label) in files.items()}
            readings = read_session(
                outcomes, labels, self._condition, self._plan, pace_ns=self._pace_ns
            )
            if readings:
                self._sessions.append(readings)
            self._visits += [
                v for visits in outcomes.values() for v in visits if isinstance(v, Visit)
            ]
        if not self._sessions:
            raise NotMeasured(
                "no anchor could be measured: expected a longer budget, or a device that takes"
                f" its models; tried {', '.join(label for _, label in files.values())}"
            )
        return judge(self._anchors, self._sessions, self._noise, pace=self._pace())

    def _measure(self, files: Sequence[ModelFile]) -> dict[str, list[Outcome]]:
        number = len(self._sessions)

        def tell(done: int, total: int, text: str) -> None:
            self._progress(done, total, f"anchors, session {number + 1}: {text}")

        return measure_into(
            self._journal, Fleet(self._agent), files, self._plan, condition=self._condition,
            purpose="anchors", seed=number, tool_version=self._tool_version,
            deadline_s=self._deadline_s, progress=tell,
        )  # fmt: skip

    def _accept(self) -> None:
        """Say in the journal that the sessions so far were within their bands."""
        self._journal.begin(
            started_unix_s=time.time(), purpose="anchors-within", address=self._agent.address,
            tool_version=self._tool_version, seed=len(self._sessions), condition=self._condition,
            serial=self._agent.serial,
        )  # fmt: skip

    def _pace(self) -> float | None:
        now_ns = reference_pace_ns(self._visits)
        if now_ns is None or self._pace_ns is None:
            return None
        return now_ns / self._pace_ns - 1

    def _is_slow(self, report: DriftReport) -> bool:
        return report.pace is not None and report.pace.value > report.pace.band

    @property
    def _is_over(self) -> bool:
        return self._deadline_s is not None and time.monotonic() >= self._deadline_s

    def _has_patience(self) -> bool:
        if self._is_over:
            return False
        times = [visit.started_unix_s for visit in self._visits]
        return max(times) - min(times) < PATIENCE_S
