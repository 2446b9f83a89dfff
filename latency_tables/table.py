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

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from device_agents.measurement import Condition
from latency_tables.checksum import NO_CHECKSUM, require_whole, seal
from latency_tables.errors import (
    ConditionMismatch,
    InvalidRow,
    TableError,
    TableNewer,
)
from latency_tables.rows import (
    LATENCIES,
    LEAST_SHARE,
    LEVEL,
    Anchor,
    Calibration,
    CalibrationKind,
    Floats,
    MeasuredNetwork,
    PackCheck,
    Provenance,
    Row,
    Status,
    Z,
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

__all__ = [
    "LEAST_SHARE",
    "LEVEL",
    "SCHEMA",
    "SCHEMA_VERSION",
    "Anchor",
    "Calibration",
    "CalibrationKind",
    "Floats",
    "LatencyTable",
    "MeasuredNetwork",
    "PackCheck",
    "Provenance",
    "Row",
    "Status",
]


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
        for column in LATENCIES:
            values = self.rows[column].drop_null().to_numpy()
            if not (np.isfinite(values) & (values > 0)).all():
                raise self._invalid(column)
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

    def cold_ms(self, layers: Sequence[str]) -> Floats:
        """Return the cold median of each layer key, shape ``(n,)``, NaN where there is none."""
        return self._values(self.rows["cold_ms"].to_numpy(), layers)

    def relative_std(self, layers: Sequence[str]) -> Floats:
        """Return that of each layer key's row, shape ``(n,)``, NaN where there is none."""
        low, high = (self.rows[name].to_numpy() for name in ("low_ms", "high_ms"))
        return self._values(np.log(high / low) / (2 * Z), layers)

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
            b"hilnas.checksum": NO_CHECKSUM,
        }
        sink = pa.BufferOutputStream()
        # store_schema=False: Arrow's own copy of the schema would only repeat SCHEMA
        with pq.ParquetWriter(sink, SCHEMA, store_schema=False) as writer:
            writer.write_table(self.rows)
            writer.add_key_value_metadata(metadata)
        data: bytes = sink.getvalue().to_pybytes()
        return seal(data)

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> Self:
        """Return the table in this file's bytes; ``path`` is for messages.

        Raises:
            TableDamaged: not a whole table as it was written.
            TableNewer: written by a newer version of this program.
        """
        require_whole(data, path)
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
            raise TableError(f"{path}: cannot be read: {error.strerror}") from error
        return cls.from_bytes(data, Path(path))

    def _invalid(self, column: str) -> InvalidRow:
        """Return the error of the first row of which this latency cannot be."""
        found = zip(self.rows["layer"].to_pylist(), self.rows[column].to_pylist(), strict=True)
        layer, value = next(
            (layer, value)
            for layer, value in found
            if value is not None and not (math.isfinite(value) and value > 0)
        )
        return InvalidRow(f"{layer}: {column} is finite and over 0, found {value}")

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
