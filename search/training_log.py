"""TrainingLog: what each training of a run gave, one line of JSON each, in ``trainings.jsonl``.

A line is on the disk before the run hears of the result, so that a run that was killed still has
the curves that its later trainings are compared with. A line that was cut off is removed: its
training is repeated, from the same seed to the same end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from search.errors import StoreError


@dataclass(frozen=True, slots=True)
class LoggedTraining:
    """A training by the number of its proposal.

    Args:
        curve: quality on the watched images after each epoch but the last.
        stopped: whether it was ended as hopeless.
        metrics: of all validation images, by name.
    """

    number: int
    curve: tuple[float, ...]
    stopped: bool
    metrics: Mapping[str, float]


class TrainingLog:
    """See the module.

    Raises:
        StoreError: the file cannot be read or written, or is of something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = path.read_bytes() if path.is_file() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                os.truncate(path, len(whole))
            self.trainings = [_parse(line) for line in whole.splitlines()]
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is no log of trainings ({error})") from error

    def append(self, training: LoggedTraining) -> None:
        """Write one line, to the disk."""
        line = json.dumps(asdict(training)) + "\n"
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StoreError(
                f"cannot write {self._path}: {error.strerror}; make room and resume the run"
            ) from error


def _parse(line: bytes) -> LoggedTraining:
    values = json.loads(line)
    return LoggedTraining(
        int(values["number"]),
        tuple(map(float, values["curve"])),
        bool(values["stopped"]),
        {str(name): float(value) for name, value in values["metrics"].items()},
    )
