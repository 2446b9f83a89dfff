"""Profile report: the tool's tables of operators, as text or as its pseudo-CSV.

In the pseudo-CSV commas of a name are tabs and those of a node type stay, as in the tool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from device_agents.emulator.profiled_model import OperatorTime
from device_agents.emulator.statistics_line import statistic

_TOP = 10


@dataclass(slots=True)
class Row:
    """One node: what each run of it took, in microseconds."""

    node_type: str
    name: str
    runs_us: list[int] = field(default_factory=list)
    memory_kb: int = 0

    @property
    def first_ms(self) -> float:
        """The first run."""
        return self.runs_us[0] / 1000

    @property
    def mean_ms(self) -> float:
        """The mean over the runs."""
        return sum(self.runs_us) / len(self.runs_us) / 1000


class Rows:
    """The rows of many runs, in order of execution.

    ``outputs`` are the names of what the graph's nodes write, by which the tool calls those
    that no delegate took.
    """

    def __init__(self, outputs: Mapping[int, Sequence[str]]) -> None:
        self._outputs = outputs
        self._rows: dict[tuple[str, int, bool], Row] = {}
        self._totals_us: list[int] = []

    def add(self, operators: Iterable[OperatorTime]) -> None:
        """Take in the operators of one run."""
        total_us = 0
        for operator in operators:
            key = (operator.tag, operator.index, operator.in_delegate)
            if key not in self._rows:
                outputs = ", ".join(self._outputs.get(operator.index, ()))
                what = f"Delegate/{operator.tag}" if operator.in_delegate else f"[{outputs}]"
                name = f"{what}:{operator.index}"
                self._rows[key] = Row(operator.tag, name)
            self._rows[key].runs_us.append(operator.elapsed_us)
            total_us += operator.elapsed_us
        self._totals_us.append(total_us)

    def report(self, *, csv: bool) -> str:
        """Return the tables."""
        return report(list(self._rows.values()), self._totals_us, csv=csv)


def report(rows: Sequence[Row], totals_us: Sequence[int], *, csv: bool) -> str:
    """Return the tables of these rows; ``totals_us`` is what each run took, all rows together."""
    style = _CSV if csv else _TEXT
    total_ms = sum(row.mean_ms for row in rows)
    top = sorted(rows, key=lambda row: -row.mean_ms)[:_TOP]
    return "".join(
        (
            _title("Run Order"),
            style.table(rows, total_ms),
            "\n",
            _title("Top by Computation Time"),
            style.table(top, total_ms),
            "\n",
            f"Number of nodes executed: {len(rows)}\n",
            _title("Summary by node type"),
            style.summary(rows),
            "\n",
            f"Timings (microseconds): {statistic(totals_us)}\n",
            "Memory (bytes): count=0\n",
            f"{len(rows)} nodes observed\n\n\n",
        )
    )


def _title(text: str) -> str:
    return f"============================== {text} ==============================\n"


@dataclass(frozen=True, slots=True)
class _Style:
    header: str
    row: Callable[[Row, float, float], str]
    summary_header: str
    summary_row: Callable[[str, int, float, float, float, int], str]

    def table(self, rows: Sequence[Row], total_ms: float) -> str:
        lines, sum_ms = [self.header], 0.0
        for row in rows:
            sum_ms += row.mean_ms
            lines.append(self.row(row, _percent(row.mean_ms, total_ms), _percent(sum_ms, total_ms)))
        return "".join(line + "\n" for line in lines)

    def summary(self, rows: Sequence[Row]) -> str:
        """Means of a node type are whole microseconds, as in the tool."""
        kinds: dict[str, list[Row]] = {}
        for row in rows:
            kinds.setdefault(row.node_type, []).append(row)
        means_ms = {
            kind: int(1000 * sum(row.mean_ms for row in group)) / 1000
            for kind, group in kinds.items()
        }
        total_ms, sum_ms, lines = sum(means_ms.values()), 0.0, [self.summary_header]
        for kind in sorted(kinds, key=lambda kind: -means_ms[kind]):
            sum_ms += means_ms[kind]
            lines.append(
                self.summary_row(
                    kind,
                    len(kinds[kind]),
                    means_ms[kind],
                    _percent(means_ms[kind], total_ms),
                    _percent(sum_ms, total_ms),
                    sum(row.memory_kb for row in kinds[kind]),
                )
            )
        return "".join(line + "\n" for line in lines)


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan


def _show(percent: float, form: str) -> str:
    """Of no time at all the tool makes 0 / 0, and prints it."""
    return f"{'-nan' if math.isnan(percent) else format(percent, form):>{_width(form)}}%"


def _width(form: str) -> str:
    return form.partition(".")[0] if "." in form else ""


def _csv_row(row: Row, percent: float, sum_percent: float) -> str:
    name = row.name.replace(",", "\t")
    return (
        f"{row.node_type}, {row.first_ms:g}, {row.mean_ms:g}, {_show(percent, 'g')}, "
        f"{_show(sum_percent, 'g')}, "
        f"{row.memory_kb}, 1, {name}"
    )


def _text_row(row: Row, percent: float, sum_percent: float) -> str:
    return (
        f"\t{row.node_type:>40}\t{row.first_ms:9.3f}\t{row.mean_ms:9.3f}\t{_show(percent, '7.3f')}"
        f"\t{_show(sum_percent, '7.3f')}\t{row.memory_kb:10.3f}\t{1:9}\t{row.name}"
    )


_CSV = _Style(
    "node type, first, avg_ms, %, cdf%, mem KB, times called, name",
    _csv_row,
    "node type, count, avg_ms, avg %, cdf %, mem KB, times called",
    lambda kind, count, mean_ms, percent, sum_percent, kb: (
        f"{kind}, {count}, {mean_ms:g}, {_show(percent, 'g')}, {_show(sum_percent, 'g')}, "
        f"{kb}, {count}"
    ),
)
_TEXT = _Style(
    f"\t{'[node type]':>40}\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]"
    "\t[times called]\t[Name]",
    _text_row,
    f"\t{'[Node type]':>40}\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t  [mem KB]"
    "\t[times called]",
    lambda kind, count, mean_ms, percent, sum_percent, kb: (
        f"\t{kind:>40}\t{count:9}\t{mean_ms:10.3f}\t{_show(percent, '10.3f')}"
        f"\t{_show(sum_percent, '10.3f')}"
        f"\t{kb:10.3f}\t{count:9}"
    ),
)
