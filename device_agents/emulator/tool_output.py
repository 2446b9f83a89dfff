"""Output of the stand-in: lines on the streams that the official tool puts them on, at once."""

from __future__ import annotations

import os


class Failed(Exception):
    """The tool gives up; its arguments are the lines that say why."""


def say(level: str, text: str) -> None:
    """Print one line; errors go to standard error."""
    write(f"{level}: {text}\n", stream=2 if level == "ERROR" else 1)


def inform(*lines: str) -> None:
    """Print lines of information."""
    for line in lines:
        say("INFO", line)


def write(text: str, *, stream: int = 1) -> None:
    """Print text as it is."""
    data = text.encode(errors="surrogateescape")
    while data:
        data = data[os.write(stream, data) :]
