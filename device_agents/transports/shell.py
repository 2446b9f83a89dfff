"""Shell: argv as one line that no shell interprets, and files put into place by commands.

part  --  is it whole (sha256)?  --  mode  --  renamed onto the path        or the part is removed

The commands are POSIX and also what Android 8 and newer have: mksh with toybox.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from device_agents.errors import PushFailed
from device_agents.transports.transport import Completed

PART = ".part"

# $1 the part, $2 the path, $3 the sha256, $4 the mode
_PLACE = """\
if [ -d "$2" ]; then echo "$2 is a folder" >&2; false; else true; fi &&
there=$(sha256sum "$1") && there=${there%% *} && there=${there#\\\\} &&
if [ "$there" = "$3" ]; then true; else echo "sha256 is $there, not $3" >&2; false; fi &&
chmod "$4" "$1" && mv -f -- "$1" "$2" || { rm -f -- "$1"; exit 1; }
"""
_RECEIVE_AND_PLACE = 'cat >"$1" && ' + _PLACE
_HAS_FOLDER = 'case "$1" in */*) [ -d "${1%/*}/" ];; esac'


def checked(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of a command.

    Raises:
        ValueError: there are none, or one holds a NUL, which no process can be given.
    """
    if not argv or any("\0" in word for word in argv):
        raise ValueError(f"expected a command without NUL characters, found {list(argv)}")
    return tuple(argv)


def command_line(argv: Sequence[str]) -> str:
    """Return a line that a POSIX shell reads back as exactly these words.

    Every word is quoted, so that none is an assignment, a keyword or a pattern.
    """
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in checked(argv))


def place_argv(data: bytes, path: str, mode: int, *, receive: bool) -> list[str]:
    """Return the command that puts ``path.part`` into place if it holds this data.

    Args:
        receive: it first writes its standard input there.
    """
    script = _RECEIVE_AND_PLACE if receive else _PLACE
    sha256 = hashlib.sha256(data).hexdigest()
    return ["sh", "-c", script, "sh", path + PART, path, sha256, f"{mode:o}"]


def has_folder_argv(path: str) -> list[str]:
    """Return the command that succeeds if the folder of this path is there."""
    return ["sh", "-c", _HAS_FOLDER, "sh", path]


def check_placed(placed: Completed, address: str, path: str) -> None:
    """Return if `place_argv` succeeded.

    Raises:
        PushFailed: it did not, and removed the part.
    """
    if placed.exit_code != 0:
        raise PushFailed(f"{address}: {path} did not arrive: {last_line(placed.stderr)}")


def last_line(text: bytes) -> str:
    """Return the last line that says something, or that there is none."""
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was printed"
