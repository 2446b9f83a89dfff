"""Operator pricing: any network's latency from a table of single operators.

    latency of a network = call + scale x sum over its operators of (row - call)

``call`` is the row of `granularity.BASELINE`: what the runtime takes to be called at all. A model
of one operator pays it as a whole network does, once; without taking it out, a network of 559
operators would pay it 559 times. It is measured, not fitted; the scale is fitted to what remains,
as that of layers is. The calibration holds both (kind ``scale-and-call``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from latency_tables.calibration import calibrate
from latency_tables.coverage import measure_coverage
from latency_tables.errors import MissingLayers, NotAdditive, Uncalibrated
from latency_tables.granularity import BASELINE, granularity_of, layers_of, require_operators_table
from latency_tables.predictor import Prediction, make_prediction, predict_network
from latency_tables.table import LEAST_SHARE, Floats, LatencyTable
from latency_tables.uncertainty import uncertainty_of
from networks.layers import Layer, lower_layer
from networks.network import ImageNetwork, Network
from networks.operators import SingleOperator, operators_of, operators_of_graph

CALL = "call"
"""The share of a network's latency that is no operator's."""


def calibrate_operators(table: LatencyTable) -> LatencyTable:
    """Return the table by operators with its calibration, None while it has no `BASELINE`."""
    if BASELINE.key not in table:
        return replace(table, calibration=None)
    found = calibrate(without_call(table), scale_only=True).calibration
    if found is not None:
        found = replace(found, kind="scale-and-call", coefficients=(call_ms(table),))
    return replace(table, calibration=found)


def call_ms(table: LatencyTable) -> float:
    """Return what a call of the runtime takes.

    Raises:
        MissingLayers: the table has no row of `BASELINE`.
    """
    require_operators(table, (BASELINE,))
    return table.row(BASELINE.key).hot_ms


def without_call(table: LatencyTable) -> LatencyTable:
    """Return the table with the call taken out of every row, interval and network.

    A tenth of each is left at least, as `Calibration.shares_ms` has it.

    Raises:
        MissingLayers: see `call_ms`.
    """
    call, rows = call_ms(table), table.rows
    for name in ("hot_ms", "cold_ms", "low_ms", "high_ms", "p90_ms"):
        number = rows.schema.get_field_index(name)
        column = pa.array(_less(rows[name].to_numpy(), call), from_pandas=True)
        rows = rows.set_column(number, rows.schema.field(name), column)
    networks = tuple(
        replace(network, latency_ms=float(_less(np.array(network.latency_ms), call)))
        for network in table.networks
    )
    return replace(table, rows=rows, networks=networks)


def predict_any(table: LatencyTable, network: ImageNetwork) -> Prediction:
    """Return a network's latency from a table of either granularity.

    Of a table by operators, the shares are those of the network's operators, and `CALL`.

    Raises:
        MissingLayers: the table does not price a part of it.
        NotAChain: it is a network of cells, and the table prices layers.
        Uncalibrated, NotAdditive: the table has no scale, or more than a scale.
    """
    if granularity_of(table) == "layer":
        return predict_network(table, Network(layers_of(network)))
    return predict_operators(table, operators_of(network))


def predict_operators(table: LatencyTable, operators: Sequence[SingleOperator]) -> Prediction:
    """Return the latency of what is made of these operators, in order; else as `predict_any`.

    Raises:
        WrongGranularity: the table prices layers.
    """
    require_operators_table(table)
    require_operators(table, (BASELINE, *operators))
    calibration = table.calibration
    if calibration is None:
        raise Uncalibrated(table.name)
    if not calibration.is_additive:
        raise NotAdditive(table.name, calibration.kind)
    keys, net = [operator.key for operator in operators], without_call(table)
    shares_ms = calibration.shares_ms(table.hot_ms(keys))
    made, call = make_prediction(keys, shares_ms, uncertainty_of(net, keys)), call_ms(table)
    return replace(made, latency_ms=call + made.latency_ms, layers=((CALL, call), *made.layers))


def sum_operators(table: LatencyTable, layers: Sequence[Layer]) -> Floats:
    """Return what layers, each timed by itself, would take, in milliseconds, shape ``(n,)``.

    Without the scale: a layer by itself keeps its weights in the cache, as an operator does.

    Raises:
        WrongGranularity: the table prices layers.
        MissingLayers: it does not price an operator of one of them.
    """
    require_operators_table(table)
    parts = [operators_of_graph(lower_layer(layer)) for layer in layers]
    require_operators(table, {BASELINE, *(operator for part in parts for operator in part)})
    net = without_call(table)
    sums = [net.hot_ms([operator.key for operator in part]).sum() for part in parts]
    return call_ms(table) + np.array(sums)


@dataclass(frozen=True, slots=True)
class TimeShare:
    """What all operators of one name take of a network: ``share`` of its latency, in [0, 1]."""

    name: str
    operators: int
    latency_ms: float
    share: float


def shares_by_operator(prediction: Prediction) -> tuple[TimeShare, ...]:
    """Return what all equal operators take together, by key, those that take longest first."""
    return _grouped(prediction, lambda key: key)


def shares_by_kind(prediction: Prediction) -> tuple[TimeShare, ...]:
    """Return where a network's time goes, the kind that takes longest first.

    Args:
        prediction: of a table by operators. The call of the runtime counts as a kind of its own.
    """
    return _grouped(prediction, lambda key: CALL if key == CALL else key.split("/")[1])


def require_operators(table: LatencyTable, operators: Iterable[SingleOperator]) -> None:
    """Check that the table prices all of these.

    Raises:
        MissingLayers: names the first that it does not, and its nearest neighbours.
    """
    missing = measure_coverage(table, operators).missing
    if missing:
        raise MissingLayers(table.name, missing, nearest_operators(table, missing[0]))


def nearest_operators(table: LatencyTable, key: str, *, n: int = 3) -> tuple[str, ...]:
    """Return the keys of the ``n`` most similar operators of the same kind, nearest first.

    Distance is Euclidean in the logarithms of sizes; whatever else differs is a factor of e.
    """
    wanted, words = _sizes(key), _words(key)

    def distance(other: str) -> tuple[float, str]:
        differ = sum(a != b for a, b in zip(words, _words(other), strict=False))
        return math.hypot(math.dist(wanted, _sizes(other)), differ), other

    kind = key.split("/")[1]
    same = [
        other
        for other in table.rows["layer"].to_pylist()
        if other.split("/")[1] == kind and len(_sizes(other)) == len(wanted)
    ]
    return tuple(sorted(same, key=distance)[:n])


def _grouped(prediction: Prediction, name: Callable[[str], str]) -> tuple[TimeShare, ...]:
    groups: dict[str, list[float]] = {}
    for key, share_ms in prediction.layers:
        groups.setdefault(name(key), []).append(share_ms)
    found = [
        TimeShare(group, len(parts), math.fsum(parts), math.fsum(parts) / prediction.latency_ms)
        for group, parts in groups.items()
    ]
    return tuple(sorted(found, key=lambda share: (-share.latency_ms, share.name)))


def _less(values_ms: Floats, call_ms: float) -> Floats:
    less: Floats = np.maximum(values_ms - call_ms, LEAST_SHARE * values_ms)
    return less


def _sizes(key: str) -> list[float]:
    parts = [part for part in key.split("/")[2:] if _SIZES.fullmatch(part)]
    return [math.log(int(number)) for part in parts for number in re.findall(r"\d+", part)]


def _words(key: str) -> list[str]:
    return [part for part in key.split("/") if not _SIZES.fullmatch(part)]


_SIZES = re.compile(r"[a-z]?\d+(?:[x+]\d+)*")  # 56x56x24, c144, k3x3, but not relu6
