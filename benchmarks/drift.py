"""Drift: how surely a refresh finds a device that slowed down, and how often one that had not.

Records sessions of a table's anchors (``--record N``), one process after another, under whatever
load there is. The first half of them sets the bands, as the journal of a table that is refreshed
would; refreshes are simulated from the other half by the very code that judges real ones: some
sessions in a row are a table's references, others, in the order in which they were recorded, are
what a later refresh sees.

    first        a table's first refresh: the rows, and what the profile took (`references`)
    second       the next one: the first refresh's sessions are references, too
    later        as many references, and the noise is known from many sessions
    unprepared   the first refresh of a table whose profile took no references: the rows alone

But for ``later``, the noise is what these few references tell. A slow-down is simulated by slower
readings (``uniform``, one ``kind``) or by a slower core (``clock``): floors are stated at one pace
of the core and do not see it.

Refreshes share sessions: their number bounds the false alarms of such sessions, which are of one
machine and of the hours when they were recorded.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.claim import print_claim
from device_agents.local import LocalAgent
from device_agents.measurement import DEFAULT_PLAN, Condition
from exporters.catalog import make_exporter
from latency_tables.anchor_check import AnchorCheck, session_of
from latency_tables.anchors import FRESH_PROCESSES, REFERENCES, read_session
from latency_tables.drift import (
    AnchorSession,
    Noise,
    learn_noise,
    look_at_anchors,
)
from latency_tables.drift_report import NETWORK, DriftReport
from latency_tables.journal import Journal, JournalWriter
from latency_tables.publishing import build_table
from latency_tables.refresh_session import profile_seed
from latency_tables.store import TableDirectory
from latency_tables.table import Anchor

CLAIM = (
    "any refresh of a table, its first as well, finds a slow-down of 6 %; under 1 % of undisturbed"
    " ones raise an alarm"
)
SLOW_DOWNS = (1.03, 1.04, 1.06)
SURE = 0.99
EVERY = 30  # references, of which each slow-down is simulated

Change = Callable[[AnchorSession], AnchorSession]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A table's anchors, the pace that they are stated at, and sessions of them."""

    anchors: tuple[Anchor, ...]
    pace_ns: int | None
    sessions: tuple[AnchorSession, ...]


def record(root: Path, table: Path, sessions: int) -> None:
    """Measure the anchors of a table that this machine made in so many more sessions."""
    with Journal.open(table / "journal.sqlite") as journal:
        condition = journal.sessions()[0].condition
        built = build_table("recorded", journal, condition, DEFAULT_PLAN, address="local")
        pace_ns, seed = journal.pace_ns(condition), profile_seed(journal, condition)
    root.mkdir(parents=True, exist_ok=True)
    about = {
        "condition": condition.to_dict(), "pace_ns": pace_ns,
        "anchors": [asdict(anchor) for anchor in built.anchors],
    }  # fmt: skip
    (root / "anchors.json").write_text(json.dumps(about, indent=1))
    with (
        LocalAgent() as agent,
        JournalWriter.open(root / "journal.sqlite") as log,
        tempfile.TemporaryDirectory() as work,
    ):
        check = AnchorCheck(
            log, agent, built.anchors, condition, DEFAULT_PLAN, tool_version="",
            deadline_s=None, progress=lambda *_: None,
        )  # fmt: skip
        files = check.export(Path(work), seed, make_exporter(precision=condition.precision))
        for number in range(sessions):
            check.take(files)
            print(f"session {number + 1} of {sessions}", file=sys.stderr, flush=True)


def load(root: Path) -> Recorded:
    """Return what was recorded."""
    about = json.loads((root / "anchors.json").read_text())
    anchors = tuple(Anchor(**anchor) for anchor in about["anchors"])
    condition, pace_ns = Condition.from_dict(about["condition"]), about["pace_ns"]
    labels = {anchor.sha256: anchor.label for anchor in anchors}
    sessions = []
    with Journal.open(root / "journal.sqlite") as journal:
        for session in journal.sessions():
            outcomes = journal.visits_of(session.id)
            readings = read_session(outcomes, labels, condition, DEFAULT_PLAN, pace_ns=pace_ns)
            if len(readings) == len(anchors):
                sessions.append(session_of(readings, outcomes))
    return Recorded(anchors, pace_ns, tuple(sessions))


def slower(anchors: Sequence[Anchor], factor: float, kind: str | None) -> Change:
    """Return the change of a device whose models, all or of one kind, take so much longer."""
    slow = {anchor.label for anchor in anchors if kind in (None, anchor.kind)}

    def change(session: AnchorSession) -> AnchorSession:
        return replace(
            session,
            readings={
                label: ms * (factor if label in slow else 1.0)
                for label, ms in session.readings.items()
            },
        )

    return change


def slower_clock(factor: float) -> Change:
    """Return the change of a device whose core takes so much longer for everything."""
    return lambda session: replace(
        session, paces_ns=tuple(round(factor * ns) for ns in session.paces_ns)
    )


def simulate(
    recorded: Recorded,
    sessions: Sequence[AnchorSession],
    noise: Noise | None,
    change: Change,
    references: int = 1 + REFERENCES,
) -> Iterator[DriftReport]:
    """Yield refreshes of tables: references begin at each session, a refresh at each of the rest.

    Sessions follow one another as recorded, and around the end.

    Args:
        noise: None: what the references tell, but for the first, which stands for the rows.
    """
    n = len(sessions)
    changed = [change(session) for session in sessions]
    readings = {a.label: [s.readings[a.label] for s in sessions] for a in recorded.anchors}
    for first in range(n):
        used = [(first + i) % n for i in range(references)]
        known = learn_noise([sessions[i].readings for i in used[1:]]) if noise is None else noise
        anchors = [
            replace(
                anchor,
                latency_ms=float(np.median([readings[anchor.label][i] for i in used])),
                band=known.band(anchor.label, FRESH_PROCESSES, references),
            )
            for anchor in recorded.anchors
        ]
        rest = [i for i in range(n) if i not in used]
        for start in range(len(rest)):
            order = [*rest[start:], *rest[:start]]
            yield judge_from(anchors, known, [changed[i] for i in order], recorded.pace_ns)


def judge_from(
    anchors: Sequence[Anchor],
    noise: Noise,
    sessions: Sequence[AnchorSession],
    pace_ns: int | None,
) -> DriftReport:
    """Return the report of a refresh that meets these sessions."""
    coming = iter(sessions)
    report = look_at_anchors(
        anchors, noise, lambda: next(coming, None), sessions=FRESH_PROCESSES, pace_ns=pace_ns
    )
    assert report is not None
    return report


STAGES = {"first": 1 + FRESH_PROCESSES, "second": 1 + REFERENCES, "unprepared": 1}
"""References of a refresh whose noise is what these tell."""


def measure(recorded: Recorded) -> dict[str, float]:
    """Return the figures."""
    half = len(recorded.sessions) // 2
    noise = learn_noise([session.readings for session in recorded.sessions[:half]])
    judged = recorded.sessions[half:]
    figures = {
        "sessions": len(recorded.sessions), "sessions_judged": len(judged),
        "load_median": float(np.median([s.load or 0.0 for s in judged])),
        "uniform_std_pct": 100 * noise.uniform,
        "anchor_std_pct": 100 * float(np.median(list(noise.anchors.values()))),
        "worst_anchor_std_pct": 100 * max(noise.anchors.values()),
    }  # fmt: skip
    stages: dict[str, tuple[Noise | None, int]] = {"later": (noise, 1 + REFERENCES)}
    stages |= {name: (None, references) for name, references in STAGES.items()}
    for stage, (known, references) in stages.items():
        figures |= measure_stage(recorded, judged, stage, known, references)
    return figures


def measure_stage(
    recorded: Recorded,
    sessions: Sequence[AnchorSession],
    stage: str,
    noise: Noise | None,
    references: int,
) -> dict[str, float]:
    """Return how often an undisturbed device raises an alarm, and how often a slower one does."""
    quiet = [r.is_drifted for r in simulate(recorded, sessions, noise, lambda s: s, references)]
    figures = {
        f"{stage}_refreshes": len(quiet), f"{stage}_false_alarms": sum(quiet),
        f"{stage}_false_alarm_upper95_pct": 100 * upper_bound(sum(quiet), len(quiet)),
    }  # fmt: skip
    kinds = dict.fromkeys(a.kind for a in recorded.anchors if a.kind != NETWORK)
    for factor in SLOW_DOWNS:
        changes = {"uniform": slower(recorded.anchors, factor, None), "clock": slower_clock(factor)}
        changes |= {f"kind_{kind}": slower(recorded.anchors, factor, kind) for kind in kinds}
        for name, change in changes.items():
            refreshes = simulate(recorded, sessions, noise, change, references)
            few = 1 if name == "clock" else EVERY  # a pace does not depend on references
            found = [r.is_drifted for r in islice(refreshes, few * len(sessions))]
            figures[f"{stage}_found_{100 * (factor - 1):.0f}pct_{name}"] = float(np.mean(found))
    return figures


def upper_bound(successes: int, n: int, level: float = 0.95) -> float:
    """Return the one-sided Clopper-Pearson bound of a probability."""
    return 1.0 if successes == n else float(stats.beta.ppf(level, successes + 1, n - successes))


def main() -> None:
    """Print the figures, or with ``--json`` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--recorded", type=Path, required=True, help="folder of sessions")
    parser.add_argument("--record", type=int, default=0, metavar="N", help="record N sessions more")
    parser.add_argument("--table", type=Path, help="folder of the table whose anchors to record")
    options = parser.parse_args()
    if options.record:
        record(options.recorded, TableDirectory(options.table).path, options.record)
    figures = measure(load(options.recorded))
    prepared = {k: v for k, v in figures.items() if not k.startswith("unprepared")}
    alarms = [value for name, value in prepared.items() if name.endswith("alarm_upper95_pct")]
    sixes = [value for name, value in prepared.items() if "found_6pct" in name]
    holds = max(alarms) < 1 and min(sixes) >= SURE
    print_claim(CLAIM, figures, holds=holds, as_json=options.json)


if __name__ == "__main__":
    main()
