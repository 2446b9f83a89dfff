"""Rows: what a latency table holds: Row, MeasuredNetwork, Anchor, Calibration, PackCheck.

Whatever has no value that can be is refused when it is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from latency_tables.errors import InvalidRow

LATENCIES = ("hot_ms", "cold_ms", "low_ms", "high_ms", "p90_ms")
Status = Literal["ok", "unstable", "predicted"]
CalibrationKind = Literal["scale", "scale-and-call", "scale-and-cold"]
LEAST_SHARE = 0.1  # of a row, whatever the call of the runtime takes
LEVEL = 0.90
"""Probability that another session's value lies in a row's interval."""
Z = 1.6448536269514722  # half of an interval of that level, in standard deviations
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One layer's latency: floor of hot invocations, median of cold ones if the method has any.

    status          ``ok``; ``unstable`` where the smallest visit minima did not come to agree;
                    ``predicted`` where nothing was measured and a model says it, with an interval
    reason          why it is not ``ok``, in words
    spread          how far the smallest minima lie apart, relative
    low_ms, high_ms where an independent session's value would lie, 90 %; None where unknown
    p90_ms          90th percentile of the hot samples
    measured_unix_s start of the last visit
    serial          the specimen it was measured on, where that has one
    journal_rows    ids of its visits in the journal
    """

    layer: str
    hot_ms: float
    cold_ms: float | None
    visits: int
    status: Status
    spread: float
    measured_unix_s: float
    sha256: str
    low_ms: float | None = None
    high_ms: float | None = None
    p90_ms: float | None = None
    samples: int = 0
    reason: str = ""
    serial: str | None = None
    journal_rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in LATENCIES:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidRow(f"{self.layer}: {name} is finite and over 0, found {value}")
        if self.status not in get_args(Status):
            raise InvalidRow(
                f"{self.layer}: status is one of {', '.join(get_args(Status))},"
                f" found {self.status!r}"
            )
        least = 0 if self.status == "predicted" else 1
        if self.visits < least or not (math.isfinite(self.spread) and self.spread >= 0):
            raise InvalidRow(f"{self.layer}: visits start at 1 and spread at 0, found {self}")
        if (self.low_ms is None) != (self.high_ms is None):
            raise InvalidRow(f"{self.layer}: an interval has two ends, found {self}")
        if self.low_ms is not None and not self.low_ms <= self.hot_ms <= (self.high_ms or 0.0):
            raise InvalidRow(f"{self.layer}: hot_ms lies in its interval, found {self}")
        if self.status == "predicted" and self.low_ms is None:
            raise InvalidRow(f"{self.layer}: a predicted row has an interval, found none")

    @property
    def relative_std(self) -> float | None:
        """Standard deviation of another session's value, relative; None where unknown."""
        if self.low_ms is None or self.high_ms is None:
            return None
        return math.log(self.high_ms / self.low_ms) / (2 * Z)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A fixed model that tells drift: measured first in every refresh, against ``latency_ms``.

    ``kind`` is a layer's kind or ``network``; ``label`` a layer key or a network's text; ``band``
    the relative difference of one session's value that still is no drift.
    """

    kind: str
    label: str
    sha256: str
    latency_ms: float
    band: float


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A whole network measured end to end: its layers' keys in order, and its latency.

    ``low_ms`` and ``high_ms`` as in a `Row`.
    """

    label: str
    layers: tuple[str, ...]
    latency_ms: float
    cold_ms: float | None
    visits: int
    status: Status
    measured_unix_s: float
    sha256: str
    low_ms: float | None = None
    high_ms: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.latency_ms) and self.latency_ms > 0):
            raise InvalidRow(
                f"{self.label}: latency_ms is finite and over 0, found {self.latency_ms}"
            )


@dataclass(frozen=True, slots=True)
class Calibration:
    """``latency = scale x sum of shares``, from ``networks`` networks.

    networks        0 where nobody measured one and a person said the scale, as of an imported table
    residual        relative standard deviation of networks around it; None where too few tell
    scale_std       relative standard error of the scale, in another session; None where unknown
    kind            what a layer's share is; others than the first only if cross-validation says so
    coefficients    the kind's own numbers

    kind            share of a layer                  coefficients
    scale           row                               none
    scale-and-call  row - call                        call in milliseconds
    scale-and-cold  row + part x (cold - row)         part, 0 to 1; usual (cold - row) / row, which
                                                      stands in where a row has no cold sample
    """

    scale: float
    residual: float | None
    networks: int
    scale_std: float | None = None
    kind: CalibrationKind = "scale"
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise InvalidRow(f"a calibration's scale is finite and over 0, found {self}")
        if self.networks < (0 if self.residual is None else 1):
            raise InvalidRow(f"a calibration's residual is of 1 network or more, found {self}")
        wanted = {"scale": 0, "scale-and-call": 1, "scale-and-cold": 2}
        known = wanted.get(self.kind) == len(self.coefficients)
        if not (known and all(math.isfinite(c) and c >= 0 for c in self.coefficients)):
            raise InvalidRow(f"a calibration is of a known kind with its numbers, found {self}")

    @property
    def is_additive(self) -> bool:
        """Whether a network's latency is a sum over its layers, as exact answers need it."""
        return self.kind in get_args(CalibrationKind)

    def shares_ms(self, rows_ms: Floats, cold_ms: Floats | None = None) -> Floats:
        """Return what rows contribute to a network's latency, of any shape, NaN where they are.

        No share is less than a tenth of its row times the scale.

        Args:
            cold_ms: of the same rows, NaN where there is no cold sample.
        """
        if self.kind == "scale-and-cold":
            part, usual = self.coefficients
            known = np.full_like(rows_ms, np.nan) if cold_ms is None else cold_ms - rows_ms
            excess = np.where(np.isnan(known), usual * rows_ms, np.maximum(known, 0.0))
            shares: Floats = rows_ms + part * excess
        else:
            shares = np.maximum(rows_ms - sum(self.coefficients), LEAST_SHARE * rows_ms)
        return self.scale * shares


@dataclass(frozen=True, slots=True)
class PackCheck:
    """How rows of packs compare with the same layers, and whole networks, timed by themselves.

    ``scale`` is the one factor of all rows, the median of clean / packed over ``layers`` layers,
    of which ``wanted`` should have been timed clean; ``layer_error`` is the median |error| after
    it, ``network_error`` that of ``networks`` networks after the calibration, None without any.
    ``discarded`` packs had rows that were not beyond doubt.
    """

    scale: float
    layers: int
    wanted: int
    layer_error: float
    networks: int
    network_error: float | None
    tolerance: float
    discarded: int

    @property
    def holds(self) -> bool:
        """Whether enough was timed clean and both medians are within the tolerance."""
        errors = (self.layer_error, self.network_error)
        return self.layers >= self.wanted and all(
            error is not None and error <= self.tolerance for error in errors
        )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the rows come from: device address, program, journal, its sessions, the specimen.

    ``serial`` is None where the device has none, or several specimens share the table.
    """

    address: str
    tool_version: str
    journal: str
    sessions: tuple[int, ...]
    serial: str | None = None
