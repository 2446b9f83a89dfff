"""Space record: which space a run searched, kept with the run, so that its genotypes keep their
meaning.

    space.toml       name, decisions and options, as a space file without networks
    space_sha256     in run.toml: a digest of the decisions and of the networks they decode to
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import numpy as np

from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision, Space
from networks.spaces.space_files import read_space
from search.errors import NotARun

FILE = "space.toml"


def format_space(space: Space) -> str:
    """Return the decisions of a space as the text of a space file."""
    lines = [f"name = {json.dumps(space.name)}"]
    for decision in space.decisions:
        options = ", ".join(map(json.dumps, decision.options))
        lines += [
            "",
            "[[decision]]",
            f"name = {json.dumps(decision.name)}",
            f"options = [{options}]",
        ]
    return "\n".join(lines) + "\n"


def identify_space(space: Space) -> str:
    """Return 16 hexadecimal digits that another space with as many decisions does not have.

    They are of the decisions and of every layer, or, where networks are no chains of layers, of
    the network of first options.
    """
    known: list[object] = [[d.name, *d.options] for d in space.decisions]
    layers, decode = getattr(space, "layers", ()), getattr(space, "decode", None)
    known += sorted(layer.key for layer in layers)
    if decode is not None and not layers:
        known.append(repr(decode(np.zeros(len(space.decisions), np.int8))))
    return sha256(json.dumps(known).encode()).hexdigest()[:16]


def recorded_space(run: Path) -> DecisionSpace:
    """Return the decisions that a run searched.

    Raises:
        NotARun: the run has no record of them, as those of earlier versions.
        SpaceFileError: it cannot be read.
    """
    if not (run / FILE).is_file():
        raise NotARun(f"{run}: {FILE} is missing: made by an earlier version; give its space")
    space = read_space(run / FILE)
    assert isinstance(space, DecisionSpace)
    return space


def describe_change(run: Path, space: Space) -> str:
    """Return in words how the space of a run has changed since it was recorded."""
    found = None
    if (run / FILE).is_file():
        found = _difference(recorded_space(run).decisions, space.decisions)
    found = found or "the decisions are the same, the layers of their networks are not"
    return f"the space {space.name!r} has changed since: {found}"


def _difference(before: tuple[Decision, ...], now: tuple[Decision, ...]) -> str | None:
    if len(before) != len(now):
        return f"expected {len(before)} decisions, found {len(now)}"
    for one, other in zip(before, now, strict=True):
        if one.name != other.name:
            return f"expected the decision {one.name!r}, found {other.name!r}"
        if one.options != other.options:
            return (
                f"{one.name}: expected the options {', '.join(one.options)}, found"
                f" {', '.join(other.options)}"
            )
    return None
