"""Merged shell: exit code and both streams out of adb's first shell service, which has but one.

line   echo NONCE;  E=$( { COMMAND; its errors; NONCE:exit code } | base64 )  ;  echo NONCE E NONCE

out    NONCE \\n  standard output  \\n NONCE base64 NONCE \\n

The nonce is random, so that no command prints it; an output that does not end in it is cut. Old
phones run the line on a terminal, which writes each \\n as \\r\\n: the first line tells.
"""

from __future__ import annotations

import base64
import re

from device_agents.errors import ConnectionLost

_TERMINAL_END = b"\r\n"


def wrapped(line: str, nonce: str, *, stdin_path: str = "/dev/null") -> str:
    """Return the line of shell whose output `unwrap` takes apart."""
    errors = f"{{ {{ {line}\n}} <{stdin_path} 2>&1 >&3 3>&-; echo {nonce}:$?; }}"
    return f'echo {nonce}; exec 3>&1; E=$({errors} | base64); echo; echo {nonce} "$E" {nonce}'


def unwrap(output: bytes, nonce: str) -> tuple[int, bytes, bytes]:
    """Return exit code, standard output and standard error.

    Raises:
        ConnectionLost: the output was cut.
    """
    if output.startswith(nonce.encode() + _TERMINAL_END):
        output = output.replace(_TERMINAL_END, b"\n")
    whole = re.fullmatch(
        rb"%(n)s\n(?P<out>.*)\n%(n)s (?P<errors>[A-Za-z0-9+/=\s]*) %(n)s\n"
        % {b"n": nonce.encode()},
        output,
        re.DOTALL,
    )
    errors = base64.b64decode(whole["errors"]) if whole else b""
    ended = re.search(rb"%s:(\d+)\n" % nonce.encode(), errors)
    if whole is None or ended is None:
        raise ConnectionLost("the output ended before the command did: reconnect")
    return int(ended[1]), whole["out"], errors[: ended.start()] + errors[ended.end() :]
