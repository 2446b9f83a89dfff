from __future__ import annotations

import struct
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.errors import RunRejected
from device_agents.tools.output import parse_run
from device_agents.tools.result_file import ResultFile, check_agreement, parse_result_file
from tests.device_agents.tools.logs import RECORDED, TIMED_US, WARMUP_US, recorded, write_run

# The figures of a real result file, as its text form shows them
LATENCY_MS = {
    1: 0.44419688, 2: 0.408, 3: 3.001, 4: 0.075, 5: 0.433, 6: 0.411, 7: 0.498, 8: 1.705, 9: 0.604,
    10: 0.439394683,
}  # fmt: skip
LATENCIES = ("avg", "min", "max", "stddev", "median", "p5", "p95", "init", "first_inference",
             "average_warm_up")  # fmt: skip
SCHEMA: dict[str, dict[int, tuple[str, str]]] = {
    "Latency": {n: (f"{name}_ms", "float") for n, name in enumerate(LATENCIES, 1)},
    "Memory": {1: ("init_footprint_kb", "int"), 2: ("overall_footprint_kb", "int")},
    "Misc": {
        1: ("model_size_mb", "float"),
        2: ("num_runs", "int"),
        3: ("num_warmup_runs", "int"),
        4: ("model_throughput_in_mb_per_sec", "float"),
    },
    "BenchmarkResult": {
        2: ("latency_metrics", "Latency"),
        3: ("memory_metrics", "Memory"),
        4: ("misc_metrics", "Misc"),
    },
}
EXPECTED = ResultFile(
    warmup_runs=1130,
    runs=2235,
    init_ns=1_705_000,
    first_ns=604_000,
    min_ns=408_000,
    mean_ns=444_197,
    median_ns=433_000,
    p5_ns=411_000,
    p95_ns=498_000,
    max_ns=3_001_000,
)


def varint(value: int) -> bytes:
    head, value = value & 0x7F, value >> 7
    return bytes([head]) if value == 0 else bytes([head | 0x80]) + varint(value)


def floats(values: dict[int, float]) -> bytes:
    return b"".join(bytes([n << 3 | 5]) + struct.pack("<f", v) for n, v in values.items())


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def write_result(
    latency_ms: dict[int, float] = LATENCY_MS, runs: int = 2235, warmup_runs: int = 1130
) -> bytes:
    misc = floats({1: 0.95972}) + b"\x10" + varint(runs) + b"\x18" + varint(warmup_runs)
    memory = b"\x08" + varint(6136) + b"\x10" + varint(6708)
    return (
        message(1, b"name")
        + message(2, floats(latency_ms))
        + message(3, memory)
        + message(4, misc + floats({4: 188.5}))
        + b"\x99\x06"  # a field of the future: number 99, eight bytes
        + bytes(8)
    )


def test_the_figures_are_found() -> None:
    assert parse_result_file(write_result()) == EXPECTED


def test_a_file_written_by_the_protobuf_library_is_read() -> None:
    """The recorded result, from its text form to bytes by an independent writer."""
    recorded("plain")  # or skip
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    descriptor_pool = pytest.importorskip("google.protobuf.descriptor_pool")
    message_factory = pytest.importorskip("google.protobuf.message_factory")
    text_format = pytest.importorskip("google.protobuf.text_format")
    schema = descriptor_pb2.FileDescriptorProto(name="result.proto", package="test")
    for name, fields in SCHEMA.items():
        kind = schema.message_type.add(name=name)
        for number, (field, of) in fields.items():
            entry = kind.field.add(name=field, number=number, label=1)
            entry.type = {"float": 2, "int": 3}.get(of, 11)
            if entry.type == 11:
                entry.type_name = f".test.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    found = message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BenchmarkResult"))
    result = text_format.Parse((RECORDED / "result.pb.txt").read_text(), found())
    assert parse_result_file(result.SerializeToString()) == EXPECTED


def test_a_file_cut_before_its_counts_is_refused() -> None:
    data = write_result()
    for at in range(len(data)):
        try:
            assert parse_result_file(data[:at]) == EXPECTED
            assert at >= len(data) - 10  # only the field of the future is gone
        except RunRejected:
            pass


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(RunRejected):
        parse_result_file(data)


@pytest.mark.parametrize("field", [1, 2, 3, 5, 6, 7, 8, 9])
def test_no_figure_may_be_missing_or_zero(field: int) -> None:
    with pytest.raises(RunRejected, match="expected a whole result file"):
        parse_result_file(write_result({n: v for n, v in LATENCY_MS.items() if n != field}))
    for value in (0.0, -1.0):
        with pytest.raises(RunRejected, match="expected positive"):
            parse_result_file(write_result({**LATENCY_MS, field: value}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_figure_may_be_no_number(value: float) -> None:
    with pytest.raises(RunRejected, match="expected positive"):
        parse_result_file(write_result({**LATENCY_MS, 5: value}))


def test_a_file_is_held_against_what_was_printed() -> None:
    run = write_run()
    printed = parse_run(run.argv, 0, run.stdout, run.stderr)
    result = replace(
        EXPECTED,
        warmup_runs=len(WARMUP_US),
        runs=len(TIMED_US),
        init_ns=printed.init_ns,
        first_ns=WARMUP_US[0] * 1000,
        min_ns=min(TIMED_US) * 1000,
        mean_ns=round(fmean(TIMED_US) * 1000),
        max_ns=max(TIMED_US) * 1000,
        median_ns=601_000,
    )
    check_agreement(printed, result)
    with pytest.raises(RunRejected, match="expected median_ns 601000 in the result file"):
        check_agreement(printed, replace(result, median_ns=602_000))
