"""Attribution: whose rows an op profile of a pack holds; any doubt discards the pack.

    layers' operators   | CONV_2D HARD_SWISH | MEAN FULLY_CONNECTED                     | ...
    rows of the profile | Convolution HardSwish | Mean Static-Reshape Fully-Connected   | ...

XNNPACK shows its own operators, in the file's order, numbered from 0. What it makes of the file's
was seen with ai-edge-litert 2.3.0 and is kept true by a test that asks the runtime itself:

    one row an operator, but
    FULLY_CONNECTED            a Static Reshape before it, where its input has to be flattened
    ADD, MUL of a hard-sigmoid a Clamp after the Add; in int8 one row for both, a look-up table
    DEQUANTIZE of a weight     no row (float16)
    DEQUANTIZE, HARD_SWISH, QUANTIZE    one row in int8, a look-up table

All rows must match the operators of all layers, as one regular expression matches a whole text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from device_agents.tools.op_profile import OpProfile
from latency_tables.errors import PackDiscarded

Operators = Sequence[str]

_CONVOLUTION = "(?:Convolution|Fully Connected);"  # a 1 x 1 convolution is a matrix product
_LOOK_UP = "Invalid Unary Op;"  # how this version of the profiler calls a look-up table
_ROWS = {
    "ADD": "Add;",
    "AVERAGE_POOL_2D": "Average Pooling;",
    "CONV_2D": _CONVOLUTION,
    "DEPTHWISE_CONV_2D": "Depthwise;",
    "DEQUANTIZE": "Convert;",
    "FULLY_CONNECTED": "(?:Static Reshape;)?Fully Connected;",
    "HARD_SWISH": "HardSwish;",
    "LOGISTIC": "Sigmoid;",
    "MEAN": "Mean;",
    "MUL": "Multiply;",
    "QUANTIZE": "Convert;",
}
_HARD_SIGMOID = ("ADD", "MUL")
_HARD_SWISH_INT8 = ("DEQUANTIZE", "HARD_SWISH", "QUANTIZE")
# "Convolution (NHWC, F32) IGEMM" is a Convolution, "Convolution (NHWC, F32) DWConv" a Depthwise
_KIND = re.compile(r"(?:Delegate/)?(?P<kind>[^(;]*[^(; ])(?: *\(.*)?", re.DOTALL)


def attribute_rows(
    layers: Sequence[Operators], profile: OpProfile, *, precision: str
) -> tuple[float | None, ...]:
    """Return the time of each layer of a pack, the sum of its rows, in nanoseconds.

    None of a layer that is faster than the profiler's clock can tell.

    Args:
        layers: the TFLite operators of each layer, in the file's order.
        precision: of the pack; in float16 every DEQUANTIZE is one of a weight.

    Raises:
        PackDiscarded: rows and layers do not fit each other in number, kind or order; says where.
    """
    _check_numbers(profile)
    inside = profile.rows[0].in_delegate
    kinds = "".join(f"{_kind(row.node_type)};" for row in profile.rows)
    times_ns, at, row = list[float | None](), 0, 0
    for number, operators in enumerate(layers):
        pattern = _pattern(operators, precision) if inside else _plain(operators)
        found = re.compile(pattern).match(kinds, at)
        if found is None:
            raise PackDiscarded(
                f"expected rows of {' '.join(operators)} for layer {number}, found"
                f" {' '.join(kinds[at:].split(';')[: len(operators)]) or 'no more rows'}"
            )
        count = found[0].count(";")
        times_ns.append(sum(part.mean_ns for part in profile.rows[row : row + count]) or None)
        at, row = found.end(), row + count
    if at < len(kinds):
        extra = kinds[at:].count(";")
        raise PackDiscarded(f"expected rows of {len(layers)} layers, found {extra} rows more")
    return tuple(times_ns)


def _check_numbers(profile: OpProfile) -> None:
    """Hold the rows against each other: all from one place, counted from 0, once a run."""
    numbers = [row.index for row in profile.rows]
    if not numbers or numbers != list(range(len(numbers))):
        raise PackDiscarded(f"expected rows numbered from 0, found {numbers[:9]} and so on")
    if len({row.in_delegate for row in profile.rows}) > 1 or len(profile.delegates) > 1:
        raise PackDiscarded("expected one whole-graph delegate, found several parts")
    if any(row.times_called != 1 for row in profile.rows):
        raise PackDiscarded("expected every operator once in each run, found another number")


def _kind(node_type: str) -> str:
    found = _KIND.fullmatch(node_type)
    if found is None:
        raise PackDiscarded(f"expected the kind of an operator, found {node_type!r}")
    return "Depthwise" if node_type.endswith(" DWConv") else found["kind"]


def _pattern(operators: Operators, precision: str) -> str:
    """Return what matches the rows that XNNPACK shows of a layer."""
    if precision == "float16":
        operators = [operator for operator in operators if operator != "DEQUANTIZE"]
    pattern, at = "", 0
    while at < len(operators):
        if tuple(operators[at : at + 2]) == _HARD_SIGMOID:
            pattern += f"(?:Add;Clamp;Multiply;|{_LOOK_UP})"
            at += 2
        elif tuple(operators[at : at + 3]) == _HARD_SWISH_INT8:
            pattern += f"(?:Convert;HardSwish;Convert;|{_LOOK_UP})"
            at += 3
        elif operators[at] in _ROWS:
            pattern += _ROWS[operators[at]]
            at += 1
        else:
            raise PackDiscarded(f"expected an operator whose rows are known, found {operators[at]}")
    return pattern


def _plain(operators: Operators) -> str:
    """Return what matches the rows of a layer without a delegate: its operators themselves."""
    return "".join(f"{re.escape(operator)};" for operator in operators)
