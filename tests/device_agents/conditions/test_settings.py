from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.conditions.settings import (
    Record,
    apply_settings,
    format_record,
    parse_record,
    undo_settings,
)
from device_agents.errors import ConnectionLost, DeviceUnusable
from device_agents.transports.local import LocalTransport
from device_agents.transports.transport import Completed
from tests.device_agents.conditions.programs import FakePhone

KILLED = 137


class CutTransport(LocalTransport):
    """A connection that is lost with the script that was killed, or before its n-th use."""

    def __init__(self, uses: int = -1) -> None:
        super().__init__("adb:CUT")
        self._uses = uses

    def _use(self) -> None:
        if self._uses == 0:
            raise ConnectionLost("cut")
        self._uses -= 1

    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0, stdin: bytes = b"") -> Completed:
        self._use()
        done = super().run(argv, timeout_s=timeout_s, stdin=stdin)
        if done.exit_code == KILLED:
            self._uses = 0
            raise ConnectionLost("killed")
        return done

    def push(
        self, data: bytes, path: str, *, mode: int = 0o644, timeout_s: float | None = None
    ) -> None:
        self._use()
        super().push(data, path, mode=mode, timeout_s=timeout_s)

    def pull(self, path: str, *, timeout_s: float | None = None) -> bytes:
        self._use()
        return super().pull(path, timeout_s=timeout_s)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePhone:
    phone = FakePhone(tmp_path, os.environ["PATH"])
    monkeypatch.setenv("PATH", phone.path)
    return phone


def test_what_is_set_is_put_back(phone: FakePhone) -> None:
    before = phone.read()
    record = apply_settings(LocalTransport(), fixed_performance=True, home=phone.home)
    assert phone.read() == {
        "global.stay_on_while_plugged_in": "3", "system.screen_brightness_mode": "0",
        "system.screen_brightness": "10", "wakefulness": "Awake", "fixed": "true",
    }  # fmt: skip
    assert ("system", "screen_brightness", "null") in record.settings  # nobody ever touched it
    assert undo_settings(LocalTransport(), home=phone.home) == record
    assert phone.read() == before
    assert undo_settings(LocalTransport(), home=phone.home) is None


def test_clocks_and_screen_are_left_as_they_were(phone: FakePhone) -> None:
    phone.write({"wakefulness": "Awake", "fixed": "perhaps"})
    apply_settings(LocalTransport(), fixed_performance=False, home=phone.home)
    undo_settings(LocalTransport(), home=phone.home)
    assert phone.read()["fixed"] == "perhaps"
    assert phone.read()["wakefulness"] == "Awake"


def test_setting_twice_keeps_the_first_values(phone: FakePhone) -> None:
    before = phone.read()
    for fixed_performance in (True, False, True):
        apply_settings(LocalTransport(), fixed_performance=fixed_performance, home=phone.home)
    undo_settings(LocalTransport(), home=phone.home)
    assert phone.read() == before


def test_killed_at_any_command_nothing_is_lost(phone: FakePhone) -> None:
    before = phone.read()

    def session() -> None:
        apply_settings(transport, fixed_performance=True, home=phone.home)
        undo_settings(transport, home=phone.home)

    phone.cut_at(0)
    transport = CutTransport()
    session()
    calls = phone.calls
    assert calls > 15
    for call in range(1, calls + 1):
        phone.cut_at(call)
        transport = CutTransport()
        with pytest.raises(ConnectionLost):
            session()
        phone.cut_at(0)
        undo_settings(LocalTransport(), home=phone.home)
        assert phone.read() == before, f"killed at call {call}"


def test_cut_at_any_round_trip_the_next_session_begins_from_the_first_values(
    phone: FakePhone,
) -> None:
    before = phone.read()
    for uses in range(20):
        transport = CutTransport(uses)
        try:
            apply_settings(transport, fixed_performance=True, home=phone.home)
            undo_settings(transport, home=phone.home)
        except ConnectionLost:
            record = apply_settings(LocalTransport(), fixed_performance=False, home=phone.home)
            assert ("global", "stay_on_while_plugged_in", "7") in record.settings
            undo_settings(LocalTransport(), home=phone.home)
            assert phone.read() == before, f"cut after {uses} uses"
        else:
            break
    else:
        pytest.fail("never got through")
    assert uses >= 6


def test_a_setting_that_is_refused_puts_back_the_others(phone: FakePhone) -> None:
    before = phone.read() | {"denied.screen_brightness": ""}
    phone.write({"denied.screen_brightness": ""})
    with pytest.raises(DeviceUnusable, match="screen_brightness"):
        apply_settings(LocalTransport(), fixed_performance=True, home=phone.home)
    assert phone.read() == before


def test_an_old_value_that_cannot_be_read_changes_nothing(phone: FakePhone) -> None:
    phone.write({"system.screen_brightness": "Failure calling service settings: $(reboot)"})
    before = phone.read()
    with pytest.raises(DeviceUnusable, match="nothing was changed"):
        apply_settings(LocalTransport(), fixed_performance=True, home=phone.home)
    assert phone.read() == before


def test_what_cannot_be_put_back_stays_recorded(phone: FakePhone) -> None:
    before = phone.read()
    apply_settings(LocalTransport(), fixed_performance=True, home=phone.home)
    phone.write({"denied.screen_brightness_mode": ""})
    with pytest.raises(DeviceUnusable, match="try again"):
        undo_settings(LocalTransport(), home=phone.home)
    (phone.state / "denied.screen_brightness_mode").unlink()
    undo_settings(LocalTransport(), home=phone.home)
    assert phone.read() == before


KEYS = st.from_regex(r"[a-z_]{1,9}", fullmatch=True)
VALUES = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1)


@given(
    st.builds(
        Record,
        st.lists(st.tuples(st.sampled_from(["global", "system"]), KEYS, VALUES)).map(tuple),
        fixed_performance=st.booleans(),
        slept=st.booleans(),
    )
)
def test_parsing_a_record_is_the_inverse_of_writing_it(record: Record) -> None:
    text = format_record(record)
    assert parse_record(text) == record
    assert parse_record(text.removesuffix("end\n")) is None


def test_a_record_that_is_not_ours_is_refused() -> None:
    with pytest.raises(DeviceUnusable, match="remove the file"):
        parse_record("delete everything\nend\n")
