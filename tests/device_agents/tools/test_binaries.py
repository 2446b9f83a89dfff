from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest

from device_agents.errors import BinaryRefused
from device_agents.tools.binaries import (
    HttpsOnly,
    Source,
    cached_binary,
    local_binary,
    official_url,
    open_https,
    require_https,
)

CONTENT = b"\x7fELF" + bytes(range(256)) * 3000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the content; /short/ ends early, /slow/ comes in drops, /empty/ has nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path.startswith("/missing/"):
            self.send_error(404)
            return
        content = b"" if self.path.startswith("/empty/") else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:1000] if self.path.startswith("/short/") else content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server:
    """A server on this machine, asked through HTTPS addresses of another."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self._server.asked = self.asked  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def open(self, url: str, timeout_s: float) -> AbstractContextManager[Source]:
        require_https(url)
        host = f"http://127.0.0.1:{self._server.server_port}/"
        opened: AbstractContextManager[Source] = urllib.request.urlopen(
            url.replace("https://tools.example/", host), timeout=timeout_s
        )
        return opened

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


URL = "https://tools.example/{}/android_aarch64_benchmark_model"


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_confirmed_download_is_kept_and_used_again(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        binary = cached_binary(URL.format("good"), tmp_path, sha256=SHA256, opener=server.open)
        assert (binary.sha256, binary.read()) == (SHA256, CONTENT)
    assert len(server.asked) == 1
    assert files_in(tmp_path) == ["android_aarch64_benchmark_model"]


def test_an_unconfirmed_download_says_its_sha256_and_is_not_kept(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(BinaryRefused, match=f"--benchmark-sha256 {SHA256}"):
        cached_binary(URL.format("good"), tmp_path, sha256=None, opener=server.open)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("good", "expected sha256 0{64}, found"),
        ("short", f"expected {len(CONTENT)} bytes, found 1000"),
        ("empty", "found 0"),
        ("missing", "404"),
    ],
)
def test_a_download_of_something_else_is_refused_and_not_kept(
    server: Server, tmp_path: Path, kind: str, message: str
) -> None:
    with pytest.raises(BinaryRefused, match=message):
        cached_binary(URL.format(kind), tmp_path, sha256="0" * 64, opener=server.open)
    assert files_in(tmp_path) == []


def test_a_download_has_a_deadline(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BinaryRefused, match="in time"):
        cached_binary(
            URL.format("good"),
            tmp_path,
            sha256=SHA256,
            timeout_s=0,
            opener=lambda url, _: server.open(url, 5),
        )
    assert files_in(tmp_path) == []


def test_a_cached_file_that_changed_is_refused(server: Server, tmp_path: Path) -> None:
    binary = cached_binary(URL.format("good"), tmp_path, sha256=SHA256, opener=server.open)
    binary.path.write_bytes(CONTENT[:-1])
    with pytest.raises(BinaryRefused, match=r"delete it.*expected sha256"):
        cached_binary(URL.format("good"), tmp_path, sha256=SHA256, opener=server.open)
    with pytest.raises(BinaryRefused, match="expected sha256"):
        binary.read()


def test_only_https_is_opened_and_followed(tmp_path: Path) -> None:
    for url in ("http://tools.example/b", "file:///etc/passwd"):
        with pytest.raises(BinaryRefused, match="over https"):
            open_https(url, 1)
        with pytest.raises(BinaryRefused, match="over https"):
            cached_binary(url, tmp_path, sha256=SHA256)
    request = urllib.request.Request("https://tools.example/b")
    follow = HttpsOnly().redirect_request
    with pytest.raises(BinaryRefused, match="over https"):
        follow(request, BytesIO(), 302, "Found", Message(), "http://tools.example/b")
    followed = follow(request, BytesIO(), 302, "Found", Message(), "https://other.example/b")
    assert followed is not None
    assert followed.full_url == "https://other.example/b"


def test_a_path_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "benchmark_model"
    with pytest.raises(BinaryRefused, match="No such file"):
        local_binary(path)
    path.write_bytes(CONTENT)
    assert local_binary(path).sha256 == SHA256
    assert local_binary(path, sha256=SHA256).read() == CONTENT
    with pytest.raises(BinaryRefused, match=r"expected sha256 0{64}"):
        local_binary(path, sha256="0" * 64)


def test_official_binaries_are_named_by_system_and_abi() -> None:
    assert official_url("android", "arm64-v8a").endswith("/android_aarch64_benchmark_model")
    assert official_url("linux", "aarch64").endswith("/linux_aarch64_benchmark_model")
    assert official_url("android", "armeabi-v7a").startswith("https://")
    with pytest.raises(BinaryRefused, match="build the tool"):
        official_url("android", "riscv64")
