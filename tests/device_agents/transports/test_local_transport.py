from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_agents.errors import CommandTimeout
from device_agents.transports.local import LocalTransport
from device_agents.transports.transport import Transport
from tests.contracts.transport_contract import TransportContract, sh


class TestLocalTransport(TransportContract):
    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        transport = LocalTransport()
        yield transport
        transport.close()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        folder = tmp_path / "device"
        folder.mkdir()
        return str(folder)

    def test_the_deadline_kills_the_whole_group(self, transport: Transport, folder: str) -> None:
        script = 'sleep 300 & echo $! >"$1/child"; echo $$ >"$1/parent"; wait'
        with pytest.raises(CommandTimeout):
            transport.run(sh(script, folder), timeout_s=0.5)
        for name in ("child", "parent"):
            pid = int(transport.pull(f"{folder}/{name}"))
            until_s = time.monotonic() + 10  # a killed process of a busy machine takes its time
            while not _is_gone(pid) and time.monotonic() < until_s:
                time.sleep(0.02)
            assert _is_gone(pid)

    def test_one_that_left_the_group_and_keeps_the_pipes_does_not_hold_us(
        self, transport: Transport, folder: str
    ) -> None:
        with pytest.raises(CommandTimeout):
            transport.run(sh('setsid sh -c "sleep 5" & exit 0'), timeout_s=0.5)
        assert transport.run(["true"]).exit_code == 0


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
