from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents import protocol
from device_agents.conditions.android import Battery, Thermal
from device_agents.conditions.limits import LIMITS
from device_agents.conditions.linux_checks import Wanted
from device_agents.conditions.reading import Unknown
from device_agents.conditions.states import PhoneState
from device_agents.errors import DeviceUnusable
from device_agents.measurement import FailedVisit, ModelFile, Role
from device_agents.packs import PackedPlan, PackVisit
from device_agents.processes import ProcessPlan, ProcessVisit, is_measured
from device_agents.protocol import News, ProcessOutcome, Protocol, Reply, Seen, Step
from device_agents.tools.op_profile import OpProfile, OpRow
from tests.device_agents.conditions.states import PHONE

PLAN = ProcessPlan()
WANTED = Wanted(payload_bytes=1)


def model(name: str, role: Role = "layer") -> ModelFile:
    return ModelFile(Path(name), name, role)


LAYERS = tuple(model(f"layer{number}") for number in range(12))
ANCHORS = (model("network", "anchor"), model("dense", "anchor"))


def visit(sha256: str, value_ns: int = 1_000_000) -> ProcessVisit:
    return ProcessVisit(
        sha256, 0.0, 1, 1, 0, value_ns, value_ns, value_ns, value_ns, value_ns, raw="as printed"
    )


def pack_visit(sha256: str) -> PackVisit:
    row = OpRow("CONV_2D", "Convolution", 0, 1.0, 1, in_delegate=True)
    return PackVisit(sha256, 0.0, OpProfile((row,), (), 1))


def is_hot(state: PhoneState, status: int = 2) -> PhoneState:
    return replace(state, thermal=Thermal(status, False, ()))


@dataclass
class ScriptedPhone:
    """Does what each visit's number says, counted over the whole session."""

    outcome: Callable[[int, ModelFile], ProcessOutcome] = lambda number, m: visit(m.sha256)
    look: Callable[[int], PhoneState] = lambda number: PHONE
    state_at: Callable[[int], PhoneState] = lambda number: PHONE
    lost_after: tuple[int, ...] = ()
    jobs: tuple[tuple[Seen, ...], ...] = ()
    steps: list[Step] = field(default_factory=list)
    now_s: float = 0.0
    visits: int = 0
    looks: int = 0
    preflights: int = 0
    pending: list[tuple[protocol.Slot, ...]] = field(default_factory=list)

    def perform(self, step: Step) -> Reply:
        self.steps.append(step)
        match step:
            case protocol.Recover():
                return self.jobs
            case protocol.Look():
                self.preflights += 1
                return self.state_at(self.preflights)
            case protocol.Wait(seconds):
                self.now_s += seconds
            case protocol.Start(slots):
                self.pending.append(slots)
            case protocol.Read():
                return self.read(self.pending[-1])
        return None

    def read(self, slots: tuple[protocol.Slot, ...]) -> News:
        seen: list[Seen] = []
        for slot in slots:
            if slot is None:
                self.looks += 1
                seen.append(self.look(self.looks))
                continue
            self.visits += 1
            if self.visits in self.lost_after:
                return News(tuple(seen), "lost")
            seen.append(self.outcome(self.visits, slot))
        return News(tuple(seen), "ended")

    def waits(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, protocol.Wait)]


def measure(
    phone: ScriptedPhone,
    models: tuple[ModelFile, ...],
    plan: ProcessPlan | PackedPlan = PLAN,
    *,
    seed: int = 0,
    wanted: Wanted = WANTED,
) -> Iterator[ProcessOutcome]:
    order = random.Random(seed)
    steps = Protocol(models, plan, done={}, order=order, clock=lambda: phone.now_s).run(wanted)
    reply: Reply = None
    try:
        while True:
            item = steps.send(reply)
            reply = None
            if isinstance(item, ProcessVisit | PackVisit | FailedVisit):
                yield item
            else:
                reply = phone.perform(item)
    except StopIteration:
        return


def test_the_steps_come_in_the_order_of_the_protocol() -> None:
    phone = ScriptedPhone()
    list(measure(phone, LAYERS))
    assert [type(step).__name__ for step in phone.steps] == [
        "Lease", "Recover", "Forget", "Look", "Apply", "Push", "Start", "Read", "Finish",
    ]  # fmt: skip


@given(st.integers(1, 12), st.integers(0, 2), st.integers(0, 100))
def test_every_model_is_measured_in_one_job_interleaved(
    layers: int, anchors: int, seed: int
) -> None:
    phone = ScriptedPhone()
    models = (*ANCHORS[:anchors], *LAYERS[:layers])
    outcomes = list(measure(phone, models, seed=seed))
    (slots,) = phone.pending
    for m in models:
        mine = [o for o in outcomes if isinstance(o, ProcessVisit) and o.sha256 == m.sha256]
        assert is_measured(mine, PLAN)
    order = [slot for slot in slots if slot in LAYERS]
    rounds = [order[i : i + layers] for i in range(0, len(order), layers)]
    assert all(set(batch) == set(LAYERS[:layers]) for batch in rounds)
    assert slots[0] is slots[-1] is None
    opening = slots[1 : 1 + LIMITS.anchor_runs * anchors]
    assert Counter(opening) == dict.fromkeys(models[:anchors], LIMITS.anchor_runs)
    spans = "".join("|" if slot is None else "." if slot in LAYERS else "" for slot in slots)
    assert max(map(len, spans.split("|"))) <= LIMITS.anchor_every_jobs


def test_another_seed_is_another_order() -> None:
    orders = []
    for seed in (1, 1, 2):
        phone = ScriptedPhone()
        list(measure(phone, LAYERS, seed=seed))
        orders.append(phone.pending)
    assert orders[0] == orders[1] != orders[2]


def test_what_does_not_agree_is_visited_up_to_the_most() -> None:
    phone = ScriptedPhone(lambda number, m: visit(m.sha256, 1_000_000 + 100_000 * (number % 2)))
    outcomes = list(measure(phone, LAYERS[:1]))
    assert len(outcomes) == PLAN.max_processes
    assert len(phone.pending) == 2


def test_a_pack_is_visited_once_and_what_is_clean_by_its_own_plan() -> None:
    def outcome(number: int, m: ModelFile) -> ProcessOutcome:
        return pack_visit(m.sha256) if m.role == "pack" else visit(m.sha256)

    models = (model("pack1", "pack"), model("pack2", "pack"), *LAYERS[:2])
    outcomes = list(measure(ScriptedPhone(outcome), models, PackedPlan()))
    expected = {"pack1": 1, "pack2": 1, "layer0": 5, "layer1": 5}
    assert Counter(o.sha256 for o in outcomes) == expected


@pytest.mark.parametrize("reason", ["rejected", "crashed", "hung"])
def test_a_model_that_fails_is_dropped(reason: str) -> None:
    def outcome(number: int, m: ModelFile) -> ProcessOutcome:
        failed = FailedVisit(m.sha256, 0.0, reason, "as scripted")  # type: ignore[arg-type]
        return failed if m == LAYERS[0] else visit(m.sha256)

    phone = ScriptedPhone(outcome)
    counts = Counter(o.sha256 for o in measure(phone, LAYERS[:3]))
    assert counts == {"layer0": 1 if reason == "rejected" else 2, "layer1": 5, "layer2": 5}
    assert (protocol.Skip("layer0") in phone.steps) == (reason == "rejected")


def test_only_failures_mean_that_the_phone_is_broken() -> None:
    phone = ScriptedPhone(lambda n, m: FailedVisit(m.sha256, 0.0, "crashed", "as scripted"))
    models = tuple(model(f"layer{number}") for number in range(30))
    with pytest.raises(DeviceUnusable, match="21 visits in a row"):
        list(measure(phone, models))


def test_a_violated_span_is_invalid_and_made_again_after_a_pause() -> None:
    phone = ScriptedPhone(look=lambda number: is_hot(PHONE) if number == 2 else PHONE)
    outcomes = list(measure(phone, LAYERS[:4]))
    invalid = [o for o in outcomes if isinstance(o, FailedVisit)]
    assert [failed.reason for failed in invalid] == ["invalid"] * 20
    assert all("thermal status: expected 0, found 2" in failed.detail for failed in invalid)
    assert all(failed.raw == "as printed" for failed in invalid)
    assert Counter(o.sha256 for o in outcomes if isinstance(o, ProcessVisit)) == {
        m.sha256: 5 for m in LAYERS[:4]
    }
    assert phone.waits() == [LIMITS.cool_downs_s[0]]


def test_a_good_span_before_a_violated_one_stands() -> None:
    phone = ScriptedPhone(look=lambda number: is_hot(PHONE) if number == 3 else PHONE)
    outcomes = list(measure(phone, LAYERS))
    assert all(isinstance(outcome, ProcessVisit) for outcome in outcomes[:20])
    assert all(isinstance(outcome, FailedVisit) for outcome in outcomes[20:40])
    assert all(isinstance(outcome, ProcessVisit) for outcome in outcomes[40:])
    assert len(outcomes) == 12 * 5 + 20


def test_a_phone_that_never_keeps_still_is_given_up_after_three_attempts() -> None:
    phone = ScriptedPhone(look=lambda number: is_hot(PHONE) if number % 2 == 0 else PHONE)
    outcomes: list[ProcessOutcome] = []
    with pytest.raises(DeviceUnusable, match=r"3 attempts.*thermal status"):
        outcomes.extend(measure(phone, LAYERS[:4]))
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, FailedVisit)] == (
        ["invalid"] * 60
    )
    assert phone.waits() == list(LIMITS.cool_downs_s)


@pytest.mark.parametrize(("drift", "is_invalid"), [(0.04, False), (0.06, True), (-0.06, True)])
def test_drift_of_the_anchors_quarantines_the_span(drift: float, is_invalid: bool) -> None:
    slow_from = 2 * LIMITS.anchor_runs + 20 + 1 + 20

    def outcome(number: int, m: ModelFile) -> ProcessOutcome:
        slow = m in ANCHORS and slow_from < number <= slow_from + 1
        return visit(m.sha256, round(1_000_000 * (1 + drift * slow)))

    outcomes = list(measure(ScriptedPhone(outcome), (*ANCHORS, *LAYERS)))
    invalid = [o for o in outcomes if isinstance(o, FailedVisit)]
    assert len(invalid) == (21 if is_invalid else 0)
    assert all(f"anchors drifted by {drift:+.1%}" in failed.detail for failed in invalid)
    good = Counter(o.sha256 for o in outcomes if isinstance(o, ProcessVisit))
    assert all(good[m.sha256] >= 5 for m in (*ANCHORS, *LAYERS))


def test_a_lost_job_costs_the_visit_in_flight() -> None:
    phone = ScriptedPhone(lost_after=(7, 30))
    outcomes = list(measure(phone, LAYERS))
    assert Counter(o.sha256 for o in outcomes) == {m.sha256: 5 for m in LAYERS}
    assert not [o for o in outcomes if isinstance(o, FailedVisit)]
    assert phone.visits == 60 + 2
    assert len(phone.pending) == 3


def test_jobs_that_are_always_lost_are_given_up() -> None:
    phone = ScriptedPhone(lost_after=tuple(range(1, 100)))
    with pytest.raises(DeviceUnusable, match="3 jobs in a row"):
        list(measure(phone, LAYERS))


def test_what_an_earlier_session_left_counts_and_is_handed_up_first() -> None:
    left: tuple[Seen, ...] = (
        PHONE, *(visit("layer0") for _ in range(3)), PHONE, visit("layer1"), visit("other"),
    )  # fmt: skip
    phone = ScriptedPhone(jobs=(left,))
    outcomes = list(measure(phone, LAYERS[:2]))
    assert [o.sha256 for o in outcomes[:4]] == ["layer0"] * 3 + ["layer1"]
    assert phone.visits == 2 + 4
    # a look closes the job's last span, and only then is the job removed
    assert phone.steps[1:4] == [protocol.Recover(), protocol.Look(), protocol.Forget()]


def test_a_span_that_an_earlier_session_violated_stays_invalid() -> None:
    phone = ScriptedPhone(jobs=((PHONE, visit("layer0"), is_hot(PHONE)),))
    outcomes = list(measure(phone, LAYERS[:1]))
    assert isinstance(outcomes[0], FailedVisit)
    assert outcomes[0].reason == "invalid"
    assert phone.visits == 5


def test_a_span_that_an_earlier_session_violated_costs_none_of_those_after_it() -> None:
    again = [visit("layer0") for _ in range(3)]
    left: tuple[Seen, ...] = (PHONE, visit("layer0"), is_hot(PHONE), PHONE, *again, PHONE)
    phone = ScriptedPhone(jobs=(left,))
    outcomes = list(measure(phone, LAYERS[:1]))
    kinds = [isinstance(outcome, FailedVisit) for outcome in outcomes]
    assert kinds[:4] == [True, False, False, False]
    assert phone.visits == 2


@pytest.mark.parametrize(
    ("wrong", "limit_s"),
    [
        (is_hot(PHONE, 1), LIMITS.thermal_wait_s),
        (replace(PHONE, linux=replace(PHONE.linux, load=3.0)), LIMITS.warm_start_s),
    ],
)
def test_what_passes_by_itself_is_waited_for(wrong: PhoneState, limit_s: float) -> None:
    phone = ScriptedPhone(state_at=lambda number: wrong if number <= 3 else PHONE)
    list(measure(phone, LAYERS[:1]))
    assert phone.waits() == [LIMITS.thermal_poll_s] * 3
    phone = ScriptedPhone(state_at=lambda number: wrong)
    if wrong.linux.load == 3.0:  # warm or busy: it is measured in the end
        list(measure(phone, LAYERS[:1]))
    else:
        with pytest.raises(DeviceUnusable, match="thermal"):
            list(measure(phone, LAYERS[:1]))
    assert sum(phone.waits()) == limit_s


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(PHONE, battery=Battery(20, 25.0, False, (), False)), "battery: 20 %.*charge it"),
        (replace(PHONE, low_power=True), "power saver: on: switch it off"),
        (replace(PHONE, battery=Unknown("denied")), "battery: unknown: denied"),
    ],
)
def test_what_does_not_pass_is_refused_at_once(wrong: PhoneState, message: str) -> None:
    phone = ScriptedPhone(state_at=lambda number: wrong)
    with pytest.raises(DeviceUnusable, match=message):
        list(measure(phone, LAYERS[:1]))
    assert phone.waits() == []
    assert not any(isinstance(step, protocol.Apply | protocol.Push) for step in phone.steps)
