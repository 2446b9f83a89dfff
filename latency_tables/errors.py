"""Everything that can go wrong between a visit and a predicted latency.

* LatencyTableError
  x JournalError             the journal of a table; nothing that was committed is lost
    - JournalLocked          another process writes to it: wait, or end that process
    - JournalDamaged         not a journal, or its pages do not check out
    - JournalNewer           written by a newer version of this program
    - JournalFull            the disk is full: make room and run the same command again
  x TableError               a table, or what it is asked for
    - TableNotFound          no table of that name or at that path
    - TableDamaged           truncated, changed after it was written, or not a table
    - TableNewer             written by a newer version of this program
    - ConditionMismatch      rows measured under another condition
      + DeviceChanged        the table's device, with another OS build than then (exit code 3)
    - SpecimenDiffers        another specimen of the model, whose anchors do not agree
    - InvalidRow             a row that cannot be: no latency is less than or equal to 0
    - ImportFailed           a file that cannot become a table, with the line that says why
    - TablesDisagree         two tables of one condition that differ beyond noise
    - MissingLayers          layers that the table does not price (with the nearest it does)
    - Uncalibrated           no whole network ties the sum of layers to the truth
    - UncertaintyUnknown     one network does, which cannot tell how far predictions are off
    - NotAdditive            a calibration that is no sum over layers, where exact answers need one
    - NothingWithin          no network of a space that meets a latency
    - GridTooFine            more steps of latency than are counted at once: take a larger step
    - GridTooCoarse          too few networks meet a latency of those that rounding puts within it
    - FrontTooLarge          more undominated networks than are kept: round latencies to a step
    - WrongGranularity       a table by operators where one by layers is needed, or the reverse
    - ClockWentBack          rows that were measured in what is the future now
    - NoJournal              a table's file alone, where its journal is needed
    - NotChanged             a new table for a changed device, which has not changed
  x NotMeasured              nothing came of it: the budget was too small, or every visit failed
  x PackDiscarded            an op profile whose rows cannot be given to layers beyond doubt
  x ValidationError          too few networks, or numbers that cannot be compared
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from device_agents.measurement import Condition
from networks.errors import suggest
from networks.operators import is_operator_key


class LatencyTableError(Exception):
    """Base of all errors raised by ``latency_tables``."""


class JournalError(LatencyTableError):
    """The journal cannot be read or appended to."""


class JournalLocked(JournalError):
    """Another process is the journal's writer."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{path}: expected no other writer, found {holder} writing to it;"
            " wait until it ends, or profile into another table"
        )
        self.path, self.pid = path, pid


class JournalDamaged(JournalError):
    """The file is not a journal, or its pages do not check out."""


class JournalNewer(JournalError):
    """The journal's schema is newer than this program's."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path}: expected journal schema {known} or older, found {found}; update hilnas"
        )


class JournalFull(JournalError):
    """The disk is full; every visit committed before is kept."""


class TableError(LatencyTableError):
    """A table cannot be read, built or asked."""


class TableNotFound(TableError):
    """No table of that name; the message lists the nearest names that exist."""

    def __init__(self, name: str, root: Path, known: Iterable[str]) -> None:
        known = tuple(known)
        hint = suggest(name, known) if known else "there are none yet; make one with hilnas profile"
        super().__init__(f"no table is named {name!r} under {root}; {hint}")


class TableDamaged(TableError):
    """The file is truncated, was changed after it was written, or is no table."""


class TableNewer(TableError):
    """The table's schema is newer than this program's."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path}: expected table schema {known} or older, found {found}; update hilnas"
        )


class ConditionMismatch(TableError):
    """Two latencies that are not comparable: names every field in which they differ."""

    def __init__(self, what: str, expected: Condition, found: Condition) -> None:
        fields = expected.differences(found)
        sides = ", ".join(
            f"{name} {ours!r} | {theirs!r}" for name, (ours, theirs) in fields.items()
        )
        remedy = "use another table"
        if set(fields) == {"os_build"}:
            remedy = f"the device was updated since: {remedy}"
        super().__init__(f"{what}: conditions differ (expected | found): {sides}; {remedy}")
        self.fields = fields


class DeviceChanged(ConditionMismatch):
    """Nothing but the device's OS build differs: what was measured before no longer holds."""


class SpecimenDiffers(TableError):
    """Two specimens of one model whose anchors differ too much to share a table."""

    def __init__(self, what: str, serials: Iterable[str | None], difference: float) -> None:
        others = ", ".join(str(serial) for serial in serials)
        super().__init__(
            f"{what}: expected anchors as those of {others} in the table, found them"
            f" {100 * difference:.1f} % apart; profile this device into a table of its own"
        )


class InvalidRow(TableError):
    """A row whose values cannot be."""


class ImportFailed(TableError):
    """A file of another program, or an export, that cannot become a table; says where and why."""

    def __init__(self, path: Path, what: str, line: int | None = None) -> None:
        place = "" if line is None else f" line {line}:"
        super().__init__(f"{path}:{place} {what}")
        self.path, self.line = path, line


class TablesDisagree(TableError):
    """Rows of one layer in two tables that differ by more than noise explains."""

    def __init__(self, layers: Sequence[str], example: str) -> None:
        more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        super().__init__(
            f"expected tables that agree within noise, found {example}{more}; see"
            " `hilnas table diff`, measure again what is wrong, or keep the tables apart"
        )
        self.layers = tuple(layers)


class MissingLayers(TableError):
    """Layers or operators that the table does not price, the first with its nearest neighbours."""

    def __init__(self, table: str, missing: Sequence[str], nearest: Sequence[str]) -> None:
        is_operator = is_operator_key(missing[0])
        what, whole = ("operator", "network") if is_operator else ("layer", "space")
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        near = f"nearest are {', '.join(nearest)}" if nearest else f"it has no {what} of that kind"
        super().__init__(
            f"table {table!r} has no {what} {missing[0]}{more} ({near});"
            f" profile the {whole} that holds it into this table"
        )
        self.missing, self.nearest = tuple(missing), tuple(nearest)


class Uncalibrated(TableError):
    """No calibration network was measured, or the table prices none of those that were."""

    def __init__(self, table: str, unpriced: Mapping[str, str] | None = None) -> None:
        found = "has no calibration network yet"
        remedy = "run the same profile again to finish it"
        if unpriced:
            label, why = next(iter(unpriced.items()))
            found = f"prices none of its {len(unpriced)} calibration networks ({label}: {why})"
            remedy = "profile the space that holds them into this table"
        super().__init__(f"table {table!r} {found}, so its sums are of unknown scale; {remedy}")


class UncertaintyUnknown(TableError):
    """How far predictions are off is not known."""

    def __init__(self, space: str) -> None:
        super().__init__(
            f"predictions of {space}: expected a table calibrated on 2 networks or more, which"
            " tells how far they are off, found none of its kind; profile with more networks, or"
            " do without quantiles"
        )


class NotAdditive(TableError):
    """The calibration is not a sum over layers."""

    def __init__(self, table: str, kind: str) -> None:
        super().__init__(
            f"table {table!r}: expected an additive calibration, found {kind!r}: its networks are"
            " no sums over layers, so nothing exact can be said of the space"
        )


class WrongGranularity(TableError):
    """Layers and single operators do not mix: names the table and says which to use."""


class NothingWithin(TableError):
    """No network meets a latency."""

    def __init__(self, space: str, target_ms: float, fastest_ms: float) -> None:
        super().__init__(
            f"{space}: expected a target of {fastest_ms:.6g} ms or more, which its fastest network"
            f" takes, found {target_ms:.6g} ms"
        )


class GridTooFine(TableError):
    """The slowest network has more steps than a grid of latencies may."""

    def __init__(self, step_ms: float, slowest_ms: float, limit: int) -> None:
        super().__init__(
            f"expected at most {limit:,} steps of latency, found {slowest_ms / step_ms:,.0f} of"
            f" {1e3 * step_ms:g} us in the slowest network's {slowest_ms:.6g} ms; take a step of"
            f" {1e3 * slowest_ms / limit:.2g} us or more"
        )


class GridTooCoarse(TableError):
    """Drawing networks within a latency is hopeless at this step."""

    def __init__(self, space: str, target_ms: float, step_ms: float) -> None:
        super().__init__(
            f"{space}: expected networks within {target_ms:.6g} ms among those within it by"
            f" latencies rounded to {1e3 * step_ms:g} us, found none in many draws; take a smaller"
            " step"
        )


class FrontTooLarge(TableError):
    """Nearly every network is undominated."""

    def __init__(self, space: str, limit: int) -> None:
        super().__init__(
            f"{space}: expected a front of at most {limit:,} points a state, found more: the score"
            " is nearly proportional to latency; give step_ms, to which latencies are rounded"
        )


class ClockWentBack(TableError):
    """Rows of a table are from what is the future now: no age can be told."""

    def __init__(self, table: str, latest_unix_s: float, now_unix_s: float) -> None:
        latest, now = (
            datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")
            for at in (latest_unix_s, now_unix_s)
        )
        super().__init__(
            f"table {table!r}: expected a clock that is past its newest row, of {latest},"
            f" found {now}; set the clock of this machine and of the device, and run again"
        )


class NoJournal(TableError):
    """A table's file without the journal beside it, which measuring again goes by."""

    def __init__(self, file: Path, journal: Path) -> None:
        super().__init__(
            f"{file}: expected its journal at {journal}, found none: a file alone cannot be"
            " measured again; name a table that was profiled here, or profile its space anew"
        )


class NotChanged(TableError):
    """A new table was asked for a changed device, and the device is what it was."""


class NotMeasured(LatencyTableError):
    """No latency came of a measurement; says why. What was visited is in the journal."""


class PackDiscarded(LatencyTableError):
    """It is not certain whose rows an op profile holds; says why. The profile is in the journal."""


class ValidationError(LatencyTableError):
    """Predictions and measurements that cannot be compared."""
