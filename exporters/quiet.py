"""Quiet: a converter's chatter, kept off the terminal unless the converter fails."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from exporters.errors import ExportError

_STREAMS = (1, 2)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back what is written to standard output and error, from C++ too.

    When the body fails in a way that we do not know, what was kept goes to standard error, before
    the exception goes on.
    """
    with tempfile.TemporaryFile("a+", errors="replace") as kept:
        try:
            with (
                _redirected(kept.fileno()),
                contextlib.redirect_stdout(kept),
                contextlib.redirect_stderr(kept),
            ):
                yield
        except ExportError:  # whose own line says it all
            raise
        except Exception:
            kept.seek(0)
            sys.stderr.write(kept.read())
            raise


@contextlib.contextmanager
def _redirected(target: int) -> Iterator[None]:
    """Let the process's standard streams lead to another open file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {stream: os.dup(stream) for stream in _STREAMS}
    try:
        for stream in _STREAMS:
            os.dup2(target, stream)
        yield
    finally:
        for stream, copy in saved.items():
            os.dup2(copy, stream)
            os.close(copy)
