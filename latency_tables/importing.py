"""Importing: files of other programs, and our own exports, as latency tables.

    .yaml .yml   once-for-all and ProxylessNAS: KEY: {count, mean, std | var}, the mean in ms
    .csv         a row a line; columns ``layer`` and ``hot_ms``, others of SCHEMA if they are there
    .json        our own export: the whole table, condition included
    .parquet     a table's file

What comes without a condition is given one that says so: every field that nobody named is
``unknown`` (0 where a number belongs), its method among them, so that it never equals the
condition of anything that was measured here. Its rows have no journal, no interval (a standard
deviation within one session says nothing of another), and ``spread`` is the relative standard
deviation. A time that nobody knows is 0, a model's unknown sha256 is empty.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from device_agents.measurement import Condition
from latency_tables.errors import ImportFailed, InvalidRow, TableDamaged
from latency_tables.exporting_tables import checksum_of
from latency_tables.peer_tables import read_peer_table
from latency_tables.rows import Calibration, Provenance, Row, Status
from latency_tables.table import SCHEMA, LatencyTable
from latency_tables.units import parse_unit
from networks.errors import NetworkError

UNKNOWN = "unknown"
FORMATS = (".csv", ".json", ".parquet", ".yaml", ".yml")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_REQUIRED = ("layer", "hot_ms")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a person says of rows that come without a condition; the rest is unknown.

    ``scale`` is the factor from sums of rows to whole networks: 1 where the table's own users add
    rows up, as both peers do. Without it no network is predicted.
    """

    device: str
    soc: str = UNKNOWN
    os_build: str = UNKNOWN
    runtime: str = UNKNOWN
    delegate: str = UNKNOWN
    precision: str = UNKNOWN
    threads: int = 0
    scale: float | None = None

    def condition(self, source: str) -> Condition:
        """Return the condition of rows from this kind of file: never one of a measurement."""
        return Condition.from_dict({
            "device": self.device, "soc": self.soc, "os_build": self.os_build,
            "runtime": self.runtime, "delegate": self.delegate, "precision": self.precision,
            "threads": self.threads, "cores": UNKNOWN, "power_mode": UNKNOWN, "batch": 0,
            "method": UNKNOWN, "statistic": UNKNOWN, "summary": f"imported-{source}",
            "protocol": 0,
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """A table made of a file, and of each of the file's keys that is not in it, why."""

    table: LatencyTable
    left_out: Mapping[str, str]


def import_file(path: Path, *, name: str, origin: Origin | None = None) -> Imported:
    """Return the table in a file of one of ``FORMATS``, under this name.

    Args:
        origin: what is known of rows in YAML or CSV; the others hold their own condition.

    Raises:
        ImportFailed: no such file, another format, or something in it is not as it must be; one
            line that says where.
        TableError: a ``.parquet`` that is damaged or newer.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ImportFailed(path, f"expected a file of {', '.join(FORMATS)}, found {suffix!r}")
    if suffix in (".json", ".parquet"):
        if origin is not None:
            raise ImportFailed(path, "it holds its own condition; name no device")
        table = LatencyTable.load(path) if suffix == ".parquet" else _read_json(path)
        return Imported(replace(table, name=name), {})
    if origin is None:
        raise ImportFailed(path, "expected the device its rows are of, found none: --device-name")
    data = _read(path)
    text = _text(path, data)
    read = read_csv if suffix == ".csv" else read_peer_table
    rows, left_out, source = read(path, text)
    said = f"imported from {path.name}, sha256 {hashlib.sha256(data).hexdigest()}"
    try:
        table = LatencyTable.from_rows(
            name, origin.condition(source), rows, provenance=Provenance(said, "", "", ()),
            calibration=None if origin.scale is None else Calibration(origin.scale, None, 0),
        )  # fmt: skip
    except InvalidRow as error:
        raise ImportFailed(path, str(error)) from error
    return Imported(table, left_out)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImportFailed(path, f"cannot be read: {error.strerror}") from error


def _text(path: Path, data: bytes) -> str:
    """Return the text of a file that ends as a whole file does."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"{error.reason} at byte {error.start}"
        raise ImportFailed(path, f"expected UTF-8, found {found}") from error
    if not text.endswith("\n"):
        raise ImportFailed(
            path, "expected a newline at its end, found none: it may be cut short; add one if not"
        )
    return text


def _read_json(path: Path) -> LatencyTable:
    try:
        found = json.loads(_read(path))
        about, rows = found["table"], found["rows"]
        if found["sha256"] != checksum_of(about, rows):
            raise TableDamaged(
                f"{path}: expected sha256 {str(found['sha256'])[:12]}..., found"
                f" {checksum_of(about, rows)[:12]}...: changed after it was written; export again"
            )
        return LatencyTable.from_description(
            about, lambda: pa.Table.from_pylist(rows, schema=SCHEMA), path
        )
    except (KeyError, TypeError, ValueError, RecursionError, pa.ArrowException) as error:
        raise ImportFailed(
            path, f"expected a table as `hilnas table export` writes it ({type(error).__name__})"
        ) from error


def read_csv(path: Path, text: str) -> tuple[list[Row], dict[str, str], str]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: dict[str, Row] = {}
    try:
        header = next(lines, [])
        _check_header(path, header)
        for values in lines:
            if not values:
                continue
            if len(values) != len(header):
                raise ImportFailed(
                    path, f"expected {len(header)} values, found {len(values)}", lines.line_num
                )
            row = _csv_row(path, lines.line_num, dict(zip(header, values, strict=True)))
            if row.layer in rows:
                raise ImportFailed(
                    path, f"expected each layer once, found {row.layer} again", lines.line_num
                )
            rows[row.layer] = row
    except csv.Error as error:
        raise ImportFailed(path, str(error), lines.line_num) from error
    return list(rows.values()), {}, "csv"


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        raise ImportFailed(path, f"expected columns {' and '.join(missing)}, found {header}", 1)
    unknown = [name for name in header if name not in SCHEMA.names]
    if unknown or len(set(header)) < len(header):
        raise ImportFailed(
            path, f"expected columns of {', '.join(SCHEMA.names)}, each once, found"
            f" {', '.join(unknown) or 'one twice'}", 1,
        )  # fmt: skip


def _csv_row(path: Path, line: int, values: Mapping[str, str]) -> Row:
    def of(name: str, parse: Callable[[str], Any], default: object) -> Any:
        text = values.get(name, "")
        if text == "":
            return default
        try:
            return parse(text)
        except ValueError as error:
            raise ImportFailed(
                path, f"expected a number as {name}, found {text!r}", line
            ) from error

    layer = values["layer"]
    try:
        parse_unit(layer)
        return Row(
            layer=layer,
            hot_ms=of("hot_ms", _float, math.nan),
            cold_ms=of("cold_ms", _float, None),
            visits=of("visits", _int, 1),
            status=cast(Status, values.get("status") or "ok"),
            spread=of("spread", _float, 0.0),
            measured_unix_s=of("measured_unix_s", _float, 0.0),
            sha256=values.get("sha256", ""),
            low_ms=of("low_ms", _float, None),
            high_ms=of("high_ms", _float, None),
            p90_ms=of("p90_ms", _float, None),
            samples=of("samples", _int, 0),
            reason=values.get("reason", ""),
            serial=values.get("serial") or None,
            journal_rows=tuple(map(_int, values.get("journal_rows", "").split())),
        )
    except (InvalidRow, NetworkError, ValueError) as error:
        raise ImportFailed(path, str(error), line) from error


def _float(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _int(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise ValueError(f"expected a whole number, found {text!r}")
    return int(text)
