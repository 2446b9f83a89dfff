"""Peer tables: once-for-all's and ProxylessNAS's YAML files, as rows.

    KEY: {count: 154, mean: 5.26, var: 0.19}     the mean in ms; once-for-all has std for var

Of a file whose keys are not all layers of ours, the others are left out, each with its reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from latency_tables.errors import ImportFailed, InvalidRow
from latency_tables.peer_keys import NotOneLayer, family_of, translate_key
from latency_tables.table import Row

LIMIT_CHARACTERS = 16 * 2**20  # a thousand times the largest that was published
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_peer_table(path: Path, text: str) -> tuple[list[Row], dict[str, str], str]:
    """Return the rows of a file, why each other key is left out, and whose table it is.

    Raises:
        ImportFailed: it is no such table, or a figure cannot be; says which line.
    """
    if len(text) > LIMIT_CHARACTERS:
        raise ImportFailed(path, f"expected at most {LIMIT_CHARACTERS} characters of YAML")
    entries = dict(_entries(path, text))
    family = family_of(entries)
    if family is None:
        raise ImportFailed(
            path, "expected keys as expanded_conv-input:... of once-for-all or of ProxylessNAS,"
            f" found {'both' if any('-se:' in key for key in entries) else 'neither'}",
        )  # fmt: skip
    rows: dict[str, Row] = {}
    left_out: dict[str, str] = {}
    for key, (line, figures) in entries.items():
        try:
            layer = translate_key(key, family).key
        except NotOneLayer as reason:
            left_out[key] = str(reason)
            continue
        if layer in rows:
            raise ImportFailed(path, f"expected each layer once, found {layer} again", line)
        rows[layer] = _peer_row(path, line, layer, figures)
    return list(rows.values()), left_out, family


def _peer_row(path: Path, line: int, layer: str, figures: Mapping[str, str]) -> Row:
    """Return the row of an entry: mean in ms, standard deviation or variance, count of samples."""

    def number(name: str, parse: Callable[[str], float], least: float) -> float | None:
        text = figures.get(name)
        if text is None:
            return None
        value = parse(text) if _NUMBER.fullmatch(text) else math.nan
        if not (math.isfinite(value) and value >= least):
            raise ImportFailed(path, f"expected {name} of {least:g} or more, found {text}", line)
        return value

    mean, std, var = number("mean", float, 0), number("std", float, 0), number("var", float, 0)
    count = number("count", float, 1)
    if mean is None:
        raise ImportFailed(path, f"expected a mean, found {', '.join(figures) or 'nothing'}", line)
    if count is not None and count != int(count):
        raise ImportFailed(path, f"expected a whole count, found {count:g}", line)
    deviation = std if std is not None else math.sqrt(var or 0.0)
    try:
        return Row(
            layer, mean, None, int(count or 1), "ok", deviation / mean if mean else 0.0, 0.0, "",
            samples=int(count or 0),
        )  # fmt: skip
    except InvalidRow as error:
        raise ImportFailed(path, str(error), line) from error


def _entries(path: Path, text: str) -> Iterator[tuple[str, tuple[int, dict[str, str]]]]:
    """Yield each key with its line and its figures as text: two levels of mappings, no more.

    Nothing is made of what is read, so no file can run code or unfold to more than its own size.
    """
    seen: set[str] = set()
    scalars: list[str] = []  # of the entry that is open
    key, line, depth = "", 0, 0
    for kind, value, place in _events(path, text):
        if kind == "open":
            depth += 1
            if depth > 2 or (depth == 2 and not key):
                raise ImportFailed(path, "expected two levels of mappings, found more", place)
        elif kind == "close":
            depth -= 1
            if depth == 1:
                yield key, (line, _figures(path, line, scalars))
                key, scalars = "", []
        elif depth == 2:
            scalars.append(value)
        elif depth == 0 or key:
            found = f"found {value[:40]!r}"
            raise ImportFailed(path, f"expected KEY: {{mean: ...}}, {found}", place)
        else:
            key, line = value, place
            if key in seen or not key:
                raise ImportFailed(path, f"expected each key once, found {key!r}", place)
            seen.add(key)


def _events(path: Path, text: str) -> Iterator[tuple[Literal["open", "close", "scalar"], str, int]]:
    """Yield what a YAML file is made of, a scalar's text, and its line; no tags, aliases, lists."""
    import yaml

    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            place = 0 if event.start_mark is None else event.start_mark.line + 1
            tag = getattr(event, "tag", None)
            if isinstance(event, yaml.AliasEvent | yaml.SequenceStartEvent):
                raise ImportFailed(path, "expected KEY: {mean: ...}, found an alias or list", place)
            if tag is not None:
                raise ImportFailed(path, f"expected no tags, found {tag}", place)
            if isinstance(event, yaml.MappingStartEvent):
                yield "open", "", place
            elif isinstance(event, yaml.MappingEndEvent):
                yield "close", "", place
            elif isinstance(event, yaml.ScalarEvent):
                yield "scalar", event.value, place
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        raise ImportFailed(path, str(what), mark.line + 1 if mark else None) from error


def _figures(path: Path, line: int, scalars: list[str]) -> dict[str, str]:
    names = scalars[::2]
    if len(set(names)) < len(names):
        raise ImportFailed(path, f"expected each figure once, found {', '.join(names)}", line)
    return dict(zip(names, scalars[1::2], strict=True))
