"""LatencyTable: what each layer costs on one device under one condition; frozen, one Parquet file.

    rows          one a layer: Row, or the columns of SCHEMA
    networks      whole networks measured end to end in the same sessions
    calibration   the factor that ties sums of rows to those networks

The file is plain Parquet, so pandas, DuckDB or pyarrow read it alone. Everything but the rows is
JSON in its metadata, beside the sha256 of the whole file (taken with the checksum's own digits
as zeros), so a byte changed anywhere is refused before the file is parsed.

History of the schema (``hilnas.table``, key ``schema``; the checksum's place never changes):
    1   the columns of SCHEMA, ``cold_ms`` in every row
    2   ``cold_ms`` is null where the method has no cold sample; the device's serial; of the packed
        method, how its rows compare with what was timed clean
    3   interval, 90th percentile, samples, reason, serial and journal rows of each row; rows that
        are predicted, not measured; anchors; the scale's error, calibrations beyond a scale
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from device_agents.measurement import Condition
from latency_tables.errors import (
    ConditionMismatch,
    InvalidRow,
    TableDamaged,
    TableError,
    TableNewer,
)
from networks.operators import is_operator_key

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 3
SCHEMA = pa.schema(
    [
        pa.field("layer", pa.string(), nullable=False),
        pa.field("hot_ms", pa.float64(), nullable=False),
        pa.field("cold_ms", pa.float64()),
        pa.field("visits", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("spread", pa.float64(), nullable=False),
        pa.field("measured_unix_s", pa.float64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("low_ms", pa.float64()),
        pa.field("high_ms", pa.float64()),
        pa.field("p90_ms", pa.float64()),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("serial", pa.string()),
        pa.field("journal_rows", pa.list_(pa.int64()), nullable=False),
    ]
)
_LATENCIES = ("hot_ms", "cold_ms", "low_ms", "high_ms", "p90_ms")
Status = Literal["ok", "unstable", "predicted"]
CalibrationKind = Literal["scale", "scale-and-call"]
LEAST_SHARE = 0.1  # of a row, whatever the call of the runtime takes
LEVEL = 0.90
"""Probability that another session's value lies in a row's interval."""
_Z = 1.6448536269514722  # half of an interval of that level, in standard deviations
Floats = npt.NDArray[np.float64]
_CHECKSUM = re.compile(rb"sha256-of-this-file:([0-9a-f]{64})")
_NO_CHECKSUM = b"sha256-of-this-file:" + b"0" * 64


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
        for name in _LATENCIES:
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
        return math.log(self.high_ms / self.low_ms) / (2 * _Z)


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
    """``latency = scale x sum of (row - call)``, from ``networks`` networks.

    residual    relative standard deviation of networks around it; None from one network
    scale_std   relative standard error of the scale itself, in another session; None where unknown
    kind        ``scale``: there is no call; ``scale-and-call``, which only cross-validation may
                choose: ``coefficients`` holds one, in milliseconds
    """

    scale: float
    residual: float | None
    networks: int
    scale_std: float | None = None
    kind: CalibrationKind = "scale"
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0 and self.networks > 0):
            raise InvalidRow(f"a calibration's scale is finite and over 0, found {self}")
        wanted = 0 if self.kind == "scale" else 1
        known = self.kind in get_args(CalibrationKind) and len(self.coefficients) == wanted
        if not (known and all(math.isfinite(c) and c >= 0 for c in self.coefficients)):
            raise InvalidRow(f"a calibration is of a known kind with its numbers, found {self}")

    @property
    def is_additive(self) -> bool:
        """Whether a network's latency is a sum over its layers, as exact answers need it."""
        return self.kind in ("scale", "scale-and-call")

    def shares_ms(self, rows_ms: Floats) -> Floats:
        """Return what rows contribute to a network's latency, of any shape, NaN where they are.

        No share is less than a tenth of its row times the scale.
        """
        call_ms = sum(self.coefficients)
        shares: Floats = self.scale * np.maximum(rows_ms - call_ms, LEAST_SHARE * rows_ms)
        return shares


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


@dataclass(frozen=True)
class LatencyTable:
    """See the module. ``rows`` has the columns of ``SCHEMA``, sorted by layer, none twice.

    ``invalid`` says of layers that were tried why they have no row; ``check`` is of packs only.
    """

    name: str
    condition: Condition
    rows: pa.Table
    networks: tuple[MeasuredNetwork, ...]
    calibration: Calibration | None
    provenance: Provenance
    invalid: Mapping[str, str] = field(default_factory=dict)
    check: PackCheck | None = None
    anchors: tuple[Anchor, ...] = ()

    def __post_init__(self) -> None:
        if not self.rows.schema.equals(SCHEMA):
            raise InvalidRow(f"expected the columns {SCHEMA.names}, found {self.rows.schema.names}")
        for column in _LATENCIES:
            known = self.rows.filter(self.rows[column].is_valid())
            values = known[column].to_numpy()
            bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            if bad.size:
                layer = known["layer"][int(bad[0])].as_py()
                raise InvalidRow(f"{layer}: {column} is finite and over 0, found {values[bad[0]]}")
        layers = self.rows["layer"].combine_chunks()
        if len(layers) and len({is_operator_key(layers[i].as_py()) for i in (0, -1)}) > 1:
            raise InvalidRow(f"table {self.name!r}: rows are of layers or of operators, found both")
        if len(layers) > 1 and not pc.all(pc.less(layers[:-1], layers[1:])).as_py():
            raise InvalidRow(
                f"table {self.name!r}: rows are sorted by layer, and no layer is twice"
            )

    @classmethod
    def from_rows(
        cls,
        name: str,
        condition: Condition,
        rows: Iterable[Row],
        *,
        provenance: Provenance,
        networks: Sequence[MeasuredNetwork] = (),
        calibration: Calibration | None = None,
        invalid: Mapping[str, str] | None = None,
        check: PackCheck | None = None,
        anchors: Sequence[Anchor] = (),
    ) -> Self:
        """Return the table of these rows, in any order.

        Raises:
            InvalidRow: two rows price one layer.
        """
        columns = [asdict(row) for row in sorted(rows, key=lambda row: row.layer)]
        arrow = pa.Table.from_pylist(columns, schema=SCHEMA)
        return cls(
            name, condition, arrow, tuple(networks), calibration, provenance, dict(invalid or {}),
            check, tuple(anchors),
        )  # fmt: skip

    @property
    def is_validated(self) -> bool:
        """Whether its method is trusted: packs are where their check holds, the others always."""
        return self.condition.method != "packed" or (self.check is not None and self.check.holds)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __contains__(self, layer: str) -> bool:
        return layer in self._places

    def row(self, layer: str) -> Row:
        """Return the row of this layer key.

        Raises:
            KeyError: there is none.
        """
        (values,) = self.rows.slice(self._places[layer], 1).to_pylist()
        return Row(**{**values, "journal_rows": tuple(values["journal_rows"])})

    def hot_ms(self, layers: Sequence[str]) -> Floats:
        """Return the hot floor of each layer key, shape ``(n,)``, NaN where there is no row."""
        return self._values(self.rows["hot_ms"].to_numpy(), layers)

    def relative_std(self, layers: Sequence[str]) -> Floats:
        """Return that of each layer key's row, shape ``(n,)``, NaN where there is none."""
        low, high = (self.rows[name].to_numpy() for name in ("low_ms", "high_ms"))
        return self._values(np.log(high / low) / (2 * _Z), layers)

    def extend(self, other: LatencyTable) -> LatencyTable:
        """Return this table with the other's rows; of two rows of one layer the later stays.

        The calibration is left out: fit it again with `calibration.calibrate`. So is the check of
        packs: build the table of both journals.

        Raises:
            ConditionMismatch: their rows are not comparable; names the fields that differ.
        """
        if self.condition != other.condition:
            raise ConditionMismatch(
                f"{other.name!r} into {self.name!r}", self.condition, other.condition
            )
        rows = pa.concat_tables([self.rows, other.rows]).sort_by(
            [("layer", "ascending"), ("measured_unix_s", "ascending"), ("sha256", "ascending")]
        )
        layers = rows["layer"].to_numpy()
        last = np.append(layers[1:] != layers[:-1], True) if len(layers) else np.zeros(0, bool)
        kept = rows.filter(pa.array(last))
        networks = {network.sha256: network for network in (*self.networks, *other.networks)}
        invalid = {**self.invalid, **other.invalid}
        priced = set(kept["layer"].to_pylist())
        return replace(
            self,
            rows=kept.combine_chunks(),
            networks=tuple(networks[sha256] for sha256 in sorted(networks)),
            calibration=None,
            check=None,
            invalid={layer: invalid[layer] for layer in sorted(invalid) if layer not in priced},
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a data frame with the columns of ``SCHEMA``."""
        return self.rows.to_pandas()

    def describe(self) -> dict[str, Any]:
        """Return everything but the rows, as JSON holds it; `from_description` is the inverse."""
        return {
            "schema": SCHEMA_VERSION,
            "name": self.name,
            "condition": self.condition.to_dict(),
            "networks": [asdict(network) for network in self.networks],
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "provenance": asdict(self.provenance),
            "invalid": dict(self.invalid),
            "check": None if self.check is None else asdict(self.check),
            "anchors": [asdict(anchor) for anchor in self.anchors],
        }

    def to_bytes(self) -> bytes:
        """Return the file; `from_bytes` is the inverse."""
        metadata = {
            b"hilnas.table": json.dumps(self.describe(), sort_keys=True).encode(),
            b"hilnas.checksum": _NO_CHECKSUM,
        }
        sink = pa.BufferOutputStream()
        # store_schema=False: Arrow's own copy of the schema would only repeat SCHEMA
        with pq.ParquetWriter(sink, SCHEMA, store_schema=False) as writer:
            writer.write_table(self.rows)
            writer.add_key_value_metadata(metadata)
        data: bytes = sink.getvalue().to_pybytes()
        return data.replace(_NO_CHECKSUM, b"sha256-of-this-file:" + _digest(data))

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> Self:
        """Return the table in this file's bytes; ``path`` is for messages.

        Raises:
            TableDamaged: not a whole table as it was written.
            TableNewer: written by a newer version of this program.
        """
        _check_bytes(data, path)
        file = pq.ParquetFile(pa.BufferReader(data))
        about = json.loads(file.metadata.metadata[b"hilnas.table"])
        return cls.from_description(about, file.read, path)

    @classmethod
    def from_description(
        cls, about: Mapping[str, Any], read_rows: Callable[[], pa.Table], path: Path
    ) -> Self:
        """Return the table of a description and its rows; ``path`` is for messages.

        Args:
            about: as of `describe`, in this or an older version of the schema.
            read_rows: gives rows with the columns of that version.

        Raises:
            TableNewer: of a newer version; the rows are not read.
        """
        if about["schema"] > SCHEMA_VERSION:
            raise TableNewer(path, about["schema"], SCHEMA_VERSION)
        calibration, provenance = about["calibration"], about["provenance"]
        check = about.get("check")  # since schema 2
        return cls(
            about["name"],
            Condition.from_dict(about["condition"]),
            _with_all_columns(read_rows()).combine_chunks(),
            tuple(
                MeasuredNetwork(**{**n, "layers": tuple(n["layers"])}) for n in about["networks"]
            ),
            None if calibration is None else _parse_calibration(calibration),
            Provenance(**{**provenance, "sessions": tuple(provenance["sessions"])}),
            about["invalid"],
            None if check is None else PackCheck(**check),
            tuple(Anchor(**anchor) for anchor in about.get("anchors", ())),  # since schema 3
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the table in this file.

        Raises:
            TableError: no such file, damaged, or newer.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise TableError(f"{path}: expected a latency table, found {error.strerror}") from error
        return cls.from_bytes(data, Path(path))

    def _values(self, column: Floats, layers: Sequence[str]) -> Floats:
        places = self._places
        found = [places.get(layer, -1) for layer in layers]
        return np.array([column[place] if place >= 0 else np.nan for place in found])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {layer: place for place, layer in enumerate(self.rows["layer"].to_pylist())}


def _with_all_columns(rows: pa.Table) -> pa.Table:
    """Return rows with what they say of the columns that their schema did not have yet."""
    none = {"samples": 0, "reason": "", "journal_rows": []}
    for column in SCHEMA:
        if column.name not in rows.schema.names:
            values = pa.array([none.get(column.name)] * rows.num_rows, column.type)
            rows = rows.append_column(column, values)
    return rows.replace_schema_metadata(None).select(SCHEMA.names).cast(SCHEMA)


def _parse_calibration(values: Mapping[str, Any]) -> Calibration:
    return Calibration(**{**values, "coefficients": tuple(values.get("coefficients", ()))})


def _check_bytes(data: bytes, path: Path) -> None:
    if data[:4] != b"PAR1":
        raise TableDamaged(f"{path}: expected a latency table, found no Parquet file")
    if data[-4:] != b"PAR1":
        raise TableDamaged(f"{path}: expected a whole file, found one cut short; restore a copy")
    checksums = _CHECKSUM.findall(data)
    if len(checksums) != 1:
        raise TableDamaged(
            f"{path}: expected a table's checksum, found {len(checksums)};"
            " it is no latency table, or was written by another program"
        )
    found = _digest(data)
    if found != checksums[0]:
        raise TableDamaged(
            f"{path}: expected sha256 {checksums[0][:12].decode()}..., found"
            f" {found[:12].decode()}...: changed after it was written; restore a copy"
        )


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(_CHECKSUM.sub(_NO_CHECKSUM, data)).hexdigest().encode()
