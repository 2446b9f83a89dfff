"""Sources: the latencies of a run, from the name in its configuration.

table:FILE       one version of a latency table; settings latency_quantile, so that 0.95 counts
                 what 95 % of measurements stay under, and missing: raise, interpolate or
                     measure
device:ADDRESS   every network measured end to end; setting precision
csv              the column latency_ms of the evaluator's file (setting latency_column)
madds            millions of multiply-adds, for searches without any device
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from device_agents.measurement import Agent
from latency_tables.errors import MissingLayers, NotAdditive
from latency_tables.exact import price_space
from latency_tables.granularity import granularity_of
from latency_tables.missing import MissPolicy, complete, parse_policy
from latency_tables.on_demand import OnDemand, measure_with
from latency_tables.operator_pricing import predict_any
from latency_tables.predictor import compile_predictor
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from networks.spaces import AnySpace, DecodingSpace
from networks.spaces.chain import ChainSpace
from networks.spaces.nasnet import NasNetSpace
from networks.spaces.space import Genotypes, Space
from search.config import RunConfig, Scalar
from search.costs import costs_of
from search.errors import RunError
from search.evaluators.csv_study import CsvLatency
from search.guided import Candidates
from search.latency import (
    FailedLatency,
    FunctionLatency,
    Latency,
    LatencyFunction,
    LatencySource,
    TableLatency,
)
from search.tabular import TabularStudy

OpenDevice = Callable[[str], AbstractContextManager[Agent]]
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Source:
    """A latency source, and what is known of the space beforehand.

    function    latencies of whole batches, None where each has to be measured
    fastest_ms  the least latency of any network, where that is known
    within      draws networks that meet a latency, uniformly, where they can be counted
    note        what a user should know of it
    """

    latency: LatencySource
    function: LatencyFunction | None = None
    fastest_ms: float | None = None
    within: Callable[[float], Candidates] | None = None
    note: str | None = None


@contextmanager
def make_source(
    config: RunConfig,
    space: AnySpace,
    study: TabularStudy | None,
    *,
    open_device: OpenDevice | None = None,
) -> Iterator[Source]:
    """Yield the latencies of a run; a device is closed with the context.

    Raises:
        RunError: there is no such source, or it does not fit the space.
        TableError: the table cannot be read, or lacks a layer of the space.
        DeviceError: the device cannot be opened.
    """
    kind, _, value = config.latency.partition(":")
    if kind == "table" and value:
        with _table(Path(value), config, space, open_device or _open) as source:
            yield source
    elif kind == "device" and value:
        if not isinstance(space, DecodingSpace):
            raise RunError(f"{space.name} has decisions and no networks: nothing can be measured")
        from search.device_latency import DeviceLatency

        with (open_device or _open)(value) as agent:
            precision = str(config.settings.get("precision", "float32"))
            yield Source(DeviceLatency(space, agent, precision=precision, seed=config.seed))
    elif config.latency == "csv":
        if study is None:
            raise RunError("latency csv is a column of the evaluator's csv:FILE: name one")
        column = str(config.settings.get("latency_column", "latency_ms"))
        surrogate = bool(config.settings.get("surrogate", False))
        latency = CsvLatency(study, column, surrogate=surrogate)
        yield Source(
            latency, fastest_ms=None if surrogate else latency.fastest_ms, note=latency.note
        )
    elif config.latency == "madds":
        yield _madds(space)
    else:
        raise RunError(
            f"latency is table:NAME, device:ADDRESS, csv or madds, found {config.latency!r}"
        )


@contextmanager
def _table(
    file: Path, config: RunConfig, space: AnySpace, open_device: OpenDevice
) -> Iterator[Source]:
    table, quantile = LatencyTable.load(file), _quantile(config.settings)
    policy = parse_policy(str(config.settings.get("missing", "raise")))
    if isinstance(space, ChainSpace) and policy == "measure":
        directory = TableDirectory(file.parent.parent)
        if not directory.journal.is_file():
            raise RunError(
                f"missing=measure: expected a journal beside the table, found none at"
                f" {directory.journal}; use a table by its name, or missing=interpolate"
            )
        with open_device(table.provenance.address) as agent:
            asking = OnDemand(
                table, space, measure_with(agent, table, directory),
                latency_of=None if quantile is None else lambda known: known.at_quantile(quantile),
            )  # fmt: skip
            yield Source(FunctionLatency(asking.predict, f"{_name_of(table, quantile)},measured"))
    else:
        yield price_with(table, space, quantile=quantile, policy=policy)


def price_with(
    table: LatencyTable,
    space: Space,
    *,
    quantile: float | None = None,
    policy: MissPolicy = "raise",
) -> Source:
    """Return the predictions of a table, by layers or by operators as the space has them.

    Args:
        quantile: see `search.latency.TableLatency`.
        policy: for layers that the table lacks, see `latency_tables.missing.complete`.

    Raises:
        RunError: the table does not fit the space.
        TableError: it lacks a layer.
    """
    if not isinstance(space, ChainSpace):
        return _operator_table(table, space)
    completed = complete(table, space.layers, policy=policy)
    predictor = compile_predictor(completed.table, space)
    guessed = f",{policy}" if completed.share else ""
    latency = TableLatency(predictor, _name_of(table, quantile) + guessed, quantile=quantile)
    within = None
    if quantile is None:
        with suppress(NotAdditive):
            priced = price_space(completed.table, space)

            def within(target_ms: float) -> Candidates:
                return lambda n, rng: priced.sample_within(n, rng, target_ms)

    note = str(completed) if completed.share else None
    return Source(latency, latency.function, predictor.fastest_ms, within, note)


def _name_of(table: LatencyTable, quantile: float | None = None) -> str:
    """Return how a run records a table: no other prices have this name."""
    digest = sha256(str(table.calibration).encode())
    digest.update("\n".join(table.rows["layer"].to_pylist()).encode())
    for column in ("hot_ms", "low_ms", "high_ms"):
        digest.update(table.rows[column].to_numpy().tobytes())
    at = "" if quantile is None else f",quantile={quantile:g}"
    return f"table:{table.name}{at}:{digest.hexdigest()[:12]}"


def _operator_table(table: LatencyTable, space: Space) -> Source:
    if not isinstance(space, NasNetSpace):
        raise RunError(f"{space.name} has decisions and no networks: no table prices it; use csv")
    if granularity_of(table) != "operator":
        raise RunError(
            f"{space.name} has cells, which a table of layers does not price: make one with"
            " hilnas profile --granularity operator, or measure each network with device:ADDRESS"
        )
    return Source(_OperatorLatency(table, space))


class _OperatorLatency:
    is_measured = False

    def __init__(self, table: LatencyTable, space: NasNetSpace) -> None:
        self.name, self._table, self._space = _name_of(table), table, space

    def latencies(self, genotypes: Genotypes) -> Iterator[Latency | FailedLatency]:
        for genotype in genotypes:
            try:
                found = predict_any(self._table, self._space.decode(genotype))
            except MissingLayers as error:  # an operator so rare that no draw of the space had it
                yield FailedLatency(str(error))
            else:
                yield Latency(found.latency_ms, found.std_ms)


def _madds(space: AnySpace) -> Source:
    if not isinstance(space, DecodingSpace):
        raise RunError(f"{space.name} has decisions and no networks: no multiply-adds to count")
    count = costs_of(space, ("madds",))

    def millions(genotypes: Genotypes) -> np.ndarray[Any, np.dtype[np.float64]]:
        return count(genotypes)["madds"] / MILLION

    return Source(FunctionLatency(millions, "madds"), millions)


def _quantile(settings: Mapping[str, Scalar]) -> float | None:
    quantile = settings.get("latency_quantile")
    if quantile is None:
        return None
    if not isinstance(quantile, float) or not 0.5 <= quantile < 1:
        raise RunError(
            f"latency_quantile is a number from 0.5 and below 1, found {quantile!r}: what is met at"
            " a lower one is more likely missed"
        )
    return quantile


@contextmanager
def _open(address: str) -> Iterator[Agent]:
    from device_agents.open import open_agent

    with open_agent(address) as agent:
        yield agent
