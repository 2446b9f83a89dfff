from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device_agents.address import SshAddress
from device_agents.errors import ConnectionLost, DeviceMissing, DeviceSwapped, Unauthorized
from device_agents.transports.opening import open_transport
from device_agents.transports.transport import Transport
from tests.contracts.transport_contract import TransportContract, sh
from tests.device_agents.transports.sshd import HOST, Sshd, free_port, make_key, running_sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def opened(sshd: Sshd, known_hosts: Path | None = None, ssh_key: Path | None = None) -> Transport:
    return open_transport(
        sshd.address,
        known_hosts=known_hosts or sshd.known_hosts,
        ssh_key=ssh_key or sshd.key_file,
    )


class TestSshTransport(TransportContract):
    @pytest.fixture
    def transport(self, sshd: Sshd) -> Iterator[Transport]:
        transport = opened(sshd)
        yield transport
        transport.close()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        folder = tmp_path / "device"
        folder.mkdir()
        return str(folder)

    @pytest.mark.parametrize("script", ["sleep 60", "while :; do echo more; done"])
    def test_a_connection_lost_in_the_middle_of_a_command(
        self, transport: Transport, sshd: Sshd, script: str
    ) -> None:
        with cut(sshd, after_s=0.5), pytest.raises(ConnectionLost, match="lost"):
            transport.run(sh(script))
        assert not transport.is_alive()
        with pytest.raises(ConnectionLost):
            transport.run(["true"])
        transport.reconnect()
        assert transport.run(["echo", "back"]).stdout == b"back\n"

    def test_a_connection_lost_in_the_middle_of_a_push(
        self, transport: Transport, sshd: Sshd, folder: str
    ) -> None:
        transport.push(b"old", f"{folder}/file")
        with cut(sshd, after_s=0.2), pytest.raises(ConnectionLost):
            transport.push(bytes(1 << 28), f"{folder}/file")
        transport.reconnect()
        assert transport.pull(f"{folder}/file") == b"old"

    def test_keys_of_an_unknown_host_are_not_trusted(self, sshd: Sshd, tmp_path: Path) -> None:
        for known in (tmp_path / "none", tmp_path / "empty"):
            (tmp_path / "empty").touch()
            with pytest.raises(Unauthorized, match=rf"run `ssh -p {sshd.port} .*once") as caught:
                opened(sshd, known_hosts=known)
            assert str(known) in str(caught.value)
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("kind", ["ed25519", "rsa"])
    def test_a_host_key_that_changed(self, sshd: Sshd, tmp_path: Path, kind: str) -> None:
        make_key(tmp_path / "other", kind)
        public = (tmp_path / "other.pub").read_text()
        known = tmp_path / "known_hosts"
        known.write_text(f"[{HOST}]:{sshd.port} {public}")
        with pytest.raises(DeviceSwapped, match=r"ssh-keygen -R '\[127.0.0.1\]:"):
            opened(sshd, known_hosts=known)

    def test_a_key_that_is_refused(self, sshd: Sshd, tmp_path: Path) -> None:
        make_key(tmp_path / "stranger")
        with pytest.raises(Unauthorized, match=f"ssh-copy-id -p {sshd.port} "):
            opened(sshd, ssh_key=tmp_path / "stranger")

    def test_a_key_that_cannot_be_used(self, sshd: Sshd, tmp_path: Path) -> None:
        make_key(tmp_path / "locked", passphrase="secret")
        (tmp_path / "garbage").write_text("garbage")
        for name in ("locked", "garbage", "missing"):
            with pytest.raises(Unauthorized, match=name):
                opened(sshd, ssh_key=tmp_path / name)

    def test_a_board_that_is_not_there(self, sshd: Sshd) -> None:
        for address in (
            replace(sshd.address, port=free_port()),
            SshAddress("pi", "no-such-host.invalid"),
        ):
            with pytest.raises(DeviceMissing, match="sshd run"):
                open_transport(address, known_hosts=sshd.known_hosts)

    def test_a_board_that_boots_is_waited_for(self, sshd: Sshd, tmp_path: Path) -> None:
        with running_sshd(tmp_path) as board:
            transport = opened(board)
        assert not transport.is_alive()
        with pytest.raises(DeviceMissing):
            transport.reconnect(timeout_s=0.5)
        assert not transport.is_alive()
        with running_sshd(tmp_path, port=board.port):
            transport.reconnect()
            assert transport.run(["echo", "back"]).stdout == b"back\n"
        transport.close()


class cut(threading.Thread):  # noqa: N801
    """Kills every session of an sshd a moment after the context began."""

    def __init__(self, sshd: Sshd, after_s: float) -> None:
        super().__init__()
        self._sshd, self._after_s = sshd, after_s

    def run(self) -> None:
        time.sleep(self._after_s)
        for pid in self._sshd.sessions():
            os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.join()
