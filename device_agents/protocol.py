"""Protocol: how a phone is measured so that the numbers can be trusted, without touching one.

    lease -> recover -> preflight -> set -> push
      -> job: look, anchors, 20 visits, anchor, look, 20 visits ..., anchors, look
      -> every span between two looks: post-check -> handed up, or invalid -> cool-down -> again

`Protocol.run` yields steps, and is sent what came of them; what it yields that is no step is an
outcome to hand up. A span is handed up when the state at its end is that of its beginning, and its
anchors are within 5 % of the session's first. Anything else invalidates the span: what it measured
is handed up as invalid with its cause, and made again, at most twice in a row. Numbers and their
sources: `device_agents.conditions.limits`; steps: reference protocol, section 4.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeAlias

from device_agents.conditions.check import Check
from device_agents.conditions.checks import check_phone, is_ready
from device_agents.conditions.limits import LIMITS, Limits
from device_agents.conditions.linux_checks import Wanted
from device_agents.conditions.states import PhoneState
from device_agents.conditions.violations import violations
from device_agents.errors import DeviceUnusable
from device_agents.jobs import JobState
from device_agents.measurement import FailedVisit, ModelFile
from device_agents.packs import PackedPlan, PackVisit
from device_agents.processes import ProcessPlan, ProcessVisit, is_measured
from device_agents.resident import MAX_LOSSES_A_MODEL, MAX_LOSSES_IN_A_ROW

MAX_LOST_JOBS = 3  # without a visit in between
# What a device gets over by itself, if it is left alone
THROTTLING = frozenset({"thermal", "frequency caps"})
PASSING = THROTTLING | {"temperature", "load"}

ProcessOutcome: TypeAlias = ProcessVisit | PackVisit | FailedVisit
Seen: TypeAlias = ProcessOutcome | PhoneState
Slot: TypeAlias = ModelFile | None
"""A visit to a model, or a look at the device's state."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Take the device's lease."""


@dataclass(frozen=True, slots=True)
class Recover:
    """Put back settings and end jobs that a killed session left; wanted: what those jobs saw."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove the recovered jobs: what they saw has been handed up."""


@dataclass(frozen=True, slots=True)
class Look:
    """Wanted: the device's state."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Apply:
    """Set what the condition says, recorded on the device."""


@dataclass(frozen=True, slots=True)
class Push:
    """Have the device hold these models."""

    models: tuple[ModelFile, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Start a job of these slots, in this order."""

    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Wanted: `News` of the job, waited for a moment."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave this model out of the rest of the job."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Finish:
    """End the job and remove it: what it saw has been handed up."""


Step: TypeAlias = (
    Lease | Recover | Forget | Look | Wait | Apply | Push | Start | Read | Skip | Finish
)


@dataclass(frozen=True, slots=True)
class News:
    """What a job saw since the last time, in order, and how it is; the last of it when ended."""

    seen: tuple[Seen, ...]
    state: JobState


Reply: TypeAlias = PhoneState | News | tuple[tuple[Seen, ...], ...] | None
Steps: TypeAlias = Generator[Step | ProcessOutcome, Reply, None]


class Protocol:
    """One session with one phone."""

    def __init__(
        self,
        models: Sequence[ModelFile],
        plan: ProcessPlan | PackedPlan,
        *,
        done: Mapping[str, Sequence[object]],
        order: random.Random,
        clock: Callable[[], float],
        limits: Limits = LIMITS,
    ) -> None:
        """Prepare.

        Args:
            models: each once; those of the role ``anchor`` are watched for drift.
            done: earlier visits by sha256, which count.
            clock: seconds, of any zero.
        """
        self._plan, self._order, self._clock = plan, order, clock
        self._wanted, self._limits = Wanted(), limits
        self._models = {model.sha256: model for model in models}
        self._visits: dict[str, list[object]] = {s: list(done.get(s, ())) for s in self._models}
        self._losses = dict.fromkeys(self._models, 0)
        self._dropped: set[str] = set()
        self._failures_in_a_row = 0
        self._references: dict[str, list[int]] = {}
        self._violated = 0

    @property
    def pending(self) -> tuple[ModelFile, ...]:
        """The models that need more visits."""
        return tuple(model for model in self._models.values() if self._need(model))

    def run(self, wanted: Wanted) -> Steps:
        """Yield steps and outcomes until every model has enough.

        Args:
            wanted: what the device is checked for.

        Raises:
            DeviceUnusable: a check says no, or the device does not keep still.
        """
        self._wanted = wanted
        yield Lease()
        jobs = yield Recover()
        assert isinstance(jobs, tuple)
        for seen in jobs:
            rest, span = iter(seen), Span()
            while (yield from self._take(rest, span)):
                pass  # one bad span says nothing of the next
            yield from self._close(span)
        yield Forget()
        self._references.clear()  # another session's
        lost = 0
        while self.pending:
            yield from self._preflight()
            yield Apply()
            yield Push(self.pending)
            before = self._progress
            yield Start(self._slots())
            cause = yield from self._follow()
            yield Finish()
            lost = 0 if self._progress != before or cause else lost + 1
            if lost >= MAX_LOST_JOBS:
                raise DeviceUnusable(
                    f"{lost} jobs in a row ended before their first visit: look at what ends"
                    " processes on the phone, and at its memory"
                )
            if cause:
                yield from self._cool_down(cause)

    @property
    def _progress(self) -> tuple[int, int]:
        return sum(map(len, self._visits.values())), len(self._dropped)

    def _need(self, model: ModelFile) -> int:
        """Return how many visits it still needs, as far as can be said now."""
        if model.sha256 in self._dropped:
            return 0
        visits, plan = self._visits[model.sha256], self._plan
        if isinstance(plan, PackedPlan):
            if model.role == "pack":
                return 0 if any(isinstance(visit, PackVisit) for visit in visits) else 1
            plan = plan.clean
        mine = [visit for visit in visits if isinstance(visit, ProcessVisit)]
        if len(mine) < plan.min_processes:
            return plan.min_processes - len(mine)
        return 0 if is_measured(mine, plan) else plan.max_processes - len(mine)

    def _preflight(self) -> Steps:
        """Wait for what passes by itself, and refuse what does not.

        A phone that is only warm or busy is measured in the end: its anchors tell.
        """
        started_s = self._clock()
        while True:
            state = yield Look()
            assert isinstance(state, PhoneState)
            wrong = self._unfit(state)
            lasting = any(c.name not in PASSING or c.state == "unknown" for c in wrong)
            throttled = any(c.name in THROTTLING for c in wrong)
            limit_s = self._limits.thermal_wait_s if throttled else self._limits.warm_start_s
            waited = self._clock() - started_s >= limit_s
            if lasting or (waited and throttled):
                what = "; ".join(f"{c.name}: {c.reading}: {c.remedy}" for c in wrong)
                raise DeviceUnusable(f"the phone is not ready: {what}")
            if waited or not wrong:
                return
            yield Wait(self._limits.thermal_poll_s)

    def _unfit(self, state: PhoneState) -> list[Check]:
        checks = check_phone(state, self._limits, self._wanted)
        return [check for check in checks if not is_ready([check])]

    def _slots(self) -> tuple[Slot, ...]:
        """Return looks, anchors, and each pending model's visits in rounds of random order."""
        runs = self._limits.anchor_runs
        anchors = [
            model
            for model in self._models.values()
            if model.role == "anchor" and model.sha256 not in self._dropped
        ]
        needs = {model: self._need(model) for model in self.pending}
        for anchor in needs.keys() & set(anchors):
            needs[anchor] -= runs + 1  # at the beginning, and at the end
        visits: list[Slot] = []
        for number in range(max(needs.values())):
            batch = [model for model, need in needs.items() if need > number]
            visits += self._shuffled(batch)
        span_s = self._limits.anchor_every_s
        size = max(
            1, min(self._limits.anchor_every_jobs, int(span_s / max(1.0, self._plan.visit_s)))
        )
        spans = [visits[i : i + size] for i in range(0, len(visits), size)] or [[]]
        slots: list[Slot] = [None, *self._shuffled(anchors * runs)]
        for span in spans[:-1]:
            slots += [*span, *anchors[:1], None]
        return (*slots, *spans[-1], *self._shuffled(anchors), None)

    def _shuffled(self, models: Sequence[ModelFile]) -> list[ModelFile]:
        return self._order.sample(models, len(models))

    def _follow(self) -> Generator[Step | ProcessOutcome, Reply, str]:
        """Yield what a job sees; return why it has to be given up, or nothing."""
        span = Span()
        while True:
            news = yield Read()
            assert isinstance(news, News)
            for seen in news.seen:
                if isinstance(seen, FailedVisit) and seen.reason == "rejected":
                    yield Skip(seen.sha256)
            cause = yield from self._take(news.seen, span)
            if cause or news.state != "running":
                break
        if not cause:
            yield from self._close(span)
        return cause

    def _close(self, span: Span) -> Generator[Step | ProcessOutcome, Reply, None]:
        """Look now, where a job ended before its last look, and hand up its last visits."""
        if not span.held:
            return
        state = yield Look()
        assert isinstance(state, PhoneState)
        wrong = [c for c in self._unfit(state) if c.name not in PASSING - THROTTLING]
        if cause := "; ".join(f"{c.name}: {c.reading}" for c in wrong):
            yield from (_invalid(outcome, f"looked at late: {cause}") for outcome in span.take())
        yield from self._hand_up(span.take())

    def _take(
        self, seen: Iterable[Seen], span: Span
    ) -> Generator[Step | ProcessOutcome, Reply, str]:
        """Hold outcomes, and hand them up at the look that ends their span; return its cause."""
        for found in seen:
            if not isinstance(found, PhoneState):
                span.held.append(found)
                continue
            if span.before is None:
                span.before = found
                continue
            cause = self._judge(span.before, found, span.held)
            if cause:
                yield from (_invalid(outcome, cause) for outcome in span.take())
                return cause
            self._violated = 0
            yield from self._hand_up(span.take())
        return ""

    def _judge(self, before: PhoneState, after: PhoneState, held: Sequence[ProcessOutcome]) -> str:
        """Return what is wrong with a span; the first anchors of a session are the reference."""
        found = violations(
            before, after, self._limits,
            fixed_performance=self._wanted.fixed_performance, ours=self._wanted.ours,
        )  # fmt: skip
        if found:
            return "; ".join(found)
        references = {sha256: list(values) for sha256, values in self._references.items()}
        shares: list[float] = []
        for visit in held:
            if not self._is_anchor(visit.sha256):
                shares.clear()  # only those that close the span tell of all of it
            elif isinstance(visit, ProcessVisit):
                mine = references.setdefault(visit.sha256, [])
                if len(mine) < self._limits.anchor_runs:
                    mine.append(visit.value_ns)
                else:
                    shares.append(visit.value_ns / median(mine) - 1)
        self._references = references  # also if those of its end have drifted from them
        drift = median(shares) if shares else 0.0
        if abs(drift) > self._limits.anchor_share:
            return (
                f"anchors drifted by {drift:+.1%}: expected them within"
                f" {self._limits.anchor_share:.0%} of the first of this session"
            )
        return ""

    def _is_anchor(self, sha256: str) -> bool:
        return sha256 in self._models and self._models[sha256].role == "anchor"

    def _hand_up(self, outcomes: Iterable[ProcessOutcome]) -> Iterator[ProcessOutcome]:
        for outcome in outcomes:
            sha256 = outcome.sha256
            if sha256 not in self._models or sha256 in self._dropped:
                continue
            if isinstance(outcome, FailedVisit):
                self._fail(outcome)
            else:
                self._visits[sha256].append(outcome)
                self._failures_in_a_row = 0
            yield outcome
            if self._failures_in_a_row > MAX_LOSSES_IN_A_ROW:
                raise DeviceUnusable(
                    f"{self._failures_in_a_row} visits in a row failed; the last time:"
                    f" {outcome.reason if isinstance(outcome, FailedVisit) else outcome}"
                )

    def _fail(self, failed: FailedVisit) -> None:
        if failed.reason == "invalid":  # by an earlier session, in a job that was recovered
            return
        self._failures_in_a_row += 1
        self._losses[failed.sha256] += 1
        lost = self._losses[failed.sha256] >= MAX_LOSSES_A_MODEL
        if failed.reason in ("rejected", "unreadable") or lost:
            self._dropped.add(failed.sha256)

    def _cool_down(self, cause: str) -> Iterator[Wait]:
        self._violated += 1
        if self._violated >= self._limits.attempts:
            raise DeviceUnusable(
                f"the phone did not keep still in {self._violated} attempts; the last time: {cause}"
            )
        yield Wait(self._limits.cool_downs_s[self._violated - 1])


@dataclass(slots=True)
class Span:
    """The outcomes between two looks, which are held until the second."""

    before: PhoneState | None = None
    held: list[ProcessOutcome] = field(default_factory=list)

    def take(self) -> list[ProcessOutcome]:
        """Return what is held, and hold it no more."""
        held, self.held = self.held, []
        return held


def _invalid(outcome: ProcessOutcome, cause: str) -> FailedVisit:
    if isinstance(outcome, FailedVisit):
        return outcome
    return FailedVisit(
        outcome.sha256, outcome.started_unix_s, "invalid", cause, outcome.raw, outcome.origin
    )
