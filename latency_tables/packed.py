"""Packed profiling: layers priced from op profiles of packs, and held against clean processes.

    all layers --dealt anew each time--> packs --> op profiles --> rows of each layer
    some layers, whole networks -------> clean processes          |
                                              |  one scale <------+
                                              +--> check: the error that is left

A profiled layer reads longer than by itself: its input and weights are cold, and the profiler
takes time (1.16 times on a desktop, reference protocol, section 12). One scale takes that out;
what it leaves is stored with the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from statistics import median, stdev

from device_agents.measurement import ModelFile
from device_agents.packs import PackedPlan, PackVisit
from exporters.exporter import Exporter
from exporters.pack_plan import layer_bytes, plan_packs
from exporters.packs import export_packs
from latency_tables.attribution import attribute_rows
from latency_tables.calibration import calibrate
from latency_tables.errors import PackDiscarded
from latency_tables.intervals import Evidence, intervals
from latency_tables.journal import Entry, Model
from latency_tables.measuring import Progress, export_models
from latency_tables.summaries import last_failure, serial_of
from latency_tables.table import LatencyTable, PackCheck, Row
from networks.layers import Layer
from networks.names import NamedNetwork

SPREAD = 0.10  # of a layer's values in different packs (reference protocol, section 4, step 10)


def choose_clean_layers(layers: Iterable[Layer], n: int) -> tuple[Layer, ...]:
    """Return ``n`` layers, or all where there are fewer, that span kinds and sizes.

    Kinds take turns; of each kind come quantiles of its layers by memory.
    """
    kinds: dict[str, list[Layer]] = {}
    for layer in sorted(set(layers), key=lambda layer: (layer_bytes(layer), layer.key)):
        kinds.setdefault(layer.kind, []).append(layer)
    turns = zip_longest(*(_spread(kinds[kind]) for kind in sorted(kinds)))
    chosen = [layer for turn in turns for layer in turn if layer is not None]
    return tuple(chosen[:n])


def _spread(ranked: Sequence[Layer]) -> list[Layer]:
    """Return all of these, so ordered that any first few span them: middles of halves of halves."""
    order, spans = list[Layer](), [(0, len(ranked))]
    for low, high in spans:
        if low < high:
            middle = (low + high) // 2
            order.append(ranked[middle])
            spans += [(low, middle), (middle + 1, high)]
    return order


def export_packed(
    layers: Sequence[Layer],
    networks: Sequence[NamedNetwork],
    work: Path,
    plan: PackedPlan,
    *,
    seed: int,
    exporter: Exporter | None,
    progress: Progress,
) -> list[tuple[Model, ModelFile]]:
    """Export every deal of packs, and what is timed clean beside them, into ``work``."""
    clean = choose_clean_layers(layers, plan.clean_layers)
    models = export_models(clean, networks, work, seed, exporter, progress)
    for deal in range(plan.shuffles):
        packs = plan_packs(layers, plan.pack_size, seed=seed * plan.shuffles + deal)
        folder = work / f"deal-{deal}"
        for pack, _ in export_packs(packs, folder, seed=seed, exporter=exporter):
            keys = tuple(layer.key for layer in pack.layers)
            operators = tuple(layer.operators for layer in pack.layers)
            name = f"deal {deal} {pack.path.name}"
            models.append(
                (
                    Model(pack.sha256, "pack", name, keys, operators),
                    ModelFile(pack.path, pack.sha256, "pack"),
                )
            )
            progress(len(models), len(clean) + len(networks) + plan.shuffles * len(packs), name)
    return models


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """One layer's values in the packs that it was dealt into, in nanoseconds, unscaled.

    ``entries`` are the visits to those packs, of ``runs`` timed runs in all.
    """

    values_ns: tuple[float, ...]
    entries: tuple[Entry, ...]
    runs: int

    @property
    def value_ns(self) -> float:
        """Their median."""
        return median(self.values_ns)

    @property
    def spread(self) -> float:
        """(largest - smallest) / median."""
        return (max(self.values_ns) - min(self.values_ns)) / self.value_ns

    @property
    def last(self) -> Entry:
        """The visit that was written into the journal last."""
        return max(self.entries, key=lambda entry: entry.id)


def price_packs(
    clean: LatencyTable,
    models: Sequence[Model],
    entries: Mapping[str, Sequence[Entry]],
    plan: PackedPlan,
    serials: Mapping[int, str | None],
) -> LatencyTable:
    """Return the calibrated and checked table that packs give.

    A layer has a row once most deals have priced it, ``unstable`` where they differ by over 10 %.
    Without a layer that was timed both ways there is no scale, and no row.

    Args:
        clean: the table of what was timed by itself.
        entries: visits by sha256, those of packs among them.
        serials: of the specimens, by session.
    """
    packs = [model for model in models if model.role == "pack"]
    packed, failed, too_fast = _read_packs(packs, entries, clean.condition.precision)
    clean_ns = {row["layer"]: row["hot_ms"] * 1e6 for row in clean.rows.to_pylist()}
    both = sorted(packed.keys() & clean_ns.keys())
    scale = median(clean_ns[key] / packed[key].value_ns for key in both) if both else None
    rows = {}
    if scale is not None:
        error = _scale_error([clean_ns[key] / packed[key].value_ns for key in both])
        rows = _rows(packed, scale, plan, serials, scale_error=error)
    invalid = {**clean.invalid, **too_fast} | {
        key: failed[pack.label] for pack in packs if pack.label in failed for key in pack.layers
    }
    table = calibrate(
        LatencyTable.from_rows(
            clean.name,
            clean.condition,
            rows.values(),
            provenance=clean.provenance,
            networks=clean.networks,
            invalid={key: invalid[key] for key in sorted(invalid) if key not in rows},
        )
    )
    if scale is None:
        return table
    errors = [abs(scale * packed[key].value_ns / clean_ns[key] - 1) for key in both]
    network_errors = _network_errors(table)
    check = PackCheck(
        scale=scale,
        layers=len(both),
        wanted=min(plan.clean_layers, len({key for pack in packs for key in pack.layers}))
        - len(clean.invalid),
        layer_error=median(errors),
        networks=len(network_errors),
        network_error=median(network_errors) if network_errors else None,
        tolerance=plan.tolerance,
        discarded=len(failed),
    )
    return replace(table, check=check)


def _read_packs(
    packs: Iterable[Model], entries: Mapping[str, Sequence[Entry]], precision: str
) -> tuple[dict[str, PackedLayer], dict[str, str], dict[str, str]]:
    """Return layers by key that profiles price, why packs by name and layers by key have none."""
    values: dict[str, list[float]] = {}
    priced_by: dict[str, list[tuple[Entry, int]]] = {}
    failed: dict[str, str] = {}
    too_fast: dict[str, str] = {}
    for pack in packs:
        visits = entries.get(pack.sha256, ())
        found = [(e, e.outcome.profile) for e in visits if isinstance(e.outcome, PackVisit)]
        if not found:
            if reason := last_failure([entry.outcome for entry in visits]):
                failed[pack.label] = reason
            continue
        entry, profile = found[-1]
        try:
            times_ns = attribute_rows(pack.operators, profile, precision=precision)
        except PackDiscarded as error:
            failed[pack.label] = f"{pack.label} was discarded: {error}"
            continue
        for key, time_ns in zip(pack.layers, times_ns, strict=True):
            if time_ns is None:
                too_fast[key] = "rejected: faster than the profiler's clock can tell"
                continue
            values.setdefault(key, []).append(time_ns)
            priced_by.setdefault(key, []).append((entry, profile.runs))
    packed = {}
    for key, ns in values.items():
        by, runs = zip(*priced_by[key], strict=True)
        packed[key] = PackedLayer(tuple(ns), by, sum(runs))
    return packed, failed, too_fast


def _rows(
    packed: Mapping[str, PackedLayer],
    scale: float,
    plan: PackedPlan,
    serials: Mapping[int, str | None],
    *,
    scale_error: float,
) -> dict[str, Row]:
    """Return rows of the layers that most deals priced.

    Another session deals anew and has a scale of its own: its value differs as deals differ, see
    `latency_tables.intervals`, and by the errors of two scales.
    """
    priced = {k: layer for k, layer in packed.items() if 2 * len(layer.values_ns) > plan.shuffles}
    evidence = [Evidence(layer.value_ns, layer.values_ns) for layer in priced.values()]
    found = intervals(evidence, common_std=math.sqrt(2) * scale_error)
    rows = {}
    for (key, layer), interval in zip(priced.items(), found, strict=True):
        low_ms, high_ms = (None, None) if interval is None else (scale * e / 1e6 for e in interval)
        stable = layer.spread <= SPREAD
        rows[key] = Row(
            layer=key,
            hot_ms=scale * layer.value_ns / 1e6,
            cold_ms=None,
            visits=len(layer.values_ns),
            status="ok" if stable else "unstable",
            spread=layer.spread,
            measured_unix_s=layer.last.outcome.started_unix_s,
            sha256=layer.last.outcome.sha256,
            low_ms=low_ms,
            high_ms=high_ms,
            samples=layer.runs,
            reason="" if stable else _why_unstable(layer),
            serial=serial_of(layer.entries, serials),
            journal_rows=tuple(sorted(entry.id for entry in layer.entries)),
        )
    return rows


def _why_unstable(layer: PackedLayer) -> str:
    return (
        f"values in {len(layer.values_ns)} packs differ by {100 * layer.spread:.2f} %,"
        f" over {100 * SPREAD:g} %"
    )


def _scale_error(ratios: Sequence[float]) -> float:
    """Return the relative standard error of their median, as of a normal distribution's."""
    if len(ratios) < 2:
        return 0.0
    deviation = stdev(math.log(ratio) for ratio in ratios)
    return math.sqrt(math.pi / 2 / len(ratios)) * deviation


def _network_errors(table: LatencyTable) -> list[float]:
    """Return the relative error of each network that the table prices, after its calibration."""
    if table.calibration is None:
        return []
    predicted = [
        float(table.calibration.shares_ms(table.hot_ms(network.layers)).sum())
        for network in table.networks
    ]
    return [
        abs(predicted_ms / network.latency_ms - 1)
        for predicted_ms, network in zip(predicted, table.networks, strict=True)
        if math.isfinite(predicted_ms)
    ]
