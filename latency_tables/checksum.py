"""Checksum: a table's file holds the sha256 of itself, taken with the digits as zeros.

So a byte changed anywhere, or cut off, is refused before the file is parsed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from latency_tables.errors import TableDamaged

_MARK = b"sha256-of-this-file:"
_CHECKSUM = re.compile(_MARK + rb"([0-9a-f]{64})")
NO_CHECKSUM = _MARK + b"0" * 64
"""What a file holds where its checksum will be."""


def seal(data: bytes) -> bytes:
    """Return a file that holds `NO_CHECKSUM` once, with its checksum there."""
    return data.replace(NO_CHECKSUM, _MARK + _digest(data, data.index(NO_CHECKSUM)))


def require_whole(data: bytes, path: Path) -> None:
    """Check that these bytes are a table's file as it was written; ``path`` is for messages.

    Raises:
        TableDamaged: they are not.
    """
    if data[:4] != b"PAR1":
        raise TableDamaged(f"{path}: expected a latency table, found no Parquet file")
    if data[-4:] != b"PAR1":
        raise TableDamaged(f"{path}: expected a whole file, found one cut short; restore a copy")
    checksums = list(_CHECKSUM.finditer(data))
    if len(checksums) != 1:
        raise TableDamaged(
            f"{path}: expected a table's checksum, found {len(checksums)};"
            " it is no latency table, or was written by another program"
        )
    expected, found = checksums[0][1], _digest(data, checksums[0].start())
    if found != expected:
        raise TableDamaged(
            f"{path}: expected sha256 {expected[:12].decode()}..., found"
            f" {found[:12].decode()}...: changed after it was written; restore a copy"
        )


def _digest(data: bytes, start: int) -> bytes:
    """Return the digits of a file whose checksum stands, or will stand, at ``start``."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(NO_CHECKSUM)
    digest.update(view[start + len(NO_CHECKSUM) :])
    return digest.hexdigest().encode()
