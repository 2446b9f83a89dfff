"""OpProfile: the time of each operator, from the tool's profile as pseudo-CSV or as a text table.

    node type, first, avg_ms, %, cdf%, mem KB, times called, name
    Convolution (NHWC, F32) DWConv, 0.057, 0.0674334, 15%, 77%, 0, 1, Delegate/Convolution (...):1

Several titled tables follow each other in one output; the one in order of execution counts. In the
pseudo-CSV the commas of a node type stay and those of a name are tabs, so fields are counted from
the right. Older tools have one column more, ``start``. A share may be ``-nan%`` and is not read.

Times are means over runs of whole microseconds: those of operators below 5 us are coarse, and 0 is
possible. They are for shares of a whole, never a latency.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from device_agents.errors import RunRejected
from device_agents.tools.phase import NUMBER

_REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_INITIAL = "Profiling Info for Benchmark Initialization:"
_PREFIX = re.compile(r"INFO: ")
_TABLE = re.compile(r"=+ (?P<title>[A-Z][A-Za-z ]+) =+")
_RUN_ORDER = "Run Order"
_INNER = re.compile(r"Delegate internal: ?")
_SEVERAL_GRAPHS = re.compile(r"(?:Primary graph|Subgraph) .*")
_NODES = re.compile(r"Number of nodes executed: (\d+)")
_TIMINGS = re.compile(
    rf"Timings \(microseconds\): count=(?P<runs>\d+) .*?"
    rf"(?:curr=(?P<only>\d+)(?:\(all same\))?|avg=(?P<mean>{NUMBER}) std=\d+)"
)
_INDEX = re.compile(r".*:(\d+)", re.DOTALL)
_IN_DELEGATE = "Delegate/"
_DELEGATE_NODE = re.compile(r".*delegate.*", re.IGNORECASE)
_COLUMNS = (
    ["node_type", "first", "avg_ms", "%", "cdf%", "mem_kb", "times_called", "name"],
    ["node_type", "start", "first", "avg_ms", "%", "cdf%", "mem_kb", "times_called", "name"],
)
# Half a unit of the last digit: text tables have microseconds, the pseudo-CSV six digits
_TEXT_ROUNDING_MS, _CSV_ROUNDING = 0.0005, 1e-5


@dataclass(frozen=True, slots=True)
class OpRow:
    """One operator: ``mean_ns`` a call, ``times_called`` a run, 0 for less than once.

    ``index`` is the number behind the name: of the node in the graph, or inside its delegate where
    ``in_delegate``. It is None where the tool is too old to give one.
    """

    node_type: str
    name: str
    index: int | None
    mean_ns: float
    times_called: int
    in_delegate: bool


@dataclass(frozen=True, slots=True)
class OpProfile:
    """Operators in order of execution, and apart from them the delegates that enclose some.

    A delegate without rows of operators of its own, such as a GPU, is all there is of them.
    """

    rows: tuple[OpRow, ...]
    delegates: tuple[OpRow, ...]
    runs: int


@dataclass(slots=True)
class _Table:
    regular: bool
    inner: bool
    columns: list[str] = field(default_factory=list)
    rows: list[OpRow] = field(default_factory=list)
    rounding_ms: float = 0.0
    nodes: int | None = None
    timings: re.Match[str] | None = None


def parse_op_profile(text: str) -> OpProfile:
    """Return the profile of the timed runs in a profile file, or in what the tool printed.

    Raises:
        RunRejected: there is none, it is cut, or its rows do not add up to what it says of them.
    """
    try:
        regular = [table for table in _read_tables(text) if table.regular]
        outer = [table for table in regular if not table.inner]
        inner = [table for table in regular if table.inner]
        if len(outer) != 1 or len(inner) > 1:
            raise RunRejected(f"expected one profile of operators, found {len(outer)}")
        for table in regular:
            _check(table)
        nodes = [row for table in regular for row in table.rows]
        delegates = tuple(row for row in nodes if _encloses(row))
        timings = outer[0].timings
        assert timings is not None
        return OpProfile(
            rows=tuple(row for row in nodes if not _encloses(row)),
            delegates=delegates,
            runs=int(timings["runs"]),
        )
    except RunRejected as rejected:
        raise RunRejected(rejected.reason, text) from None


def _encloses(row: OpRow) -> bool:
    return not row.in_delegate and _DELEGATE_NODE.fullmatch(row.node_type) is not None


def _read_tables(text: str) -> Iterator[_Table]:
    regular, inner, title = True, False, ""  # without titles there is but one profile
    table: _Table | None = None
    lines = text.replace("\r\n", "\n").split("\n")[:-1]
    for line in (_PREFIX.sub("", line, count=1) for line in lines):
        if line in (_REGULAR, _INITIAL):
            regular, inner, title = line == _REGULAR, False, ""
        elif _INNER.fullmatch(line):
            inner, title = True, ""
        elif _SEVERAL_GRAPHS.fullmatch(line):
            raise RunRejected("expected one graph, found a model of several")
        elif heading := _TABLE.fullmatch(line):
            title = heading["title"]
            if title == _RUN_ORDER:
                if table is not None:
                    yield table
                table = _Table(regular=regular, inner=inner)
        elif table is not None:
            _read_line(table, title, line)
    if table is not None:
        yield table


def _read_line(table: _Table, title: str, line: str) -> None:
    if found := _NODES.fullmatch(line):
        table.nodes = int(found[1])
    elif timings := _TIMINGS.fullmatch(line):
        if table.timings is not None:
            raise RunRejected("expected one total for each table, found two")
        table.timings = timings
    elif title == _RUN_ORDER and line.strip():
        if table.columns:
            table.rows.append(_read_row(table, line))
        else:
            table.columns = _read_columns(line)
            table.rounding_ms = _TEXT_ROUNDING_MS if line.startswith("\t") else 0.0


def _fields(line: str, count: int) -> list[str]:
    if line.startswith("\t"):
        return [part.strip() for part in line[1:].split("\t", count - 1)]
    return [part.replace("\t", ",") for part in line.rsplit(", ", count - 1)]


def _read_columns(line: str) -> list[str]:
    for columns in _COLUMNS:
        found = [part.strip("[]").lower().replace(" ", "_") for part in _fields(line, len(columns))]
        if found == columns:
            return columns
    raise RunRejected(f"expected the columns of an operator profile, found {line!r}")


def _read_row(table: _Table, line: str) -> OpRow:
    parts = _fields(line, len(table.columns))
    row = dict(zip(table.columns, parts, strict=False))
    mean, called = row.get("avg_ms", ""), row.get("times_called", "")
    whole = len(parts) == len(table.columns) and all((row["node_type"], row["name"]))
    if not whole or re.fullmatch(NUMBER, mean) is None or not called.isdecimal():
        raise RunRejected(f"expected an operator with its times, found {line!r}")
    index = _INDEX.fullmatch(row["name"])
    return OpRow(
        node_type=row["node_type"],
        name=row["name"],
        index=int(index[1]) if index else None,
        mean_ns=float(mean) * 1e6,
        times_called=int(called),
        in_delegate=table.inner or row["name"].startswith(_IN_DELEGATE),
    )


def _check(table: _Table) -> None:
    """Hold the rows against the number and the total time that the tool gives of them."""
    if table.nodes != len(table.rows) or not table.rows:
        raise RunRejected(f"expected {table.nodes} operators, found {len(table.rows)}")
    if table.timings is None:
        raise RunRejected("expected the total time of the operators, found that it is cut off")
    seen = Counter((row.name, row.index) for row in table.rows if row.index is not None)
    if seen and max(seen.values()) > 1:
        raise RunRejected(f"expected each operator once, found {seen.most_common(1)[0][0][0]!r}")
    if any(row.times_called != 1 for row in table.rows):
        return  # means a call do not add up to a run
    total_ns = float(table.timings["mean"] or table.timings["only"]) * 1e3
    slack_ns = table.rounding_ms * 1e6 * len(table.rows) + 2 * _CSV_ROUNDING * total_ns
    if not any(abs(total - total_ns) <= slack_ns for total in _totals_ns(table.rows)):
        raise RunRejected(f"expected rows that add up to {total_ns / 1e6:g} ms, found others")


def _totals_ns(rows: Iterable[OpRow]) -> tuple[float, float]:
    """Return the total of all rows, and without delegates, which enclose operators."""
    rows = tuple(rows)
    return (
        sum(row.mean_ns for row in rows),
        sum(row.mean_ns for row in rows if not _encloses(row)),
    )
