"""A disk that is full while it is written to."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def full_disk(limit_bytes: int = 1024) -> Iterator[None]:
    """No file may grow beyond the limit: the kernel refuses as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        yield
    finally:  # before anything is printed: standard output may be a longer file
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(directory: Path) -> dict[str, bytes]:
    """Return the bytes of every file in a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}
