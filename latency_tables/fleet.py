"""Fleet: several devices that share one queue of models, and what becomes of the work of one lost.

    queue --batch--> device A --outcomes--\\
          --batch--> device B --outcomes----> one consumer, who commits each before it asks for more
          <--what device A had not done when it failed; it gets no more

A thread a device. A device waits with an outcome in its hands until the consumer has it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from device_agents.errors import DeviceError
from device_agents.measurement import (
    Agent,
    Condition,
    FailedVisit,
    ModelFile,
    Outcome,
    Plan,
)
from latency_tables.floors import is_enough, measured, plan_of

BATCH = 40  # models of one job: many for one push, few for one loss
PIECES = 2  # a batch is at most this part of what an even share of the rest would be

Outcomes = Mapping[str, Sequence[Outcome]]
"""By sha256 of the model."""


class Fleet:
    """One or more agents that measure under one condition.

    ``drained`` tells of each address that failed why; its work went to the others.
    """

    def __init__(self, *agents: Agent) -> None:
        if not agents:
            raise ValueError("expected one agent or more, found none")
        self.agents = agents
        self.drained: dict[str, str] = {}

    def measure(
        self,
        files: Sequence[ModelFile],
        plan: Plan,
        *,
        condition: Condition,
        done: Outcomes,
        seed: int = 0,
    ) -> Generator[tuple[Agent, Outcome], None, None]:
        """Yield who measured, and what, until each file has enough; see `Agent.measure`.

        Anchors are measured by every agent, any other file by one of them.

        Raises:
            DeviceError: that of the last agent to fail, when none is left.
        """
        if len(self.agents) == 1:
            (agent,) = self.agents
            yield from _alone(agent, files, plan, condition, done, seed)
            return
        work = _Work(files, plan, condition, done, seed, len(self.agents))
        threads = [
            threading.Thread(target=work.work, args=(agent,), name=f"measuring {agent.address}")
            for agent in self.agents
        ]
        for thread in threads:
            thread.start()
        error: BaseException | None = None
        try:
            while (event := work.next_event()) is not None:
                if event.outcome is not None:
                    yield event.agent, event.outcome
                elif event.error is not None:
                    error = event.error
                    if not isinstance(error, DeviceError):
                        raise error
                    self.drained[event.agent.address] = f"{type(error).__name__}: {error}"
        finally:
            work.stop()
            for thread in threads:
                thread.join()
        if error is not None and len(self.drained) == len(self.agents):
            raise error


def _alone(
    agent: Agent,
    files: Sequence[ModelFile],
    plan: Plan,
    condition: Condition,
    done: Outcomes,
    seed: int,
) -> Iterator[tuple[Agent, Outcome]]:
    open_files = [f for f in files if f.role != "pack" or not _enough(f, done, condition, plan)]
    with measuring(agent, open_files, plan, done=done, seed=seed) as outcomes:
        for outcome in outcomes:
            yield agent, outcome


@contextmanager
def measuring(
    agent: Agent, files: Sequence[ModelFile], plan: Plan, *, done: Outcomes, seed: int
) -> Iterator[Iterator[Outcome]]:
    """Have files measured; at the end the agent is told at once that nobody waits for more."""
    clean = {file.sha256: measured(done.get(file.sha256, ())) for file in files}
    outcomes = agent.measure(files, plan, done=clean, seed=seed)
    try:
        yield outcomes
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()


@dataclass(frozen=True, slots=True)
class _Event:
    """An outcome, an error, or neither when a thread has ended; ``taken`` lets the thread go on."""

    agent: Agent
    outcome: Outcome | None = None
    error: BaseException | None = None
    taken: threading.Event = field(default_factory=threading.Event)


class _Stopped(Exception):
    """The consumer wants no more."""


class _Work:
    """The queue, and how outcomes get from the threads to the consumer."""

    def __init__(
        self,
        files: Sequence[ModelFile],
        plan: Plan,
        condition: Condition,
        done: Outcomes,
        seed: int,
        agents: int,
    ) -> None:
        self._plan, self._condition, self._seed, self._agents = plan, condition, seed, agents
        self._anchors = [file for file in files if file.role == "anchor"]
        self._outcomes = {sha256: list(outcomes) for sha256, outcomes in done.items()}
        self._waiting = deque(self._unfinished(files))
        self._lent = 0  # batches that may come back
        self._changed = threading.Condition()
        self._events = queue.SimpleQueue[_Event]()
        self._handed_out: _Event | None = None
        self._stopping, self._running = False, agents

    def next_event(self) -> _Event | None:
        """Return the next outcome or error, None once all threads have ended.

        Whoever asks has dealt with the one before: its thread goes on.
        """
        if (event := self._handed_out) is not None:
            self._handed_out = None
            if event.outcome is not None:
                with self._changed:
                    self._outcomes.setdefault(event.outcome.sha256, []).append(event.outcome)
            event.taken.set()
        while self._running:
            event = self._events.get()
            if event.outcome is not None or event.error is not None:
                self._handed_out = event
                return event
            self._running -= 1
        return None

    def stop(self) -> None:
        """Let each thread end at its next outcome, which its device's job will hand in again."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        while self.next_event() is not None:
            pass

    def work(self, agent: Agent) -> None:
        """Measure batches until there are none; of a device that fails the rest goes back."""
        try:
            while batch := self._take():
                try:
                    self._measure(agent, batch)
                except BaseException:
                    self._give_back(batch)
                    raise
                self._give_back([])
        except _Stopped:
            pass
        except BaseException as error:  # raised again by the consumer, if no device's own
            self._events.put(_Event(agent, error=error))
        finally:
            self._events.put(_Event(agent))

    def _measure(self, agent: Agent, batch: Sequence[ModelFile]) -> None:
        files = list({file.sha256: file for file in [*self._anchors, *batch]}.values())
        with self._changed:
            done = {file.sha256: [*self._outcomes.get(file.sha256, ())] for file in files}
        with measuring(agent, files, self._plan, done=done, seed=self._seed) as outcomes:
            for outcome in outcomes:
                event = _Event(agent, outcome=outcome)
                self._events.put(event)
                event.taken.wait()
                if self._stopping:
                    raise _Stopped

    def _take(self) -> list[ModelFile]:
        """Return the next batch, waiting for one while another device may give some back."""
        with self._changed:
            while not self._waiting and self._lent and not self._stopping:
                self._changed.wait()
            if self._stopping:
                raise _Stopped
            size = min(BATCH, -(-len(self._waiting) // (PIECES * self._agents)))
            self._lent += bool(size)
            return [self._waiting.popleft() for _ in range(size)]

    def _give_back(self, batch: Sequence[ModelFile]) -> None:
        """Queue what a device left undone; what one refused, another will not be asked for."""
        with self._changed:
            self._lent -= 1
            self._waiting.extend(self._unfinished(batch))
            self._changed.notify_all()

    def _unfinished(self, files: Sequence[ModelFile]) -> list[ModelFile]:
        return [
            file
            for file in files
            if not _enough(file, self._outcomes, self._condition, self._plan)
            and not any(
                isinstance(outcome, FailedVisit) and outcome.reason in ("rejected", "unreadable")
                for outcome in self._outcomes.get(file.sha256, ())
            )
        ]


def _enough(file: ModelFile, done: Outcomes, condition: Condition, plan: Plan) -> bool:
    return is_enough(done.get(file.sha256, ()), condition, plan_of(plan, file.role))
