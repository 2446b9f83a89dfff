"""Several devices at once: one queue, one table, nothing lost and nothing twice."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.errors import ConnectionLost
from device_agents.local import LocalAgent
from device_agents.measurement import ResidentPlan
from device_agents.processes import ProcessPlan
from device_agents.simulated import latency_of_sha256_ns
from device_agents.simulated_phone import SimulatedPhone
from latency_tables.anchors import AGREE, differ
from latency_tables.errors import DeviceChanged, SpecimenDiffers
from latency_tables.fleet_profile import FleetResult, profile_fleet
from latency_tables.journal import Journal, Session
from latency_tables.profile import Request, profile
from latency_tables.specimens import group_alike
from latency_tables.store import TableDirectory, TableStore
from tests.latency_tables.test_profile import LAYERS, NETWORKS

REQUEST = Request(networks=NETWORKS)


def slower(by: float, serial: str, **options: int) -> SimulatedPhone:
    return SimulatedPhone(serial, lambda sha256: by * latency_of_sha256_ns(sha256), **options)  # type: ignore[arg-type]


def run(store: TableStore, *phones: SimulatedPhone) -> FleetResult:
    return profile_fleet(phones, LAYERS, store, "t", REQUEST)


def work_of(directory: TableDirectory) -> tuple[Mapping[int, int], Mapping[int, Session]]:
    """Return visits by session, and the sessions."""
    with Journal.open(directory.journal) as journal:
        counts = Counter(session for (session,) in journal._rows("SELECT session FROM visits"))
        return counts, {session.id: session for session in journal.sessions()}


def test_phones_that_agree_share_a_queue_and_a_table(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    phones = [SimulatedPhone(f"S{number}") for number in range(3)]
    (result,) = run(store, *phones).tables
    assert (result.measured, result.remaining, result.drained) == (8, 0, {})
    assert store.names() == ("t",)
    table = store.load("t")
    assert table.provenance.serial is None
    assert table.calibration is not None
    counts, sessions = work_of(store.directory("t"))
    by_serial = {sessions[number].serial: count for number, count in counts.items()}
    assert by_serial == {phone.serial: phone.visits for phone in phones}  # none lost, none twice
    assert len(set(by_serial)) == 3
    anchors = 5 * 4  # a network and three kinds, five processes each, on every phone
    assert sum(by_serial.values()) == anchors * 3 + 5 * (10 - 4)


def test_a_phone_that_does_not_agree_has_a_table_of_its_own(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    phones = [SimulatedPhone("S0"), slower(1.1, "S1"), SimulatedPhone("S2")]
    first, second = run(store, *phones).tables
    assert store.names() == ("t", "t-S1")
    ratio = store.load("t-S1").rows["hot_ms"].to_numpy() / store.load("t").rows["hot_ms"].to_numpy()
    assert ratio == pytest.approx([1.1] * 8, rel=0.03)
    assert store.load("t-S1").provenance.serial == "S1"
    again = run(store, *reversed(phones))
    assert {r.table.parent.parent.name for r in again.tables} == {"t", "t-S1"}
    assert len(again.tables) == 2
    assert first.measured == second.measured == 8


@pytest.mark.parametrize("lost_after", [0, 21, 30])
def test_a_phone_that_fails_is_drained_and_others_do_its_work(
    tmp_path: Path, lost_after: int
) -> None:
    store = TableStore(tmp_path)
    failing = SimulatedPhone("S1", lost_after=lost_after)
    found = run(store, SimulatedPhone("S0"), failing, SimulatedPhone("S2"))
    (result,) = found.tables
    assert (result.measured, result.remaining) == (8, 0)
    unplugged = "ConnectionLost: adb:S1: the simulated phone was unplugged"
    assert {**found.drained, **result.drained} == ({"adb:S1": unplugged} if failing.lost else {})
    assert failing.lost or lost_after > 20  # the others may have been faster
    counts, sessions = work_of(store.directory("t"))
    kept = sum(n for number, n in counts.items() if sessions[number].serial == "S1")
    assert kept == failing.visits == min(kept, lost_after)


def test_when_every_phone_is_lost_the_error_says_so_and_the_visits_are_kept(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    phones = [SimulatedPhone(f"S{number}", lost_after=24) for number in range(2)]
    with pytest.raises(ConnectionLost):
        run(store, *phones)
    counts, _ = work_of(store.directory("t"))
    assert sum(counts.values()) == 48
    for phone in phones:
        phone.lost_after = None
    (result,) = run(store, *phones).tables
    assert result.measured == 8


def test_a_new_specimen_joins_a_table_only_if_it_agrees(tmp_path: Path) -> None:
    directory = TableStore(tmp_path).directory("t")
    profile(SimulatedPhone("S0"), LAYERS, directory, networks=NETWORKS)
    before = directory.current().read_bytes()
    with pytest.raises(SpecimenDiffers, match=r"as those of S0 in the table.* 10\.\d % apart"):
        profile(slower(1.1, "S1"), LAYERS, directory, networks=NETWORKS)
    assert directory.current().read_bytes() == before
    assert len(work_of(directory)[1]) == 1  # the stranger left no trace
    more = [*LAYERS, *NETWORKS[0].layers]
    joined = profile(SimulatedPhone("S2"), more, directory, networks=NETWORKS)
    assert joined.measured == 8


def test_an_updated_fleet_leaves_the_table_untouched(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    run(store, SimulatedPhone("S0"), SimulatedPhone("S1"))
    before = store.file("t").read_bytes()
    with pytest.raises(DeviceChanged):
        run(store, *(SimulatedPhone(f"S{n}", os_build="build-2") for n in range(2)))
    assert store.file("t").read_bytes() == before
    assert store.names() == ("t",)


def test_ctrl_c_ends_every_group_and_what_was_measured_goes_on(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    phones = [SimulatedPhone("S0"), slower(1.1, "S1")]
    seen = list[int]()

    def interrupt(done: int, total: int, text: str) -> None:
        seen.append(done)
        if text.startswith("measured") and len(seen) > 50:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        profile_fleet(phones, LAYERS, store, "t", REQUEST, progress=interrupt)
    assert len(run(store, *phones).tables) == 2
    for name in ("t", "t-S1"):
        counts, _ = work_of(store.directory(name))
        assert sum(counts.values()) >= 50


def test_the_anchors_of_every_device_are_seen_to_advance(tmp_path: Path) -> None:
    seen: list[str] = []
    phones = [SimulatedPhone("S0"), SimulatedPhone("S1")]
    store = TableStore(tmp_path)
    profile_fleet(
        phones, LAYERS, store, "t", REQUEST, progress=lambda done, total, text: seen.append(text)
    )
    assert (
        seen.count("measuring the anchors of each device") >= 20
    )  # 2 devices, 5 processes, 2 anchors


def test_this_machine_twice_is_a_fleet(tmp_path: Path) -> None:
    """Whether or not two agents on one core agree, each layer is measured in every table."""
    plan = ResidentPlan(hot=2, min_visits=3, max_visits=3, min_span_s=0.0, tolerance=1.0)
    with LocalAgent() as first, LocalAgent() as second:
        found = profile_fleet(
            [first, second], LAYERS, TableStore(tmp_path), "t", Request(NETWORKS, plan=plan)
        )
    assert all(result.measured == 8 for result in found.tables)


floors = st.dictionaries(st.sampled_from("abc"), st.floats(0.9, 1.1), min_size=1)


@given(st.lists(floors, max_size=6))
def test_within_a_group_any_two_agree(specimens: list[dict[str, float]]) -> None:
    groups = group_alike(specimens)
    assert sorted(number for group in groups for number in group) == list(range(len(specimens)))
    for group in groups:
        pairs = [(a, b) for a in group for b in group if a != b]
        assert all(differ(specimens[a], specimens[b]) <= AGREE for a, b in pairs)
    assert group_alike([{"a": 1.0}, {"b": 1.0}]) == [[0], [1]]
    assert ProcessPlan().min_processes == 5
