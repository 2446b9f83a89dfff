"""A batch: visits that the timing program makes by a plan, with nobody at the other end.

    plan.json  -->  this process, pinned to one core  -->  visits, a line each, appended to a file

A board makes all of its visits so, without a round trip for any. It is copied there beside
`device_agents.timing_program`, into a folder of that package's name, and runs on Python 3.8.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, Any

from device_agents.timing_program import Refused, Residents, describe, import_runtime

STRAGGLER_SHARE = 0.25  # of the interval of rounds, once all models have had the least of visits
MAX_LOSSES_A_MODEL = 2
# The core in its fast state, which comes for some 20 s about once a minute: a session that never
# meets it reads up to 5 % high, all models alike.
PACE_QUANTILE = 0.02
SLOW = 1.10
TOO_SMALL_EVERY = 12


def clean_minimum_ns(wall_ns: Sequence[int], cpu_ns: Sequence[int]) -> int:
    """Return the smallest CPU time among hot samples that nothing interrupted.

    A guest's kernel subtracts stolen time from CPU time, and not always from the right sample:
    one of 100,000 comes out far too small, with a wall time far larger. Samples in which the two
    clocks differ by much more than in the visit's best are left out.
    """
    samples = list(zip(wall_ns, cpu_ns))  # noqa: B905  (Python 3.8)
    gap_ns = min(max(0, wall - cpu) for wall, cpu in samples)
    return min(cpu for wall, cpu in samples if wall - cpu <= 2 * gap_ns + cpu // 100)


def sample_of(visit: dict[str, Any]) -> tuple[int, int]:
    """Return the smallest hot time of a visit, and the pace beside it."""
    return clean_minimum_ns(visit["wall_ns"][1:], visit["cpu_ns"][1:]), visit["pace_ns"]


def steady_shares(samples: Sequence[tuple[int, int]], reference_ns: int, agree: int) -> list[float]:
    """Return time / pace of the samples in which the core was not much slower than this pace.

    Up to 8 % a slow core slows models as it slows the pace, to within 1 %; in the slow phases
    above, of 20-30 %, models lose less, and time / pace is some 6 % too small (three sessions of
    1,621 layers). Where that leaves less than half of the samples, or than ``agree``, it is the
    device's state and no phase, and all count.
    """
    shares = [time_ns / pace_ns for time_ns, pace_ns in samples if pace_ns <= SLOW * reference_ns]
    if len(shares) < max(agree, len(samples) / 2):
        return [time_ns / pace_ns for time_ns, pace_ns in samples]
    return shares


def spread_of(shares: Sequence[float], agree: int) -> float:
    """Return how far the ``agree`` smallest lie apart, relative to the smallest.

    A correction by the pace errs both ways, and memory has fast moments that the pace does not
    see: one in twelve may be too small, and is passed over.
    """
    least = sorted(shares)[len(shares) // TOO_SMALL_EVERY :][:agree]
    return (least[-1] - least[0]) / least[0]


def is_enough(
    samples: Sequence[tuple[int, int]], model: dict[str, Any], plan: dict[str, Any]
) -> bool:
    """Return whether these visits of a model are enough: the rule of `device_agents.floor`."""
    if len(samples) < model["min_visits"]:
        return False
    if len(samples) >= model["max_visits"]:
        return True
    if len(samples) < plan["agree"]:
        return False
    paces = sorted(pace_ns for _, pace_ns in samples)
    shares = steady_shares(samples, paces[int(PACE_QUANTILE * len(paces))], plan["agree"])
    return bool(spread_of(shares, plan["agree"]) <= plan["tolerance"])


class Batch:
    """The visits of a plan, in rounds of a fresh random order, until each model has enough.

    plan    {"seed", "delegate", "hot", "agree", "tolerance", "timeout_s", "interval_s",
             "shards": [[{"sha256", "path", "min_visits", "max_visits", "done"}]]}
    output  {"visit": ...}, {"failed": reason, "sha256", "detail"}, a line each, on the disk
            before the next visit; among them whatever else prints there

    ``done`` are earlier visits. A batch that crashed or hung is started again with the same
    files: it says so of the model in ``OUTPUT.at``, and goes on behind the visits in its output.
    """

    def __init__(self, residents: Residents, plan: dict[str, Any], output: str) -> None:
        self._residents, self._plan, self._path = residents, plan, output
        self._models = {model["sha256"]: model for shard in plan["shards"] for model in shard}
        self._samples = {
            sha256: [sample_of(visit) for visit in model["done"]]
            for sha256, model in self._models.items()
        }
        self._losses = dict.fromkeys(self._models, 0)

    def run(self) -> None:
        """Make the visits that are missing."""
        with ExitStack() as files:
            self._out, self._at, self._hung = (
                files.enter_context(_open(self._path + suffix)) for suffix in ("", ".at", ".hung")
            )
            self._resume()
            for shard in self._plan["shards"]:
                self._run_shard(shard)

    def _resume(self) -> None:
        for file in (self._out, self._at, self._hung):
            file.seek(0)
        for line in self._out.read().splitlines():
            if line.startswith(b"{") and line.endswith(b"}"):
                self._count(json.loads(line))
        lost = self._at.read().decode()
        if lost:
            reason = "hung" if self._hung.read() else "crashed"
            detail = "the timing program ended in this model, and was started again"
            self._append({"failed": reason, "sha256": lost, "detail": detail})
        for file in (self._at, self._hung):
            file.truncate(0)

    def _run_shard(self, shard: list[dict[str, Any]]) -> None:
        order = random.Random(self._plan["seed"])
        interval_s = self._plan["interval_s"]
        least = max(model["min_visits"] for model in shard)
        for number, batch in enumerate(iter(lambda: self._pending(shard), [])):
            started = time.monotonic()
            order.shuffle(batch)
            for model in batch:
                self._visit(model)
            share = 1.0 if number + 1 < least else STRAGGLER_SHARE
            if self._pending(shard):
                time.sleep(max(0.0, share * interval_s - (time.monotonic() - started)))
        for model in shard:
            self._residents.forget(model)

    def _visit(self, model: dict[str, Any]) -> None:
        sha256 = model["sha256"]
        self._at.write(sha256.encode())
        faulthandler.dump_traceback_later(self._plan["timeout_s"], exit=True, file=self._hung)
        uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            if sha256 not in self._residents:
                self._residents.load(dict(model, delegate=self._plan["delegate"]))
            answer = self._residents.visit(dict(model, hot=self._plan["hot"]))
        except Refused as refused:
            answer = {"failed": refused.reason, "sha256": sha256, "detail": str(refused)}
        faulthandler.cancel_dump_traceback_later()
        self._append(dict(answer, uptime_s=uptime_s))
        self._at.truncate(0)

    def _pending(self, shard: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [model for model in shard if not self._is_done(model)]

    def _is_done(self, model: dict[str, Any]) -> bool:
        lost = self._losses[model["sha256"]] >= MAX_LOSSES_A_MODEL
        return lost or is_enough(self._samples[model["sha256"]], model, self._plan)

    def _append(self, answer: dict[str, Any]) -> None:
        self._out.write(b"\n" + json.dumps(answer).encode() + b"\n")
        os.fsync(self._out.fileno())
        self._count(answer)

    def _count(self, answer: dict[str, Any]) -> None:
        if "visit" in answer:
            self._samples[answer["visit"]].append(sample_of(answer))
        else:
            refused = answer["failed"] in ("rejected", "unreadable")
            self._losses[answer["sha256"]] += MAX_LOSSES_A_MODEL if refused else 1


def _open(path: str) -> IO[bytes]:
    return open(path, "a+b", buffering=0)  # noqa: PTH123


def main() -> None:
    """Make the visits of a plan, or say who would make them."""
    parser = argparse.ArgumentParser(description="Make the visits of a plan.")
    parser.add_argument("--cpu", type=int, required=True, help="the core to stay on")
    parser.add_argument("--plan", metavar="FILE", help="the plan; without it, only say hello")
    parser.add_argument("--output", metavar="FILE", help="where visits are appended")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.cpu})
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    name, version, runtime = import_runtime()
    if options.plan is None:
        print(json.dumps(describe(name, version)))
        return
    with open(options.plan, "rb") as file:  # noqa: PTH123
        plan = json.load(file)
    residents = Residents(runtime, options.cpu)
    gc.collect()
    gc.disable()
    Batch(residents, plan, options.output).run()


if __name__ == "__main__":
    main()
