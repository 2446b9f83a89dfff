"""Batch, seen from the host: the plan that a board is given, and the lines that it writes.

The other side is `device_agents.timing_batch`, which must run without the rest of this package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from device_agents.channel import parse_visit
from device_agents.errors import UnreadableAnswer
from device_agents.measurement import (
    FailedVisit,
    LossReason,
    ModelFile,
    Origin,
    ResidentPlan,
    Visit,
)
from device_agents.model_store import device_path
from device_agents.resident import resident_bytes, split_into_shards


def format_plan(
    models: Sequence[ModelFile],
    plan: ResidentPlan,
    *,
    done: Mapping[str, Sequence[Visit]],
    folder: str,
    delegate: str,
    capacity_bytes: int,
    seed: int,
) -> bytes:
    """Return the file that asks for the visits which these models still need.

    Args:
        done: earlier visits, which count; those without a pace do not.
        folder: where the models lie on the board.
        capacity_bytes: memory for resident models.
    """
    sized = [(model, resident_bytes(model.path.stat().st_size)) for model in models]
    shards = split_into_shards(sized, capacity_bytes)
    content = {
        "seed": seed,
        "delegate": delegate,
        "hot": plan.hot,
        "agree": plan.agree,
        "tolerance": plan.tolerance,
        "timeout_s": plan.visit_timeout_s,
        "interval_s": plan.round_interval_s,
        "shards": [[_model(model, plan, done, folder) for model in shard] for shard in shards],
    }
    return json.dumps(content).encode()


def _model(
    model: ModelFile, plan: ResidentPlan, done: Mapping[str, Sequence[Visit]], folder: str
) -> dict[str, Any]:
    mine = plan.of(model.role)
    return {
        "sha256": model.sha256,
        "path": device_path(folder, model),
        "min_visits": mine.min_visits,
        "max_visits": mine.max_visits,
        "done": [
            {
                "wall_ns": [visit.cold_wall_ns, *visit.hot_wall_ns],
                "cpu_ns": [visit.cold_cpu_ns, *visit.hot_cpu_ns],
                "pace_ns": visit.pace_ns,
            }
            for visit in done.get(model.sha256, ())
            if visit.pace_ns is not None
        ],
    }


class BatchOutput:
    """The output of one job, as it comes in: lines of ours among whatever else printed there.

    A line without its end is waited for, and one that never ends is no visit.
    """

    def __init__(self, job: str) -> None:
        self._job = job
        self._number = 0
        self._rest = b""
        self._words = ""

    @property
    def last_words(self) -> str:
        """The last line that is not ours, for a program that did not get far."""
        return self._words or "it printed nothing"

    def feed(
        self, output: bytes, *, booted_unix_s: float, now_unix_s: float
    ) -> Iterator[Visit | FailedVisit]:
        """Yield what was finished in this piece of output.

        Args:
            booted_unix_s: when the board was booted, by this machine's clock: the board's own
                may be wrong.

        Raises:
            UnreadableAnswer: a line of ours is not as agreed.
        """
        *lines, self._rest = (self._rest + output).split(b"\n")
        for line in lines:
            if line.startswith(b"{") and line.endswith(b"}"):
                self._number += 1
                yield _parse(line, (self._job, self._number), booted_unix_s, now_unix_s)
            elif line.strip():
                self._words = line.decode(errors="replace").strip()[:300]


def _parse(
    line: bytes, origin: Origin, booted_unix_s: float, now_unix_s: float
) -> Visit | FailedVisit:
    try:
        answer = json.loads(line)
        started_unix_s = min(now_unix_s, booted_unix_s + answer.get("uptime_s", now_unix_s))
        if "failed" not in answer:
            return parse_visit({**answer, "started_unix_s": started_unix_s}, origin=origin)
        if answer["failed"] not in get_args(LossReason):
            raise ValueError(answer["failed"])
        return FailedVisit(
            answer["sha256"], started_unix_s, answer["failed"], answer["detail"], origin=origin
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableAnswer(
            f"expected a visit or a failure of the batch, found {line[:200]!r}: {error!r}"
        ) from error
