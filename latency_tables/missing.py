"""Missing: what to do about layers that a table does not price. Nothing is ever made up silently.

    raise        MissingLayers, with the nearest layers that it does price (the default)
    interpolate  rows that `layer_model` predicts from the table's own, status ``predicted``, with
                 the interval in which a measurement would lie; the share is in the report
    measure      the device is asked, into the table's journal

A layer that the device refused (`LatencyTable.invalid`) is never interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from latency_tables.calibration import calibrate
from latency_tables.conformal import interval_reach
from latency_tables.coverage import require_layers
from latency_tables.errors import TableError
from latency_tables.features import features_of
from latency_tables.layer_model import LayerModel, fit_layers
from latency_tables.table import LatencyTable, Row
from networks.errors import LayerKeyError
from networks.layers import Layer, parse_layer

Floats = npt.NDArray[np.float64]

MissPolicy = Literal["raise", "interpolate", "measure"]
MISS_POLICIES: tuple[MissPolicy, ...] = ("raise", "interpolate", "measure")
Measure = Callable[[Sequence[Layer]], LatencyTable]
"""Measures these layers and returns the table with their rows."""

LEAST_ROWS = 8
MOST_ROWS = 2000  # of a table, that a model is fitted to: its time grows with their cube


@dataclass(frozen=True, slots=True)
class Completion:
    """A table for some layers, and how it came to price them.

    ``predicted`` are those of the layers whose row nobody measured, ``measured`` those that the
    device was asked for; ``share`` is predicted / layers.
    """

    table: LatencyTable
    layers: int
    predicted: tuple[str, ...]
    measured: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """How much of the layers is predicted, in [0, 1]."""
        return len(self.predicted) / self.layers if self.layers else 0.0

    def __str__(self) -> str:
        return (
            f"table {self.table.name!r}: {len(self.predicted)} of {self.layers} layers"
            f" ({100 * self.share:.1f} %) are predicted, {len(self.measured)} measured just now"
        )


def parse_policy(text: str) -> MissPolicy:
    """Return the policy of this name.

    Raises:
        TableError: there is none.
    """
    for policy in MISS_POLICIES:
        if policy == text:
            return policy
    raise TableError(f"a miss policy is one of {', '.join(MISS_POLICIES)}, found {text!r}")


def complete(
    table: LatencyTable,
    layers: Sequence[Layer],
    *,
    policy: MissPolicy = "raise",
    priors: Sequence[LatencyTable] = (),
    measure: Measure | None = None,
) -> Completion:
    """Return the table with a row for each of these layers, as the policy says.

    A table that was changed is calibrated again from its own networks.

    Args:
        priors: tables of other conditions, to interpolate with.
        measure: asks the device, for the policy of that name, which also asks for layers whose
            row is predicted.

    Raises:
        MissingLayers: the policy is to raise, the device has no value for one, or refused it.
        TableError: no such policy, nobody to measure, or too few rows to interpolate from.
    """
    parse_policy(policy)
    wanted = {layer.key: layer for layer in layers}
    measured: tuple[str, ...] = ()
    if policy == "measure":
        unsure = set(predicted_layers(table, wanted))
        lacking = [layer for key, layer in wanted.items() if key not in table or key in unsure]
        if lacking and measure is None:
            raise TableError(f"expected a device to measure {len(lacking)} layers, found none")
        if lacking and measure is not None:
            table, measured = measure(lacking), tuple(layer.key for layer in lacking)
    elif policy == "interpolate":
        table = interpolate(table, list(wanted.values()), priors=priors)
    require_layers(table, wanted.values())
    return Completion(table, len(wanted), predicted_layers(table, wanted), measured)


def interpolate(
    table: LatencyTable, layers: Sequence[Layer], *, priors: Sequence[LatencyTable] = ()
) -> LatencyTable:
    """Return the table with predicted rows for those layers that it lacks and may have.

    Raises:
        TableError: it has fewer than 8 measured rows, or a prior prices none of the layers.
    """
    missing = [
        layer for layer in layers if layer.key not in table and layer.key not in table.invalid
    ]
    if not missing:
        return table
    known = measured_layers(table)
    model = model_of(table, [*known, *missing], priors=priors)
    rows = predicted_rows(model, [*known, *missing], len(priors))
    return with_predictions(table, rows[len(known) :])


def model_of(
    table: LatencyTable, layers: Sequence[Layer], *, priors: Sequence[LatencyTable] = ()
) -> LayerModel:
    """Return the model of these layers that the table's measured rows among them give.

    Raises:
        TableError: fewer than 8 of them are measured, or a prior prices none of them.
    """
    keys = [layer.key for layer in layers]
    predicted = set(predicted_layers(table, keys))
    rows = np.array([i for i, key in enumerate(keys) if key in table and key not in predicted], int)
    if len(rows) < LEAST_ROWS:
        raise TableError(
            f"table {table.name!r}: expected {LEAST_ROWS} measured layers or more to predict others"
            f" from, found {len(rows)}; profile more of the space into it"
        )
    values = [prior_ms(prior, layers) for prior in priors]
    return fit_layers(features_of(layers), rows, table.hot_ms([keys[i] for i in rows]), values)


def prior_ms(prior: LatencyTable, layers: Sequence[Layer]) -> Floats:
    """Return what a table of another condition says of each layer, shape ``(n,)``.

    What it lacks is interpolated from its own rows.

    Raises:
        TableError: it prices none of the layers, or too few of them to interpolate the others.
    """
    if not any(layer.key in prior for layer in layers):
        raise TableError(
            f"prior {prior.name!r}: expected rows of some of the {len(layers)} layers, found none;"
            " use a table of the same space and resolution, or none"
        )
    priced = interpolate(replace(prior, invalid={}), layers)
    return priced.hot_ms([layer.key for layer in layers])


def predicted_rows(model: LayerModel, layers: Sequence[Layer], priors: int) -> list[Row]:
    """Return a row for each layer as the model predicts it, measured or not."""
    reach = interval_reach(model)
    middle, low, high = (np.exp(model.mean + sign * reach) for sign in (0, -1, 1))
    others = f" and {priors} tables of other conditions" if priors else ""
    reason = f"not measured: predicted from {len(model.rows)} layers{others}"
    return [
        Row(
            layer=layer.key, hot_ms=float(middle[i]), cold_ms=None, visits=0, status="predicted",
            spread=0.0, measured_unix_s=0.0, sha256="", low_ms=float(low[i]),
            high_ms=float(high[i]), reason=reason,
        )
        for i, layer in enumerate(layers)
    ]  # fmt: skip


def predicted_layers(table: LatencyTable, layers: Iterable[str]) -> tuple[str, ...]:
    """Return those of the layer keys whose row is predicted, in their order."""
    predicted = set(
        table.rows.filter(pc.equal(table.rows["status"], "predicted"))["layer"].to_pylist()
    )
    return tuple(layer for layer in layers if layer in predicted)


def measured_layers(table: LatencyTable) -> list[Layer]:
    """Return the layers of the table's measured rows, every so many of a very large table."""
    predicted = set(predicted_layers(table, table.rows["layer"].to_pylist()))
    found = []
    for key in table.rows["layer"].to_pylist():
        if key not in predicted:
            with suppress(LayerKeyError):  # a row of something else, such as an operator
                found.append(parse_layer(key))
    return found[:: -(-len(found) // MOST_ROWS) or 1]


def with_predictions(table: LatencyTable, rows: Sequence[Row]) -> LatencyTable:
    """Return the table with these rows as well, calibrated again if it has networks."""
    more = LatencyTable.from_rows(table.name, table.condition, rows, provenance=table.provenance)
    grown = calibrate(replace(table.extend(more), check=table.check))
    return grown if grown.calibration else replace(grown, calibration=table.calibration)
