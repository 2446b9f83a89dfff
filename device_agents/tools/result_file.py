"""ResultFile: what the tool writes with ``--result_file_path``, a binary protocol buffer.

    BenchmarkResult { LatencyMetrics = 2 { avg_ms = 1 ... }, MiscMetrics = 4 { num_runs = 2 ... } }

Field numbers from tflite/tools/benchmark/proto/benchmark_result.proto of LiteRT (proto2; floats are
32-bit milliseconds). The wire format has four kinds of field, which a page of code reads; what it
does not know it passes over, as the format intends. The file says nothing of exit code, flags or
delegates, so it confirms a run and never replaces the reading of it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from device_agents.errors import RunRejected
from device_agents.tools.output import ToolRun

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LATENCY, _MISC = 2, 4
_LATENCY_FIELDS = {
    1: "mean_ns",
    2: "min_ns",
    3: "max_ns",
    5: "median_ns",
    6: "p5_ns",
    7: "p95_ns",
    8: "init_ns",
    9: "first_ns",
}
_MISC_FIELDS = {2: "runs", 3: "warmup_runs"}
# float32 milliseconds of whole microseconds, and averages of which the text has six digits
_PRECISION = 1e-5


@dataclass(frozen=True, slots=True)
class ResultFile:
    """Times in nanoseconds of wall time; ``first_ns`` is the first run of the warm-up."""

    warmup_runs: int
    runs: int
    init_ns: int
    first_ns: int
    min_ns: int
    mean_ns: int
    median_ns: int
    p5_ns: int
    p95_ns: int
    max_ns: int


def parse_result_file(data: bytes) -> ResultFile:
    """Return the result in the bytes of a result file.

    Raises:
        RunRejected: it is cut, lacks a field, or a time is not positive.
    """
    parts = {number: value for number, value in _fields(data) if isinstance(value, bytes)}
    if _LATENCY not in parts or _MISC not in parts:
        raise RunRejected("expected latencies and counts in the result file, found it cut or empty")
    found: dict[str, float] = {}
    for number, value in _fields(parts[_LATENCY]):
        if number in _LATENCY_FIELDS and isinstance(value, float):
            found[_LATENCY_FIELDS[number]] = value * 1e6
    for number, value in _fields(parts[_MISC]):
        if number in _MISC_FIELDS and isinstance(value, int):
            found[_MISC_FIELDS[number]] = value
    missing = {*_LATENCY_FIELDS.values(), *_MISC_FIELDS.values()} - set(found)
    if missing:
        raise RunRejected(f"expected a whole result file, found no {', '.join(sorted(missing))}")
    if not all(1 <= value < math.inf for value in found.values()):
        raise RunRejected(f"expected positive times and counts, found {found}")
    return ResultFile(**{name: round(value) for name, value in found.items()})


def check_agreement(run: ToolRun, result: ResultFile) -> None:
    """Return if a result file says what the tool printed.

    Raises:
        RunRejected: it does not, as when it is left over from another run.
    """
    timed = run.timed
    expected = {
        "warmup_runs": run.warmup.runs,
        "runs": timed.runs,
        "init_ns": run.init_ns,
        "first_ns": run.warmup.first_ns,
        "min_ns": timed.min_ns,
        "mean_ns": timed.mean_ns,
        "max_ns": timed.max_ns,
    }
    if timed.median_ns is not None:
        expected["median_ns"] = timed.median_ns
    for name, value in expected.items():
        found = getattr(result, name)
        if abs(found - value) > _PRECISION * value:
            raise RunRejected(f"expected {name} {value} in the result file, found {found}")


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield number and value of each field of a message; 64-bit ones as their bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if kind == _BYTES:
            size, at = _varint(data, at)
        if size is None or number == 0 or at + size > len(data):
            raise RunRejected("expected a protocol buffer as result file, found it damaged or cut")
        content, at = data[at : at + size], at + size
        yield number, struct.unpack("<f", content)[0] if kind == _FIXED32 else content


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise RunRejected("expected a protocol buffer as result file, found it damaged or cut")
