"""What every transport to a phone promises when the phone goes wrong, as tests to inherit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from device_agents.emulator.phone import EmulatedPhone
from device_agents.errors import (
    CommandTimeout,
    ConnectionLost,
    DeviceMissing,
    DeviceSwapped,
    PushFailed,
    Unauthorized,
)
from device_agents.transports.deadline import Deadline
from device_agents.transports.transport import Transport
from tests.contracts.transport_contract import MIB, TransportContract

Reach = Callable[..., Transport]
LONG_LINE = "x" * 150_000


class PhoneContract(TransportContract):
    """Inherit, and supply ``phone`` and ``reach(phone, **options)``, which opens a transport."""

    @pytest.fixture
    def reach(self) -> Reach:
        raise NotImplementedError

    @pytest.fixture
    def transport(self, phone: EmulatedPhone, reach: Reach) -> Iterator[Transport]:
        transport = reach(phone)
        yield transport
        transport.close()

    @pytest.fixture
    def folder(self, transport: Transport) -> Iterator[str]:
        folder = "/data/local/tmp/folder"
        assert transport.run(["mkdir", folder]).exit_code == 0
        yield folder
        transport.reconnect()
        assert transport.run(["rm", "-rf", folder]).exit_code == 0

    def test_a_long_command_runs_too(self, transport: Transport) -> None:
        done = transport.run(["printf", "%s", LONG_LINE[:100_000], LONG_LINE[:100_000]])
        assert (done.exit_code, len(done.stdout)) == (0, 200_000)
        assert transport.run(["ls", "-A", "/data/local/tmp"]).stdout == b""

    @pytest.mark.parametrize("after_bytes", [0, 1, 100, 5_000, 400_000])
    @pytest.mark.parametrize("how", ["drop", "eof"])
    def test_a_cut_output_is_no_output(
        self,
        transport: Transport,
        phone: EmulatedPhone,
        folder: str,
        how: str,
        after_bytes: int,
    ) -> None:
        transport.push(os.urandom(MIB), f"{folder}/large")
        phone.faults.add_next("shell", how, after_bytes=after_bytes)
        with pytest.raises(ConnectionLost, match="reconnect"):
            transport.run(["cat", f"{folder}/large"])
        assert phone.faults.pending == ()
        transport.reconnect()
        assert len(transport.run(["cat", f"{folder}/large"]).stdout) == MIB

    def test_it_stays_lost_until_it_is_connected_again(
        self, transport: Transport, phone: EmulatedPhone
    ) -> None:
        phone.faults.add_next("shell", "drop")
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="reconnect"):
                transport.run(["true"])
        assert not transport.is_alive()
        transport.reconnect()
        assert transport.is_alive()

    def test_a_stall_is_given_up_at_the_deadline(
        self, transport: Transport, phone: EmulatedPhone
    ) -> None:
        phone.faults.add_next("shell", "stall 2")
        with pytest.raises(CommandTimeout, match=r"0\.5 s"):
            transport.run(["echo"], timeout_s=0.5)
        transport.reconnect()
        assert transport.run(["echo", "again"]).stdout == b"again\n"

    @pytest.mark.parametrize("after_bytes", [0, 10, 70_000, 3_000_000])
    def test_a_cut_push_keeps_the_old_file(
        self, transport: Transport, phone: EmulatedPhone, folder: str, after_bytes: int
    ) -> None:
        transport.push(b"old", f"{folder}/file")
        phone.faults.add_next("push", "drop", after_bytes=after_bytes)
        new = os.urandom(4 * MIB)
        with pytest.raises(ConnectionLost):
            transport.push(new, f"{folder}/file")
        transport.reconnect()
        assert transport.pull(f"{folder}/file") == b"old"
        transport.push(new, f"{folder}/file")
        assert transport.pull(f"{folder}/file") == new

    @pytest.mark.parametrize("after_bytes", [0, 100, 500_000])
    def test_a_cut_pull_is_no_file(
        self, transport: Transport, phone: EmulatedPhone, folder: str, after_bytes: int
    ) -> None:
        data = os.urandom(MIB)
        transport.push(data, f"{folder}/file")
        phone.faults.add_next("pull", "drop", after_bytes=after_bytes)
        with pytest.raises(ConnectionLost):
            transport.pull(f"{folder}/file")
        transport.reconnect()
        assert transport.pull(f"{folder}/file") == data

    @pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
    def test_a_full_phone_keeps_the_old_file(
        self,
        transport: Transport,
        phone: EmulatedPhone,
        folder: str,
        listing: Callable[[], set[str]],
        size: int,
    ) -> None:
        transport.push(b"old", f"{folder}/file")
        before = phone.state.free_bytes
        phone.faults.add_next("push", f"disk-full {2 * MIB}")
        with pytest.raises(PushFailed, match="No space left"):
            transport.push(bytes(size), f"{folder}/file")
        assert listing() == {"file"}
        assert transport.pull(f"{folder}/file") == b"old"
        phone.state.free_bytes = before

    def test_a_reboot_is_waited_for(self, transport: Transport, phone: EmulatedPhone) -> None:
        phone.faults.add_next("shell", "reboot", after_s=0.2)
        with pytest.raises(ConnectionLost):
            transport.run(["sleep", "20"])
        transport.reconnect()
        assert transport.run(["echo", "up"]).stdout == b"up\n"

    def test_a_phone_that_was_swapped(self, phone: EmulatedPhone, reach: Reach) -> None:
        known = phone.serial
        transport = reach(phone, expected_serial=known)
        phone.state.serial = "ANOTHER-ONE"
        phone.drop_connections()
        with pytest.raises(DeviceSwapped, match=f"{known}.*ANOTHER-ONE"):
            transport.reconnect()
        assert not transport.is_alive()
        with pytest.raises(DeviceSwapped):
            reach(phone, expected_serial=known)
        phone.state.serial = known
        transport.reconnect()
        transport.close()

    def test_a_phone_that_does_not_know_this_computer(self, reach: Reach) -> None:
        with EmulatedPhone(auth=True) as phone:
            with pytest.raises(Unauthorized, match="allow USB debugging"):
                reach(phone, timeout_s=1.5)
            deadline = Deadline(10)
            while phone.pending_key is None and not deadline.passed:
                time.sleep(0.05)
            phone.accept_key()
            transport = _in_time(lambda: reach(phone))
            assert transport.run(["echo", "trusted"]).stdout == b"trusted\n"
            transport.close()

    def test_a_phone_that_does_not_answer(self, reach: Reach) -> None:
        with EmulatedPhone() as phone:
            phone.faults.add("connect 1+", "offline")
            with pytest.raises(ConnectionLost, match=phone.address):
                reach(phone, timeout_s=1.5)

    def test_a_phone_that_is_gone(self, reach: Reach) -> None:
        with EmulatedPhone() as phone:
            transport = reach(phone)
        assert not transport.is_alive()
        with pytest.raises(DeviceMissing, match=phone.address):
            transport.reconnect(timeout_s=1)
        transport.close()


def _in_time(connect: Callable[[], Transport]) -> Transport:
    """Connect once an adb server has noticed that the person said yes."""
    deadline = Deadline(10)
    while True:
        try:
            return connect()
        except Unauthorized:
            if deadline.passed:
                raise
            time.sleep(0.1)
