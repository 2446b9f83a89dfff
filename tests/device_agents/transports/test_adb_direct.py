from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from device_agents.address import AdbTcpAddress
from device_agents.emulator.phone import EmulatedPhone
from device_agents.emulator.profiles import OLD_32_BIT, PIXEL_4
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport
from tests.contracts.transport_contract import TransportContract


@pytest.fixture(scope="module", params=[PIXEL_4, OLD_32_BIT], ids=lambda profile: profile.name)
def phone(request: pytest.FixtureRequest) -> Iterator[EmulatedPhone]:
    with EmulatedPhone(request.param) as phone:
        yield phone


class TestAdbDirectTransport(TransportContract):
    @pytest.fixture
    def transport(self, phone: EmulatedPhone, tmp_path: Path) -> Iterator[Transport]:
        address = AdbTcpAddress("127.0.0.1", phone.port)
        transport = open_transport(address, adb_key=tmp_path / "adbkey")
        yield transport
        transport.close()

    @pytest.fixture
    def folder(self, transport: Transport) -> Iterator[str]:
        folder = "/data/local/tmp/folder"
        assert transport.run(["mkdir", folder]).exit_code == 0
        yield folder
        transport.reconnect()
        transport.run(["rm", "-rf", folder])
