"""A process that appends visits as fast as it can and says on standard output which are in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from device_agents.measurement import Condition, Visit
from latency_tables.journal import JournalWriter


def main(path: str, condition: str) -> None:
    """Append until killed; one line ``session number`` a visit."""
    with JournalWriter.open(Path(path)) as journal:
        session = journal.begin(
            started_unix_s=1.0,
            purpose="profile",
            address="test:",
            tool_version="0",
            seed=0,
            condition=Condition.from_dict(json.loads(condition)),
        )
        while True:
            hot = (5, 6, 7)
            number = journal.append(session, Visit("a" * 64, 2.0, 9, 9, hot, hot, 0, 0.0, 0.0))
            sys.stdout.write(f"{session} {number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
