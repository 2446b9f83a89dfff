"""Exporting tables: one file for other programs, of the format that its name says.

.csv       the rows alone; journal rows are joined by spaces, what is unknown is empty
.json      everything, with a checksum; `importing.import_file` gives back an equal table
.parquet   the table's own file, which pandas, DuckDB and pyarrow read
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latency_tables.errors import TableError
from latency_tables.store import write_whole
from latency_tables.table import LatencyTable


def export_table(table: LatencyTable, path: Path) -> None:
    """Write the table to ``path``; whole or not at all.

    Raises:
        TableError: its suffix names none of the formats, or it cannot be written.
    """
    write = _FORMATS.get(path.suffix.lower())
    if write is None:
        raise TableError(f"{path}: expected a file of {', '.join(_FORMATS)}, found {path.suffix!r}")
    write_whole(path, write(table))


def checksum_of(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the sha256 of a table's description and rows, however their file is laid out."""
    canonical = json.dumps([about, rows], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _to_csv(table: LatencyTable) -> bytes:
    columns = {name: table.rows[name].to_pylist() for name in table.rows.schema.names}
    columns["journal_rows"] = [" ".join(map(str, ids)) for ids in columns["journal_rows"]]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _to_json(table: LatencyTable) -> bytes:
    about, rows = table.describe(), table.rows.to_pylist()
    found = {"sha256": checksum_of(about, rows), "table": about, "rows": rows}
    return json.dumps(found, indent=1).encode() + b"\n"


_FORMATS: dict[str, Callable[[LatencyTable], bytes]] = {
    ".csv": _to_csv,
    ".json": _to_json,
    ".parquet": LatencyTable.to_bytes,
}
