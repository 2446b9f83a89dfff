"""RunDirectory: the files of one run, and the lock of the process that writes them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from networks.spaces.space import Space
from search import space_record
from search.config import RunConfig, format_config, parse_config
from search.errors import NotARun, RunError, RunExists, RunInUse, StoreError
from search.trials import TrialStore

_UNFINISHED = {
    *("lock", "space.toml", "space.toml.tmp", "run.toml.tmp"),
    *(f"trials.sqlite{end}" for end in ("", "-wal", "-shm")),
}
"""What a process that was killed while it made a run may leave: no run yet, nothing lost."""


class RunDirectory:
    """The paths of a run; reading needs no lock. Use `create` or `open` to write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path, config: RunConfig, parts: Mapping[str, str], space: Space) -> Self:
        """Return a new run's directory, locked.

        Raises:
            RunExists: there is already something there.
            RunInUse: another process is creating it.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise RunExists(f"{path} is a file; choose another directory") from error
        except OSError as error:
            raise RunError(f"cannot make {path}: {error.strerror}") from error
        directory = cls(path)
        if (path / "run.toml").exists():
            raise RunExists(f"{path} is a run already; continue it with --resume {path}")
        if any(entry.name not in _UNFINISHED for entry in path.iterdir()):
            raise RunExists(f"{path} is not empty and not a run; choose another directory")
        directory._acquire()
        try:
            TrialStore(path / "trials.sqlite", create=True).close()
            directory._write(space_record.FILE, space_record.format_space(space))
            directory.write(config, parts)  # last: from here on it is a run
        except BaseException:
            directory.close()
            raise
        return directory

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return an existing run's directory, locked.

        Raises:
            NotARun: there is none.
            RunInUse: another process writes to it.
        """
        directory = cls(path)
        directory.config()
        directory._acquire()
        return directory

    def config(self) -> tuple[RunConfig, Mapping[str, str]]:
        """Return what is searched, and the names of the parts that do it."""
        if not (self.path / "run.toml").is_file():
            raise NotARun(f"{self.path} holds no run: there is no run.toml")
        return read_config(self.path / "run.toml")

    def write(self, config: RunConfig, parts: Mapping[str, str]) -> None:
        """Write run.toml: the old one or the new one is there, whatever happens."""
        self._write("run.toml", format_config(config, parts))

    def _write(self, name: str, text: str) -> None:
        file, draft = self.path / name, self.path / f"{name}.tmp"
        try:
            with draft.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(file)
        except OSError as error:
            raise StoreError(f"cannot write {file}: {error.strerror}") from error

    def trials(self, *, writable: bool = True) -> TrialStore:
        """Return the trials, to be closed."""
        return TrialStore(self.path / "trials.sqlite", writable=writable)

    def close(self) -> None:
        """Give up the lock."""
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _acquire(self) -> None:
        try:
            lock = (self.path / "lock").open("a", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write to {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise RunInUse(f"{self.path} is in use by another process; wait for it") from error
        self._lock = lock


def read_config(file: Path) -> tuple[RunConfig, Mapping[str, str]]:
    """Return the configuration in a ``run.toml``, and the recorded names of its run's parts.

    Raises:
        NotARun: it cannot be read, or is not a configuration; names the file.
    """
    try:
        return parse_config(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise NotARun(f"{file} cannot be read: {error}") from error
    except RunError as error:
        raise NotARun(f"{file}: {error}") from error
