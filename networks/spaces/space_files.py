"""Space files: spaces of a user's own, in TOML.

A chain space has blocks, each with one decision whose options are blocks of a block string:

    name = "tiny"
    image = [32, 32, 3]
    stem = ["cn_r1_k3_s2_c16"]
    head = ["cn_r1_k1_s1_c128"]          # may be left out
    classes = 10

    [[block]]
    name = "early"
    options = ["ir_r1_k3_s2_e3_c24", "ir_r2_k5_s2_e6_c24_se0.25", "cn_r1_k3_s2_c32"]

or several decisions, each token of the block string a list, joined in all combinations:

    [[block]]
    name = "late"
    kind = ["ds", "ir"]
    kernel = [3, 5]
    stride = 2
    expansion = [3, 6]                   # of ir only: for other kinds it changes nothing
    channels = [32, 48]
    layers = [1, 2, 3]
    se = [0, 0.25]
    skip = ["identity", "none", "pool"]  # may be left out, as se

An abstract space, for tabular studies, has decisions and no networks:

    name = "table"
    [[decision]]
    name = "operator"
    options = ["conv", "pool", "skip"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from networks.block_strings import BlockTemplate, parse_block
from networks.errors import BlockStringError, NetworkError, SpaceFileError, suggest
from networks.graph import Shape
from networks.layers import Classifier, Layer
from networks.spaces.blocks import Block, BlockOption
from networks.spaces.chain import ChainSpace
from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision

_TOKENS = ("kind", "kernel", "stride", "expansion", "channels", "layers", "se", "skip")
_NEEDED = ("kind", "kernel", "stride", "channels", "layers")
_Chosen: TypeAlias = "Mapping[tuple[int, ...], tuple[BlockTemplate, int, int]]"
_SKIPS = {"identity": "", "none": "_noskip", "pool": "_pool"}


def read_space(
    path: Path,
    *,
    resolution: int | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
) -> ChainSpace | DecisionSpace:
    """Return the space of a file.

    Args:
        resolution: height and width of the image, in place of the file's; chain spaces only.
        classes, in_channels: likewise.

    Raises:
        SpaceFileError: names the file, what is wrong in it and where.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceFileError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SpaceFileError(f"{path}: not TOML: {error}") from error
    try:
        if "decision" in document:
            return _abstract(document)
        return _chain(document, resolution, classes, in_channels)
    except NetworkError as error:
        raise SpaceFileError(f"{path}: {error}") from error


def _abstract(document: Mapping[str, Any]) -> DecisionSpace:
    _known(document, ("name", "decision"), "a space of decisions")
    name = _text(document, "name", "the space")
    decisions = []
    for number, table in enumerate(_tables(document, "decision")):
        where = f"decision {number}"
        _known(table, ("name", "options"), where)
        options = _list(table, "options", where)
        if not all(isinstance(option, str) for option in options):
            raise SpaceFileError(f"{where}: options are texts, found {options}")
        decisions.append(Decision(_text(table, "name", where), tuple(options)))
    return DecisionSpace(name, decisions)


def _chain(
    document: Mapping[str, Any],
    resolution: int | None,
    classes: int | None,
    in_channels: int | None,
) -> ChainSpace:
    _known(document, ("name", "image", "stem", "head", "classes", "block"), "a space of blocks")
    name = _text(document, "name", "the space")
    image = _list(document, "image", "the space")
    if len(image) != 3 or not all(isinstance(side, int) for side in image):
        raise SpaceFileError(f"image is height, width and channels, found {image}")
    height, width, channels = image
    if resolution is not None:
        height = width = resolution
    outputs = classes if classes is not None else document.get("classes")
    if not isinstance(outputs, int):
        raise SpaceFileError(f"classes is a whole number, found {outputs!r}")
    stem = [_parsed(text, "stem") for text in _list(document, "stem", "the space")]
    head = [_parsed(text, "head") for text in document.get("head", [])]
    tables = _tables(document, "block")
    blocks = [
        _options_block(table, number) if "options" in table else _token_block(table, number)
        for number, table in enumerate(tables)
    ]
    return ChainSpace(
        name,
        Shape(height, width, in_channels or channels),
        stem=lambda shape: tuple(_stack(stem, shape)),
        blocks=blocks,
        head=lambda shape: _head(head, shape, outputs),
    )


def _options_block(table: Mapping[str, Any], number: int) -> Block:
    """Return a block of one decision, whose options are written out."""
    where = _where(table, number)
    _known(table, ("name", "options"), where)
    texts = tuple(map(str, _list(table, "options", where)))
    parsed = [_parsed(text, where) for text in texts]
    strides = [stride for _, _, stride in parsed]
    for text, stride in zip(texts, strides, strict=True):
        if stride != strides[0]:
            raise SpaceFileError(
                f"{where}: its options do not connect to what follows: {texts[0]} divides height"
                f" and width by {strides[0]}, {text} by {stride}; give all one stride"
            )
    decision = Decision(str(table.get("name", f"block{number}")), texts)
    chosen: _Chosen = {(i,): option for i, option in enumerate(parsed)}
    same_width = len({template.channels for template, _, _ in parsed}) == 1
    return _block(where, (decision,), chosen, width_decision=None if same_width else 0)


def _token_block(table: Mapping[str, Any], number: int) -> Block:
    """Return a block of one decision for each token that has several values."""
    where = _where(table, number)
    _known(table, ("name", *_TOKENS), where)
    values = _values(table, where)
    varied = [token for token, options in values.items() if len(options) > 1] or ["kind"]
    name = str(table.get("name", f"block{number}"))
    decisions = tuple(
        Decision(f"{name}.{token}", tuple(map(str, values[token]))) for token in varied
    )
    chosen = {}
    for digits in product(*(range(len(values[token])) for token in varied)):
        own = {token: options[0] for token, options in values.items()}
        own |= {token: values[token][i] for token, i in zip(varied, digits, strict=True)}
        chosen[digits] = _parsed(_spell(own, where), where)
    wide = varied.index("channels") if "channels" in varied else None
    return _block(where, decisions, chosen, width_decision=wide)


def _values(table: Mapping[str, Any], where: str) -> dict[str, list[Any]]:
    """Return the values of each token that is there, as a list."""
    if missing := [token for token in _NEEDED if token not in table]:
        raise SpaceFileError(f"{where}: expected {missing[0]}, or options, found neither")
    values = {
        token: table[token] if isinstance(table[token], list) else [table[token]]
        for token in _TOKENS
        if token in table
    }
    if empty := [token for token, options in values.items() if not options]:
        raise SpaceFileError(f"{where}: {empty[0]} has no option; give one or more")
    if len(values["stride"]) > 1:
        raise SpaceFileError(
            f"{where}: stride is one number, found {values['stride']}: options of different shapes"
            " do not connect to what follows"
        )
    return values


def _spell(values: Mapping[str, Any], where: str) -> str:
    """Return the block string of one value a token."""
    kind, skip, se = values["kind"], values.get("skip", "identity"), values.get("se", 0)
    if skip not in _SKIPS:
        raise SpaceFileError(f"{where}: no skip is named {skip!r}; {suggest(str(skip), _SKIPS)}")
    if se not in (0, 0.25):
        raise SpaceFileError(f"{where}: se is 0 or 0.25, found {se!r}")
    wide = f"_e{values.get('expansion', 'missing')}" if kind == "ir" else ""
    squeeze = "_se0.25" if se else ""
    return (
        f"{kind}_r{values['layers']}_k{values['kernel']}_s{values['stride']}{wide}"
        f"_c{values['channels']}{squeeze}{_SKIPS[skip]}"
    )


def _block(
    where: str,
    decisions: tuple[Decision, ...],
    chosen: _Chosen,
    *,
    width_decision: int | None,
) -> Block:
    depths: dict[BlockTemplate, set[int]] = {}
    for template, repeats, _ in chosen.values():
        depths.setdefault(template, set()).add(repeats)
    for known in depths.values():
        if max(known) - min(known) >= len(known):
            raise SpaceFileError(
                f"{where}: depths leave no gap, so that networks can be counted, found"
                f" {sorted(known)}; add what is between"
            )

    def option(digits: tuple[int, ...]) -> BlockOption:
        template, repeats, _ = chosen[digits]
        return BlockOption(template.channels, repeats, template.layer)

    stride = next(iter(chosen.values()))[2]
    return Block(decisions, stride, width_decision, option)


def _stack(parts: Sequence[tuple[BlockTemplate, int, int]], shape: Shape) -> Iterator[Layer]:
    for template, repeats, stride in parts:
        for repeat in range(repeats):
            layer = template.layer(shape, stride if repeat == 0 else 1)
            yield layer
            shape = layer.output


def _head(
    parts: Sequence[tuple[BlockTemplate, int, int]], shape: Shape, classes: int
) -> tuple[Layer, ...]:
    layers = tuple(_stack(parts, shape))
    return *layers, Classifier(layers[-1].output if layers else shape, classes)


def _parsed(text: object, where: str) -> tuple[BlockTemplate, int, int]:
    try:
        return parse_block(str(text))
    except BlockStringError as error:
        raise SpaceFileError(f"{where}: {error}") from error


def _where(table: Mapping[str, Any], number: int) -> str:
    return f"block {table.get('name', number)!r}"


def _known(table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise SpaceFileError(f"{where}: there is no key {key!r}; {suggest(key, keys)}")


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise SpaceFileError(f"{where}: {key} is a text, found {value!r}")
    return value


def _list(table: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = table.get(key)
    if not isinstance(value, list) or not value:
        raise SpaceFileError(f"{where}: {key} is a list of one or more, found {value!r}")
    return value


def _tables(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = document.get(key)
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise SpaceFileError(f"expected [[{key}]] tables, found {value!r}")
    return value
