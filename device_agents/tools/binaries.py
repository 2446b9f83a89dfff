"""Binary: the file of the timing tool and its sha256, which is part of every condition.

a path  ------------------------>  Binary          --benchmark-binary, devices.toml
official location  --sha256---->  cache  -->  Binary

The official locations move every night and publish no checksum, so a download is used only if
somebody named its sha256. The first time it is refused with the sha256 that was found, to confirm.
"""

from __future__ import annotations

import hashlib
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Protocol

from device_agents.errors import BinaryRefused
from device_agents.tools.elf import System, canonical_abi

DOWNLOAD_TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 15.0
MAX_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 18

_NIGHTLY = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest/{}_benchmark_model"
)
_NIGHTLY_NAMES: Mapping[tuple[System, str], str] = {
    ("android", "arm64-v8a"): "android_aarch64",
    ("android", "armeabi-v7a"): "android_arm",
    ("linux", "arm64-v8a"): "linux_aarch64",
    ("linux", "armeabi-v7a"): "linux_arm",
    ("linux", "x86_64"): "linux_x86-64",
}


class Source(Protocol):
    """An open download; ``length`` is how many bytes are still to come, where it is known."""

    length: int | None

    def read(self, size: int = ..., /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        ...


Opener = Callable[[str, float], AbstractContextManager[Source]]


@dataclass(frozen=True, slots=True)
class Binary:
    """A timing tool on this computer."""

    path: Path
    sha256: str

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            BinaryRefused: it is gone, or not what it was.
        """
        data = _read(self.path)
        _require_sha256(str(self.path), found=_digest(data), expected=self.sha256)
        return data


def official_url(system: System, abi: str) -> str:
    """Return where the official ``benchmark_model`` for this system and ABI is.

    Raises:
        BinaryRefused: there is none; names those that there are.
    """
    name = _NIGHTLY_NAMES.get((system, canonical_abi(abi)))
    if name is None:
        known = ", ".join(f"{system} {abi}" for system, abi in _NIGHTLY_NAMES)
        raise BinaryRefused(
            f"expected {known}, found {system} {abi}: build the tool and name it with "
            "--benchmark-binary"
        )
    return _NIGHTLY.format(name)


def local_binary(path: Path, *, sha256: str | None = None) -> Binary:
    """Return the binary at this path.

    Raises:
        BinaryRefused: there is none, or it is not of the sha256 that was named.
    """
    path = path.expanduser()
    found = _digest(_read(path))
    _require_sha256(str(path), found=found, expected=sha256 or found)
    return Binary(path, found)


def open_https(url: str, timeout_s: float) -> AbstractContextManager[Source]:
    """Open a download over HTTPS, and stay on HTTPS wherever it is redirected.

    Raises:
        BinaryRefused: it would leave HTTPS.
    """
    require_https(url)
    opened: AbstractContextManager[Source] = urllib.request.build_opener(HttpsOnly()).open(
        url, timeout=timeout_s
    )
    return opened


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to HTTPS only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: object,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request that follows, if it is over HTTPS."""
        require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def require_https(url: str) -> None:
    """Return if this is an HTTPS location.

    Raises:
        BinaryRefused: it is not.
    """
    if not url.startswith("https://"):
        raise BinaryRefused(f"expected a download over https, found {url}")


def cached_binary(
    url: str,
    cache: Path,
    *,
    sha256: str | None,
    timeout_s: float = DOWNLOAD_TIMEOUT_S,
    opener: Opener = open_https,
) -> Binary:
    """Return the binary of this sha256 from the cache, downloaded first if it is not there.

    Args:
        url: where it is, such as `official_url`.
        cache: a folder, made if need be; the binary is at ``cache/SHA256/NAME``.
        sha256: what it must be, None where nobody has said so yet.
        timeout_s: for the whole download.

    Raises:
        BinaryRefused: not confirmed (says which sha256 was found), not of this sha256, too large,
            or not to be had in time. Nothing stays in the cache then.
    """
    name = url.rpartition("/")[2]
    if sha256 is not None:
        path = cache / sha256 / name
        if path.exists():
            found = _digest(_read(path))
            _require_sha256(f"{path} (delete it)", found=found, expected=sha256)
            return Binary(path, sha256)
    cache.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=cache, prefix=f"{name}.", suffix=".part", delete=False) as part:
        try:
            found = _download(url, part, time.monotonic() + timeout_s, opener)
            if sha256 is None:
                raise BinaryRefused(
                    f"expected a sha256 to hold {url} against, found none: it is {found} now, "
                    f"confirm it with --benchmark-sha256 {found}"
                )
            _require_sha256(url, found=found, expected=sha256)
            path = cache / sha256 / name
            path.parent.mkdir(exist_ok=True)
            Path(part.name).chmod(0o755)
            Path(part.name).replace(path)
        finally:
            Path(part.name).unlink(missing_ok=True)
    return Binary(path, sha256)


def _download(url: str, target: IO[bytes], deadline_s: float, opener: Opener) -> str:
    digest, size = hashlib.sha256(), 0
    try:
        with opener(url, min(CONNECT_TIMEOUT_S, deadline_s - time.monotonic())) as source:
            while chunk := source.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise BinaryRefused(f"{url}: expected at most {MAX_BYTES} bytes, found more")
                if time.monotonic() > deadline_s:
                    raise BinaryRefused(f"{url}: found only {size} bytes in time; try again")
                digest.update(chunk)
                target.write(chunk)
            missing = source.length or 0
    except (OSError, HTTPException) as error:
        raise BinaryRefused(f"{url}: cannot be downloaded: {error}") from error
    if size == 0 or missing > 0:
        raise BinaryRefused(f"{url}: expected {size + missing} bytes, found {size}; try again")
    target.flush()
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BinaryRefused(
            f"expected the timing tool at {path}, found: {error.strerror}"
        ) from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _require_sha256(what: str, *, found: str, expected: str) -> None:
    if found != expected:
        raise BinaryRefused(f"{what}: expected sha256 {expected}, found {found}")
