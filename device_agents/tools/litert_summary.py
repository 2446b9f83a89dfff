"""The closing block of ``benchmark_litert_model``, which says the times again, in milliseconds.

    INFO: [benchmark_litert_model.h:88] Inference (avg):      11.87 ms (84 runs)

Two decimals are too few for a value, and enough to hold against the ``count=`` lines.
"""

from __future__ import annotations

import re

from device_agents.errors import RunRejected
from device_agents.tools.phase import AVERAGE_PRECISION, Phase
from device_agents.tools.tool_log import ToolLog

_RECORD = re.compile(r"\[\S*benchmark_litert_model\.(?:h|cc):\d+\] ?(.*)")
_TITLE = re.compile(r"=+ BENCHMARK RESULTS =+")
_END = re.compile(r"={20,}")
_VALUE = re.compile(r"(?P<what>[^:]+):\s+(?P<ms>\d+\.\d\d) ms(?: \((?P<runs>\d+) runs\))?")
# Half of the last decimal, and the six digits of the lines above
_ROUNDING_NS = 5_001


def is_litert(log: ToolLog) -> bool:
    """Return whether the successor printed this."""
    return bool(log.find(_RECORD)) or bool(log.find(_TITLE))


def check_litert_summary(log: ToolLog, *, init_ns: int, warmup: Phase, timed: Phase) -> None:
    """Return if the closing block is there, whole, and says what the lines above it say.

    Raises:
        RunRejected: it does not.
    """
    log.find_all(_TITLE, count=1, what="'BENCHMARK RESULTS'")
    records = [match[1] for _, match in log.find(_RECORD)]
    if sum(_END.fullmatch(record) is not None for record in records) != 1:
        raise RunRejected("expected the closing lines to end once, found them cut or doubled")
    found = [match for record in records if (match := _VALUE.fullmatch(record))]
    expected = {
        "Model initialization": (init_ns, None),
        "Warmup (first)": (warmup.first_ns, None),
        "Warmup (avg)": (warmup.mean_ns, warmup.runs),
        "Inference (avg)": (timed.mean_ns, timed.runs),
        "Inference (min)": (timed.min_ns, None),
        "Inference (max)": (timed.max_ns, None),
    }
    for what, (time_ns, runs) in expected.items():
        said = [match for match in found if match["what"] == what]
        if len(said) != 1:
            raise RunRejected(f"expected {what!r} once in the closing lines, found {len(said)}")
        off_ns = abs(float(said[0]["ms"]) * 1e6 - time_ns)
        if off_ns > _ROUNDING_NS + AVERAGE_PRECISION * time_ns or (
            runs is not None and said[0]["runs"] != str(runs)
        ):
            raise RunRejected(f"expected {time_ns / 1e6:g} ms, found {said[0][0]!r}")
