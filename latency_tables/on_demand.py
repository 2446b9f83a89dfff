"""On demand: a predictor that asks the device for layers that nobody measured, as they come up.

    genotypes --> layers whose row is predicted --> measured, into the journal --> latencies

A search needs the layers of the networks that it proposes, which are few of a large space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from device_agents.measurement import Agent, Plan
from latency_tables.calibration import calibrate
from latency_tables.floors import default_plan
from latency_tables.measuring import Progress
from latency_tables.missing import Measure, interpolate, predicted_layers
from latency_tables.predictor import Latencies, Predictor, compile_predictor
from latency_tables.profile import profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.layers import Layer
from networks.spaces.chain import ChainSpace
from networks.spaces.space import Genotypes


class OnDemand:
    """Latencies of a space's genotypes, none of which rests on a prediction where it can be helped.

    ``predictor`` knows what is measured so far, and predicts the rest. ``table`` grows with what is
    measured and keeps the calibration that it had at first, so that networks of one search are
    compared by one scale. A layer that the device refuses stays unpriced. ``asked`` counts the
    layers that the device was asked for.
    """

    def __init__(
        self,
        table: LatencyTable,
        space: ChainSpace,
        measure: Measure,
        *,
        latency_of: Callable[[Predictor], Callable[[Genotypes], Latencies]] | None = None,
    ) -> None:
        """Interpolate what is missing for now.

        Args:
            latency_of: what to take of a predictor, such as a quantile; by default the mean.

        Raises:
            TableError: too few rows to interpolate from; measure all layers instead.
        """
        self.space, self.asked = space, 0
        self._measure, self._tried = measure, set[str]()
        self.table = interpolate(table, space.layers)
        self._calibration = self.table.calibration
        self.predictor = compile_predictor(self.table, space)
        self._latency_of = latency_of or (lambda predictor: predictor.predict)

    def predict(self, genotypes: npt.ArrayLike) -> Latencies:
        """Return the latency of each genotype in milliseconds, shape ``(n,)``.

        Raises:
            MissingLayers: the device refuses a layer.
            Otherwise as `Predictor.predict` and as what measures.
        """
        rows = self.space.canonical(genotypes)
        networks = [self.space.decode(row) for row in np.unique(rows, axis=0)]
        used = {layer.key: layer for network in networks for layer in network.layers}
        lacking = [used[key] for key in predicted_layers(self.table, used)]
        lacking = [layer for layer in lacking if layer.key not in self._tried]
        if lacking:
            self._tried.update(layer.key for layer in lacking)
            self.asked += len(lacking)
            grown = interpolate(self._measure(lacking), self.space.layers)
            self.table = replace(grown, calibration=self._calibration)
            self.predictor = compile_predictor(self.table, self.space)
        return self._latency_of(self.predictor)(rows)


def measure_with(
    agent: Agent,
    table: LatencyTable,
    directory: TableDirectory,
    *,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> Measure:
    """Return what measures layers through `profile` and returns the table with their rows.

    Args:
        table: the rows that there are; what is measured is added to them.
        directory: of the journal that takes the visits, and of the versions made of it.
        plan: by default the agent's own for the table's method.
    """
    wanted = plan or default_plan(agent, table.condition.method)

    def measure(layers: Sequence[Layer]) -> LatencyTable:
        profile(
            agent, layers, directory, precision=table.condition.precision, plan=wanted,
            tool_version=version("hilnas"), progress=progress,
        )  # fmt: skip
        return calibrate(table.extend(directory.load()))

    return measure
