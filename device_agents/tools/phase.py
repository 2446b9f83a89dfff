"""Phase: the statistics of one phase of a run, warm-up or timed, from the tool's ``count=`` line.

    count=N [first=F curr=C min=m max=M avg=A std=S] [p5=.. median=.. p95=..]     microseconds

One run prints ``curr`` alone, equal ones ``curr=X(all same)``. Times are whole microseconds but for
the average, which C++ prints with six significant digits: ``2.46706e+06`` is 2.46706 seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from device_agents.errors import RunRejected

_INT = r"\d+"
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]\d+)?"
_LINE = re.compile(
    rf"count=(?P<count>{_INT})"
    rf"(?: first=(?P<first>{_INT}))?(?: curr=(?P<curr>{_INT})(?P<same>\(all same\))?)?"
    rf"(?: min=(?P<min>{_INT}) max=(?P<max>{_INT}) avg=(?P<avg>{NUMBER}) std=(?P<std>{_INT}))?"
    rf"(?: p5=(?P<p5>{_INT}) median=(?P<median>{_INT}) p95=(?P<p95>{_INT}))?"
)
# Six significant digits
AVERAGE_PRECISION = 1e-5
_ROUNDING_S = 0.5e-9
# A phase cut short by its time limit spent at least this share of it inside runs
_CAPPED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Phase:
    """What a phase's runs took, in nanoseconds of wall time; percentiles are None of old tools.

    Values are positive and in order; ``mean_text`` is the average as the tool writes it, by which
    other lines are held against this one.
    """

    runs: int
    first_ns: int
    last_ns: int
    min_ns: int
    mean_ns: int
    max_ns: int
    p5_ns: int | None
    median_ns: int | None
    p95_ns: int | None
    mean_text: str


def parse_phase(line: str) -> Phase:
    """Return the phase of this line.

    Raises:
        RunRejected: the line is damaged, holds no run, or a time that cannot be.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise RunRejected(f"expected statistics of a phase, found {line!r}")
    text = found.groupdict()
    runs = int(text["count"])
    if runs == 0 or text["curr"] is None:
        raise RunRejected(f"expected at least one run, found {line!r}")
    detailed = text["avg"] is not None
    if detailed != (text["first"] is not None) or (runs == 1 or text["same"]) == detailed:
        raise RunRejected(f"expected the statistics of {runs} runs, found {line!r}")
    only = text["curr"]
    mean_text = text["avg"] or f"{int(only):.6g}"
    phase = Phase(
        runs=runs,
        first_ns=_ns(text["first"] or only),
        last_ns=_ns(only),
        min_ns=_ns(text["min"] or only),
        mean_ns=_ns(text["avg"] or only),
        max_ns=_ns(text["max"] or only),
        p5_ns=None if text["p5"] is None else _ns(text["p5"]),
        median_ns=None if text["median"] is None else _ns(text["median"]),
        p95_ns=None if text["p95"] is None else _ns(text["p95"]),
        mean_text=mean_text,
    )
    _check_order(phase, line)
    return phase


def _ns(microseconds: str) -> int:
    return round(Decimal(microseconds) * 1000)


def _check_order(phase: Phase, line: str) -> None:
    if phase.min_ns <= 0:
        raise RunRejected(
            f"a run of 0 us is faster than the tool's clock can tell, time it as part of a larger "
            f"model: {line!r}"
        )
    inside = [t for t in (phase.p5_ns, phase.median_ns, phase.p95_ns) if t is not None]
    ordered = [phase.min_ns, *inside, phase.max_ns]
    slack = AVERAGE_PRECISION * phase.max_ns
    if (
        ordered != sorted(ordered)
        or not phase.min_ns - slack <= phase.mean_ns <= phase.max_ns + slack
        or not all(phase.min_ns <= t <= phase.max_ns for t in (phase.first_ns, phase.last_ns))
    ):
        raise RunRejected(f"expected min <= p5 <= median <= p95 <= max, found {line!r}")


def check_length(phase: Phase, *, runs: int, min_s: float, max_s: float) -> bool:
    """Return whether the phase was cut short by its time limit, having checked that it fits.

    The tool starts another run while it has had fewer than ``runs`` or less than ``min_s``, and
    ``max_s`` are not over. So what it had before its last run tells whether that one was due.

    Raises:
        RunRejected: fewer runs than asked with time left, or more than there was time for.
    """
    total_s = phase.runs * phase.mean_ns / 1e9
    before_s = total_s - phase.last_ns / 1e9
    capped = phase.runs < runs
    if capped and total_s < _CAPPED_SHARE * max_s:
        raise RunRejected(f"expected {runs} runs or {max_s:g} s of them, found {phase.runs} runs")
    limit_s = min(min_s, max_s) if phase.runs > runs else max_s
    if before_s > limit_s + AVERAGE_PRECISION * total_s + phase.runs * _ROUNDING_S:
        raise RunRejected(
            f"expected {runs} runs, or more within {limit_s:g} s, found {phase.runs} runs that "
            f"took {total_s:g} s"
        )
    return capped
