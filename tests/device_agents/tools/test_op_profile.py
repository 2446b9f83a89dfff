from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.errors import RunRejected
from device_agents.tools.op_profile import OpProfile, OpRow, parse_op_profile
from tests.device_agents.tools.logs import RECORDED, recorded

NEW = ("first", "avg_ms", "%", "cdf%", "mem KB", "times called")
OLD = ("start", *NEW)
# As XNNPACK and TensorFlow Lite write them: commas, brackets, colons
TYPES = st.from_regex(r"[A-Za-z][A-Za-z0-9_, ()]{0,20}[A-Za-z0-9)]", fullmatch=True)
NAMES = st.from_regex(r"\[?[A-Za-z][A-Za-z0-9_/;:, ()]{0,30}[a-z)]\]?", fullmatch=True)
ROWS = st.lists(
    st.builds(
        OpRow,
        node_type=TYPES.filter(lambda text: "elegate" not in text),
        name=NAMES,
        index=st.none(),
        mean_ns=st.integers(0, 10**6).map(lambda us: us * 1e3),
        times_called=st.just(1),
        in_delegate=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def write_profile(rows: list[OpRow], *, text: bool, old: bool, runs: int = 30) -> str:
    """Return a profile of these rows as the tool writes it; the index of each is its place."""
    columns = OLD if old else NEW
    shown = ["[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]"]
    shown = ["[start]", *shown] if old else shown
    lines = ["=" * 30 + " Run Order " + "=" * 30]
    if text:
        lines += ["\t" + "\t".join(f"{x:>10}" for x in ("[node type]", *shown)) + "\t[Name]"]
    else:
        lines += [", ".join(("node type", *columns, "name"))]
    for n, row in enumerate(rows):
        name = f"{'Delegate/' if row.in_delegate else ''}{row.name}:{n}"
        ms = f"{row.mean_ns / 1e6:.3f}" if text else f"{row.mean_ns / 1e6:.6g}"
        cells = ["0.1", ms, "-nan%", "100%", "0", str(row.times_called)]
        cells = ["0", *cells] if old else cells
        if text:
            lines += ["\t" + "\t".join(f"{x:>10}" for x in (row.node_type, *cells)) + f"\t{name}"]
        else:
            lines += [", ".join((row.node_type, *cells, name.replace(",", "\t")))]
    total_us = sum(row.mean_ns for row in rows) / 1e3
    statistics = f"first=1 curr=1 min=1 max=1 avg={total_us:.6g} std=0"
    lines += ["", f"Number of nodes executed: {len(rows)}", "=" * 30 + " Summary by node type ===="]
    lines += ["whatever, 1, 2", "", f"Timings (microseconds): count={runs} {statistics}"]
    lines += ["Memory (bytes): count=0", f"{len(rows)} nodes observed", ""]
    return "".join(f"{line}\n" for line in lines)


def as_parsed(rows: list[OpRow]) -> list[tuple[object, ...]]:
    return [
        (
            row.node_type,
            f"{'Delegate/' if row.in_delegate else ''}{row.name}:{n}",
            n,
            pytest.approx(row.mean_ns, rel=1e-5),
            row.in_delegate,
        )
        for n, row in enumerate(rows)
    ]


def rows_of(profile: OpProfile) -> list[tuple[object, ...]]:
    return [(r.node_type, r.name, r.index, r.mean_ns, r.in_delegate) for r in profile.rows]


@given(ROWS, st.booleans(), st.booleans())
def test_reading_is_the_inverse_of_writing(rows: list[OpRow], text: bool, old: bool) -> None:
    profile = parse_op_profile(write_profile(rows, text=text, old=old))
    assert rows_of(profile) == as_parsed(rows)
    assert (profile.runs, profile.delegates) == (30, ())


@pytest.mark.parametrize(
    ("name", "runs"), [("op_profile.csv", 1973), ("op_profiling.stdout", 1917)]
)
def test_a_recorded_profile_gives_its_operators(name: str, runs: int) -> None:
    recorded("op_profiling")  # or skip
    profile = parse_op_profile((RECORDED / name).read_text())
    assert profile.runs == runs
    assert [row.index for row in profile.rows] == list(range(8))
    assert all(row.in_delegate and row.times_called == 1 for row in profile.rows)
    convolution = profile.rows[1]
    assert convolution.node_type == "Convolution (NHWC, F32) DWConv"
    assert convolution.name == "Delegate/Convolution (NHWC, F32) DWConv:1"
    expected_ns = 67433.4 if name.endswith("csv") else 67000
    assert convolution.mean_ns == pytest.approx(expected_ns)
    assert profile.rows[5].mean_ns < 100  # a sigmoid, below what the tool's clock can tell


@pytest.mark.parametrize("name", ["op_profile.csv", "op_profiling.stdout"])
@pytest.mark.parametrize("copies", [0, 2])
def test_a_line_lost_or_doubled_gives_the_same_operators_or_none(name: str, copies: int) -> None:
    recorded("op_profiling")  # or skip
    text = (RECORDED / name).read_text()
    whole, lines = parse_op_profile(text), text.splitlines(keepends=True)
    for at, line in enumerate(lines):
        with suppress(RunRejected):
            damaged = "".join([*lines[:at], line * copies, *lines[at + 1 :]])
            assert parse_op_profile(damaged) == whole


def test_a_profile_cut_anywhere_gives_the_same_operators_or_none() -> None:
    rows = [OpRow("CONV_2D", f"[c{n}]", None, 20_000.0 * n, 1, False) for n in range(1, 4)]
    text = write_profile(rows, text=False, old=False)
    whole = parse_op_profile(text)
    for at in range(len(text)):
        with suppress(RunRejected):
            assert parse_op_profile(text[:at]) == whole
            assert at > text.index("Timings")


DELEGATE = OpRow("TfLiteXNNPackDelegate", "[out]", None, 90_000.0, 1, False)
INNER = [OpRow("Convolution (NHWC, F32)", "conv", None, 45_000.0, 1, True)] * 2
SOFTMAX = OpRow("SOFTMAX", "[out]", None, 10_000.0, 1, False)


def test_an_enclosing_delegate_is_apart_from_its_operators() -> None:
    text = write_profile([*INNER, DELEGATE, SOFTMAX], text=False, old=False)
    both = text.replace("avg=190", "avg=100")  # the tool's total holds the delegate once
    profile = parse_op_profile(both)
    assert [row.node_type for row in profile.delegates] == ["TfLiteXNNPackDelegate"]
    assert sum(row.mean_ns for row in profile.rows) == pytest.approx(100_000)
    assert parse_op_profile(text) == profile  # builds that count it twice


def test_operators_of_a_delegate_may_come_in_a_block_of_their_own() -> None:
    outer = write_profile([DELEGATE, SOFTMAX], text=False, old=False)
    inner = write_profile([OpRow("conv", "conv", None, 45_000.0, 1, False)], text=False, old=False)
    profile = parse_op_profile(f"{outer}Delegate internal: \n{inner}")
    assert [(row.node_type, row.in_delegate) for row in profile.rows] == [
        ("SOFTMAX", False),
        ("conv", True),
    ]
    assert profile.delegates[0].node_type == "TfLiteXNNPackDelegate"


def test_names_without_an_index_are_of_old_tools() -> None:
    text = write_profile([SOFTMAX], text=True, old=True).replace("[out]:0", "[out]")
    assert parse_op_profile(text).rows[0].index is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("0.01, -nan%", "nan, -nan%", "expected an operator with its times"),
        ("0.01, -nan%", "0.02, -nan%", "expected rows that add up"),
        ("executed: 1", "executed: 2", "expected 2 operators, found 1"),
        ("avg_ms", "avg_s", "expected the columns"),
        ("Timings", "Primary graph (name: main):\nTimings", "found a model of several"),
        ("Timings", "Memory", "cut off"),
        ("====== Run Order", "== X ======= Run Order", "found 0"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(old: str, new: str, reason: str) -> None:
    text = write_profile([SOFTMAX], text=False, old=False)
    assert old in text
    with pytest.raises(RunRejected, match=reason):
        parse_op_profile(text.replace(old, new))


def test_the_profile_of_initialization_alone_is_none() -> None:
    text = write_profile([SOFTMAX], text=False, old=False)
    with pytest.raises(RunRejected, match="found 0"):
        parse_op_profile(f"Profiling Info for Benchmark Initialization:\n{text}")
