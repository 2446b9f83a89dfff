"""Everything that can be wrong with a description of a network.

* NetworkError
  x ShapeError          layers that do not connect, or sizes that cannot be (expected and found)
  x UnknownName         no network or space of that name (with the nearest names)
  x BlockStringError    the text is not a block string (the text and the position)
    x CellStringError   the text is not a cell string
  x LayerKeyError       the text is not a layer key
  x OperatorKeyError    the text is not an operator key
  x CellError           a cell whose blocks or states do not connect
  x NotAChain           a network of cells where only a chain of layers will do
  x SpaceFileError      a space file that cannot be read (the file, the block, what was expected)
  x GenotypeError       not a genotype of this space, or a network outside it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class NetworkError(ValueError):
    """Base of all errors raised by ``networks``."""


class ShapeError(NetworkError):
    """Sizes that cannot be: names what was expected and what was found."""


class UnknownName(NetworkError):
    """No thing of that name; the message lists the nearest names that exist."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {what} is named {name!r}; {suggest(name, known)}")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the names nearest to a wrong one in words, or all names if none is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(known)}"


class BlockStringError(NetworkError):
    """The text is not a block string; nothing in it is skipped or guessed."""

    what: ClassVar[str] = "block string"

    def __init__(self, text: str, position: int, expected: str) -> None:
        found = repr(text[position : position + 16]) if position < len(text) else "the end"
        super().__init__(
            f"{self.what}: expected {expected} at character {position}, found {found} in {text!r}"
        )
        self.text, self.position = text, position


class CellStringError(BlockStringError):
    """The text is not a cell string; as with block strings, nothing is skipped or guessed."""

    what = "cell string"


class CellError(NetworkError):
    """A cell whose blocks or states do not connect: names the block and the states it may use."""


class NotAChain(NetworkError):
    """A network of cells, where a latency table or a search space needs a chain of layers."""


class LayerKeyError(NetworkError):
    """The text is not a layer key of a known version."""


class OperatorKeyError(NetworkError):
    """The text is not an operator key of a known version."""


class SpaceFileError(NetworkError):
    """A space file that cannot be read; names the file, the place, and what was expected."""


class GenotypeError(NetworkError):
    """Not a genotype of this space, or a network that the space does not hold."""
