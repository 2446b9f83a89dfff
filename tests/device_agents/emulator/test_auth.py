"""The key check, against the signer of adb-shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_agents.emulator.auth import parse_public_key

keygen = pytest.importorskip("adb_shell.auth.keygen", reason="needs adb-shell: pip install it")
signer = pytest.importorskip("adb_shell.auth.sign_pythonrsa")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "adbkey"
    keygen.keygen(str(path))
    return path


def test_only_the_owner_signs(key: Path) -> None:
    public = parse_public_key(key.with_suffix(".pub").read_bytes())
    token = bytes(range(20))
    signature = bytes(signer.PythonRSASigner.FromRSAKeyPath(str(key)).Sign(token))
    assert public.signed(token, signature)
    assert not public.signed(token[::-1], signature)
    assert not public.signed(token, signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not public.signed(token, signature[:-1])
    assert "@" in public.owner


@pytest.mark.parametrize("line", [b"", b"no key", b"QUJD me@here", b"\xff\xfe"])
def test_what_is_no_key(line: bytes) -> None:
    with pytest.raises(ValueError, match="expected an adb public key"):
        parse_public_key(line)
