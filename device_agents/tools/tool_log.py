"""ToolLog: what one process of the timing tool printed, as lines without their prefixes.

Newer builds begin lines with ``INFO:``, ``WARN:``, ``ERROR:``; older ones only the runtime's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from device_agents.errors import RunRejected

_LINE = re.compile(r"(?:(INFO|WARN|WARNING|ERROR|FATAL|VERBOSE): )?(.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its severity, empty where it has none, and its text."""

    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolLog:
    """All lines that ended; ``unfinished`` are the ends of streams that no line end follows."""

    lines: tuple[Line, ...]
    unfinished: tuple[Line, ...]

    @classmethod
    def read(cls, stdout: str, stderr: str) -> ToolLog:
        """Return the log of both streams, the first before the second; CR LF is a line end."""
        streams = [_split(stdout), _split(stderr)]
        lines = [line for stream in streams for line in stream[:-1]]
        return cls(tuple(lines), tuple(stream[-1] for stream in streams if stream[-1].text))

    def __iter__(self) -> Iterator[Line]:
        yield from self.lines
        yield from self.unfinished

    def find(self, pattern: re.Pattern[str]) -> list[tuple[int, re.Match[str]]]:
        """Return each line that a pattern matches as a whole, with its number."""
        found = [(n, pattern.fullmatch(line.text)) for n, line in enumerate(self.lines)]
        return [(n, match) for n, match in found if match is not None]

    def find_all(self, pattern: re.Pattern[str], *, count: int, what: str) -> list[re.Match[str]]:
        """Return the lines that a pattern matches, of which there are ``count``.

        Raises:
            RunRejected: there are fewer or more; an output that is cut or mixed with another's.
        """
        found = self.find(pattern)
        if len(found) != count:
            raise RunRejected(f"expected {count} x {what}, found {len(found)}: not one whole run")
        return [match for _, match in found]


def _split(stream: str) -> list[Line]:
    pieces = re.sub(r"\r+\n", "\n", stream).split("\n")
    found = [_LINE.fullmatch(piece) for piece in pieces]
    return [
        Line(match[1] or "", match[2]) if match else Line("", piece)
        for piece, match in zip(pieces, found, strict=True)
    ]
