"""Scanner: a place in the text of a network, and what must or may come next."""

from __future__ import annotations

import re

from networks.errors import BlockStringError
from networks.graph import Shape

NUMBER = r"[1-9]\d*"


class Scanner:
    """Reads a text from the left; what does not fit is an ``error`` with its position."""

    def __init__(self, text: str, error: type[BlockStringError] = BlockStringError) -> None:
        self.text, self.position, self._error = text, 0, error

    @property
    def ended(self) -> bool:
        """Whether all is read."""
        return self.position == len(self.text)

    def fail(self, expected: str, position: int | None = None) -> BlockStringError:
        """Return the error that something else was expected, here or at ``position``."""
        return self._error(self.text, self.position if position is None else position, expected)

    def take(self, pattern: str, expected: str) -> re.Match[str]:
        """Read what must come next."""
        match = self.maybe(pattern)
        if match is None:
            raise self.fail(expected)
        return match

    def maybe(self, pattern: str) -> re.Match[str] | None:
        """Read what may come next."""
        # a token ends where another begins, so that _r12 is never read as _r1
        match = re.compile(rf"(?:{pattern})(?![\d.])").match(self.text, self.position)
        if match is not None:
            self.position = match.end()
        return match

    def number(self, letter: str) -> int:
        """Read a token such as ``_c32``."""
        return int(self.take(rf"_{letter}({NUMBER})", f"_{letter} and a number")[1])

    def image(self) -> Shape:
        """Read the image that every text begins with."""
        sides = self.take(rf"({NUMBER})x({NUMBER})x({NUMBER})", "an image such as 224x224x3")
        return Shape(int(sides[1]), int(sides[2]), int(sides[3]))

    def end_block(self) -> None:
        """Refuse anything but a colon or the end."""
        if not self.ended and self.text[self.position] != ":":
            raise self.fail("the end of the block")
