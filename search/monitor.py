"""Scalars: what a run shows in TensorBoard while it goes on.

The step is the number of proposals told. ``reward/mean`` is over the last batch's evaluated
proposals, ``quality/best`` the highest quality that meets the target, ``trials/distinct`` and
``trials/failed`` count networks; ``searcher/...`` are the searcher's own, see its docstring.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Scalars:
    """Writes events under a directory, or nothing where tensorboard is not installed."""

    _writer: Any = None

    def __init__(self, directory: Path) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            logging.getLogger(__name__).info("tensorboard is not installed: no events are written")
            return
        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(str(directory))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append one point to each curve."""
        if self._writer is not None:
            points = [
                self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()
            ]
            self._writer.add_event(
                self._event(step=step, wall_time=time.time(), summary=self._summary(value=points))
            )

    def close(self) -> None:
        """Write out what is still buffered."""
        if self._writer is not None:
            self._writer.close()
