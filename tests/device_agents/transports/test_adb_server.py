from __future__ import annotations

from collections.abc import Iterator

import pytest

from device_agents.address import AdbAddress
from device_agents.emulator.phone import EmulatedPhone
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport
from tests.contracts.transport_contract import TransportContract
from tests.device_agents.transports.adb_server import RunningServer, running_adb_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_adb_server(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))


@pytest.fixture(scope="module")
def phone() -> Iterator[EmulatedPhone]:
    with EmulatedPhone() as phone:
        yield phone


class TestAdbServerTransport(TransportContract):
    @pytest.fixture
    def transport(self, phone: EmulatedPhone) -> Iterator[Transport]:
        transport = open_transport(AdbAddress(phone.address))
        yield transport
        transport.close()

    @pytest.fixture
    def folder(self, transport: Transport) -> Iterator[str]:
        folder = "/data/local/tmp/folder"
        assert transport.run(["mkdir", folder]).exit_code == 0
        yield folder
        transport.reconnect()
        transport.run(["rm", "-rf", folder])
