"""Result file: the binary protocol buffer that the timing tool writes with --result_file_path.

BenchmarkResult { latency_metrics = 2, memory_metrics = 3, misc_metrics = 4 }; field numbers from
tflite/tools/benchmark/proto/benchmark_result.proto of LiteRT.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def encode(
    *,
    init_us: int,
    warmup_us: Sequence[int],
    timed_us: Sequence[int],
    percentiles_us: Sequence[int],
    deviation_us: int,
    size_bytes: int,
    init_kb: int,
    overall_kb: int,
) -> bytes:
    """Return the file for these runs; ``percentiles_us`` are p5, median and p95."""
    low, middle, high = percentiles_us
    mean_us = sum(timed_us) / len(timed_us)
    size_mb = size_bytes / 1e6
    latencies_us = {
        1: mean_us,
        2: min(timed_us),
        3: max(timed_us),
        4: deviation_us,
        5: middle,
        6: low,
        7: high,
        8: init_us,
        9: warmup_us[0],
        10: sum(warmup_us) / len(warmup_us),
    }
    latency = _floats({number: value / 1000 for number, value in latencies_us.items()})
    memory = _integer(1, init_kb) + _integer(2, overall_kb)
    misc = (
        _floats({1: size_mb})
        + _integer(2, len(timed_us))
        + _integer(3, len(warmup_us))
        + _floats({4: size_mb / (mean_us / 1e6)})
    )
    return b"".join(
        _varint(number << 3 | _BYTES) + _varint(len(part)) + part
        for number, part in ((2, latency), (3, memory), (4, misc))
    )


def _floats(values: Mapping[int, float]) -> bytes:
    return b"".join(
        _varint(number << 3 | _FIXED32) + struct.pack("<f", value)
        for number, value in values.items()
    )


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(max(0, value))


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
