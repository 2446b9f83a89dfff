"""DeviceLatency: each network that a search proposes is exported and measured end to end.

As in the MnasNet paper, with what a shared device needs: the networks of a batch are visited
interleaved, in two sessions by new processes. The latency is the geometric mean of the two; its
standard deviation, of another session, is pooled over everything that was measured so far.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from device_agents.errors import DeviceError
from device_agents.floor import reference_pace_ns
from device_agents.measurement import Agent, Condition, ModelFile, Outcome, Plan, Visit
from exporters.catalog import make_exporter
from exporters.errors import ExportError
from exporters.exporter import Exporter, export_network
from latency_tables.errors import NotMeasured
from latency_tables.floors import plan_of, session_floor
from networks.spaces.space import Genotypes, NetworkSpace
from search.latency import FailedLatency, Latency

SESSIONS = 2


class DeviceLatency:
    """A `search.latency.LatencySource` on one device.

    Args:
        space: whose genotypes are measured.
        agent: the device, open.
        precision: of the exported models.
        plan: how they are measured; None: the device's own.
    """

    is_measured = True

    def __init__(
        self,
        space: NetworkSpace[Any],
        agent: Agent,
        *,
        precision: str = "float32",
        plan: Plan | None = None,
        exporter: Exporter | None = None,
        seed: int = 0,
    ) -> None:
        self._space, self._agent, self._seed = space, agent, seed
        self._exporter = exporter or make_exporter(precision=precision, seed=seed)
        self._plan = plan or agent.default_plan
        self.condition: Condition = agent.condition(precision=precision, plan=self._plan)
        digest = hashlib.sha256(repr(self.condition).encode()).hexdigest()[:12]
        self.name = f"device:{agent.address},{precision}:{digest}"
        self._squares: list[float] = []

    def latencies(self, genotypes: Genotypes) -> Iterator[Latency | FailedLatency]:
        """Yield one latency a row, once all of them are measured.

        Raises:
            DeviceError: the device as a whole cannot measure.
        """
        with tempfile.TemporaryDirectory(prefix="hilnas-") as work:
            files = [
                self._export(row, Path(work) / f"{i}.tflite") for i, row in enumerate(genotypes)
            ]
            models = [file for file in files if isinstance(file, ModelFile)]
            sessions = [self._session(models, number) for number in range(SESSIONS)]
        for file in files:
            if isinstance(file, FailedLatency):
                yield file
            else:
                yield self._combine([session[file.sha256] for session in sessions])

    def _export(self, genotype: Genotypes, path: Path) -> ModelFile | FailedLatency:
        try:
            network = self._space.decode(genotype)
            model = export_network(network, path, seed=self._seed, exporter=self._exporter)
        except ExportError as error:
            return FailedLatency(f"export: {error}")
        return ModelFile(model.path, model.sha256, "network")

    def _session(
        self, models: Sequence[ModelFile], number: int
    ) -> dict[str, float | FailedLatency]:
        """Return milliseconds by sha256, from one session."""
        outcomes: dict[str, list[Outcome]] = {model.sha256: [] for model in models}
        visits: list[Visit] = []
        for outcome in self._agent.measure(models, self._plan, seed=number) if models else ():
            outcomes.setdefault(outcome.sha256, []).append(outcome)
            if isinstance(outcome, Visit):
                visits.append(outcome)
        pace_ns = reference_pace_ns(visits) if visits else None
        plan = plan_of(self._plan, "network")
        found: dict[str, float | FailedLatency] = {}
        for sha256, made in outcomes.items():
            try:
                floor = session_floor(made, self.condition, plan, pace_ns=pace_ns)
            except (NotMeasured, DeviceError) as error:
                found[sha256] = FailedLatency(str(error))
            else:
                found[sha256] = floor.hot_ns / 1e6
        return found

    def _combine(self, found: Sequence[float | FailedLatency]) -> Latency | FailedLatency:
        values = [value for value in found if not isinstance(value, FailedLatency)]
        if len(values) < len(found):
            return next(value for value in found if isinstance(value, FailedLatency))
        logs = [math.log(value) for value in values]
        middle = sum(logs) / len(logs)
        self._squares.append(sum((log - middle) ** 2 for log in logs) / (len(logs) - 1))
        latency_ms = math.exp(middle)
        relative_std = math.sqrt(sum(self._squares) / len(self._squares))
        return Latency(latency_ms, relative_std * latency_ms)
