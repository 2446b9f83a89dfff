"""adb key: how this computer shows a phone who it is; the user's own, or a new one.

    ~/.android/adbkey       RSA-2048, PEM, of mode 600
    ~/.android/adbkey.pub   base64 of Android's form of the public half, then user@host

A phone sends 20 bytes, which are signed as if they were a SHA-1 digest (PKCS#1 v1.5).
"""

from __future__ import annotations

import base64
import getpass
import os
import secrets
import socket
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from device_agents.errors import Unauthorized

KEY_FILE = Path("~/.android/adbkey")
KEY_BITS, EXPONENT = 2048, 65_537
_WORD_BITS = 32


class AdbKey:
    """A key as adb-shell asks for it."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def Sign(self, token: bytes) -> bytes:  # noqa: N802
        """Return the phone's token, signed."""
        return self._key.sign(bytes(token), padding.PKCS1v15(), utils.Prehashed(SHA1()))

    def GetPublicKey(self) -> bytes:  # noqa: N802
        """Return the line of an ``adbkey.pub``."""
        return public_line(self._key.public_key())


def load_key(path: Path = KEY_FILE) -> AdbKey:
    """Return the key in this file, which is made if it is not there, and never overwritten.

    Raises:
        Unauthorized: the file holds no key that adb could use, or cannot be read or made.
    """
    path = path.expanduser()
    try:
        if not path.exists():
            _make(path)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise Unauthorized(f"expected an adb key in {path}, found none: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != KEY_BITS:
        raise Unauthorized(f"expected an RSA key of {KEY_BITS} bits in {path}, as adb makes them")
    return AdbKey(key)


def public_line(key: rsa.RSAPublicKey) -> bytes:
    """Return a public key in Android's form: words, -1/n mod 2^32, n, 2^4096 mod n, e."""
    numbers = key.public_numbers()
    size = KEY_BITS // 8
    inverse = -pow(numbers.n, -1, 1 << _WORD_BITS) % (1 << _WORD_BITS)
    form = b"".join(
        (
            struct.pack("<II", KEY_BITS // _WORD_BITS, inverse),
            numbers.n.to_bytes(size, "little"),
            pow(2, 2 * KEY_BITS, numbers.n).to_bytes(size, "little"),
            struct.pack("<I", numbers.e),
        )
    )
    return base64.b64encode(form) + f" {_user()}@{socket.gethostname()}".encode()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    key = rsa.generate_private_key(EXPONENT, KEY_BITS)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(path.with_name(path.name + ".pub"), public_line(key.public_key()) + b"\n", 0o644)
    _write_new(path, pem, 0o600)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole, unless one is there, as one that another process just made."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
        file.write(data)
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
