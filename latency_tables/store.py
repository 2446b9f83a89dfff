"""TableStore: where tables live.

    ROOT/NAME/journal.sqlite         every visit, see `latency_tables.journal`
    ROOT/NAME/versions/0001.parquet  a published table; never changed, a new one is a new file
    ROOT/NAME/current                the file name of the version to use

The front door says what ROOT is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from latency_tables.errors import NoJournal, TableDamaged, TableError, TableNotFound
from latency_tables.table import LatencyTable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:=-]*")
_VERSION = re.compile(r"(\d{4,})\.parquet")


@dataclass(frozen=True, slots=True)
class TableDirectory:
    """One table with its journal and its versions; the directory may not exist yet."""

    path: Path

    @property
    def name(self) -> str:
        """The table's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """Path of the journal."""
        return self.path / "journal.sqlite"

    def versions(self) -> tuple[Path, ...]:
        """Return the files of all versions, oldest first.

        Raises:
            TableError: their folder cannot be read.
        """
        folder = self.path / "versions"
        try:
            files = [file for file in folder.iterdir() if _VERSION.fullmatch(file.name)]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise TableError(f"{folder}: cannot be read: {error.strerror}") from error
        return tuple(sorted(files, key=_number))

    def current(self) -> Path:
        """Return the file of the version to use.

        Raises:
            TableNotFound: nothing was published.
            TableDamaged: the pointer names no version, or is missing beside versions.
            TableError: it cannot be read.
        """
        pointer, versions = self.path / "current", self.versions()
        try:
            name = pointer.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            if not versions:
                known = _published(self.path.parent)
                raise TableNotFound(self.name, self.path.parent, known) from None
            name = "no such file"
        except OSError as error:
            raise TableError(f"{pointer}: cannot be read: {error.strerror}") from error
        if _VERSION.fullmatch(name) and (self.path / "versions" / name) in versions:
            return self.path / "versions" / name
        remedy = "profile again, which goes on from the journal"
        if versions:
            remedy = f"write the one to use there, such as {versions[-1].name}"
        raise TableDamaged(
            f"{pointer}: expected the name of a version, of which there are {len(versions)}, found"
            f" {name!r}; {remedy}"
        )

    def load(self) -> LatencyTable:
        """Return the current version."""
        return LatencyTable.load(self.current())

    def publish(self, table: LatencyTable) -> Path:
        """Write a new version, make it the current one, and return its file.

        A table equal to the current version is not written again; where that is damaged, the new
        one takes its place. Only the holder of the journal's lock may publish. A crash leaves the
        version before.

        Raises:
            TableError: the disk is full or not writable; nothing is left half-written.
        """
        versions = self.versions()
        with contextlib.suppress(TableNotFound, TableDamaged):
            if self.load() == table:
                return self.current()
        number = _number(versions[-1]) + 1 if versions else 1
        file = self.path / "versions" / f"{number:04d}.parquet"
        write_whole(file, table.to_bytes())
        write_whole(self.path / "current", f"{file.name}\n".encode())
        return file


@dataclass(frozen=True, slots=True)
class TableStore:
    """All tables under one root."""

    root: Path

    def names(self) -> tuple[str, ...]:
        """Return the names of the tables that have a version."""
        return _published(self.root)

    def directory(self, name: str) -> TableDirectory:
        """Return the directory of a table, new or not; ``name`` may be a path (has a ``/``).

        Raises:
            TableError: the name holds characters that a file name should not.
        """
        if "/" in name:
            return TableDirectory(Path(name))
        if not _NAME.fullmatch(name):
            raise TableError(
                f"a table's name starts with a letter or digit and holds letters, digits and"
                f" '._@:=-', found {name!r}"
            )
        return TableDirectory(self.root / name)

    def file(self, name_or_path: str) -> Path:
        """Return the file of a table's current version, or the one named.

        Args:
            name_or_path: a name, the path of a ``.parquet`` file, or of a table's directory.

        Raises:
            TableError: nothing was published under the name.
        """
        if name_or_path.endswith(".parquet"):
            return Path(name_or_path)
        return self.directory(name_or_path).current()

    def load(self, name_or_path: str) -> LatencyTable:
        """Return the table in that `file`.

        Raises:
            TableError: not found, damaged or newer.
        """
        return LatencyTable.load(self.file(name_or_path))


def directory_of(file: Path) -> TableDirectory:
    """Return the table's directory that this version lies in.

    Raises:
        NoJournal: it lies by itself, so that nothing that is measured has a place.
    """
    folder = file.absolute().parent
    directory = TableDirectory(folder.parent)
    if folder.name != "versions":
        raise NoJournal(file, directory.journal)
    return directory


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a reader, or a crash, sees all of it or nothing.

    Raises:
        TableError: no room, or not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        remedy = (
            "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another place"
        )
        raise TableError(f"{path}: cannot be written: {error.strerror}; {remedy}") from error


def _published(root: Path) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in root.glob("*/current")))


def _number(file: Path) -> int:
    return int(file.name.removesuffix(".parquet"))
