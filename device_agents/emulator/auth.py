"""Key: how a phone knows a host. Android's public key format, and the check of a signature.

An RSA-2048 key is a base64 line ``KEY user@host``: words, -1/n mod 2^32, n, 2^4096 mod n, e, all
little endian (Android's ``android_pubkey.h``). The token is signed as if it were a SHA-1 digest,
PKCS#1 v1.5.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass

_KEY_BYTES = 256
_SHA1_PREFIX = bytes.fromhex("3021300906052b0e03021a05000414")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A host's key; ``owner`` is the comment behind it."""

    modulus: int
    exponent: int
    owner: str = ""

    def signed(self, token: bytes, signature: bytes) -> bool:
        """Whether this key's owner signed the token."""
        if len(signature) != _KEY_BYTES:
            return False
        opened = pow(int.from_bytes(signature, "big"), self.exponent, self.modulus)
        digest = _SHA1_PREFIX + token
        padding = b"\xff" * (_KEY_BYTES - len(digest) - 3)
        return opened.to_bytes(_KEY_BYTES, "big") == b"\x00\x01" + padding + b"\x00" + digest


def parse_public_key(line: bytes) -> PublicKey:
    """Return the key in a line of an ``adbkey.pub``.

    Raises:
        ValueError: it is none.
    """
    encoded, _, owner = line.strip().partition(b" ")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"expected an adb public key, found {line[:60]!r}") from error
    if len(data) != 2 * _KEY_BYTES + 12 or struct.unpack_from("<I", data)[0] != _KEY_BYTES // 4:
        raise ValueError(f"expected an adb public key of 2048 bits, found {line[:60]!r}")
    modulus = int.from_bytes(data[8 : 8 + _KEY_BYTES], "little")
    (exponent,) = struct.unpack_from("<I", data, len(data) - 4)
    return PublicKey(modulus, exponent, owner.decode(errors="replace"))
