"""A channel: requests to one timing program, and its answers in the same order.

load    {"do": "load", "sha256", "path", "delegate"}  ->  {"loaded": sha256}
visit   {"do": "visit", "sha256", "hot"}              ->  {"visit": sha256, samples, state}
forget  {"do": "forget", "sha256"}                    ->  {"forgotten": sha256}
invoke  {"do": "invoke", "sha256", "inputs": base64}  ->  {"outputs": base64, "shape"}
any                                                   ->  {"failed": reason, "detail"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from device_agents.errors import ModelRefused, UnreadableAnswer
from device_agents.measurement import Origin, Visit

Message = Mapping[str, Any]


class Channel(Protocol):
    """One running timing program; it loses everything resident when it ends."""

    def send(self, request: Message) -> None:
        """Send one request; several may be on their way.

        Raises:
            WorkerCrashed: the program is gone.
        """
        ...

    def receive(self, timeout_s: float) -> Message:
        """Return the answer to the oldest request.

        Raises:
            WorkerCrashed: the program ended.
            WorkerHung: it did not answer in time; it has been ended.
            UnreadableAnswer: it answered with something else than one JSON object.
        """
        ...

    def close(self) -> None:
        """End the program; again is harmless."""
        ...


def check_answer(answer: Message) -> None:
    """Return if this is the answer of a request that succeeded.

    Raises:
        ModelRefused: the program will not run this model.
        UnreadableAnswer: the program did not understand the request.
    """
    if "failed" in answer:
        if answer["failed"] in ("rejected", "unreadable"):
            raise ModelRefused(answer["failed"], str(answer["detail"]))
        raise UnreadableAnswer(f"the timing program failed: {answer['detail']}")


def parse_visit(answer: Message, *, origin: Origin | None = None) -> Visit:
    """Return the visit in this answer.

    Raises:
        UnreadableAnswer: it holds none, or not a possible one.
    """
    try:
        wall, cpu = answer["wall_ns"], answer["cpu_ns"]
        return Visit(
            sha256=answer["visit"],
            started_unix_s=answer["started_unix_s"],
            cold_wall_ns=wall[0],
            cold_cpu_ns=cpu[0],
            hot_wall_ns=tuple(wall[1:]),
            hot_cpu_ns=tuple(cpu[1:]),
            preemptions=answer["preemptions"],
            load=answer["load"],
            steal=answer["steal"],
            pace_ns=answer["pace_ns"],
            origin=origin,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UnreadableAnswer(f"expected a visit, found {dict(answer)}: {error!r}") from error
