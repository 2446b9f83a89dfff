from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from exporters.direct import DirectExporter
from exporters.errors import WriteFailed
from exporters.exporter import export_layer
from exporters.layer_files import (
    INDEX_NAME,
    export_layers,
    layer_file_name,
    stream_layers,
)
from networks.graph import Shape
from networks.layers import Conv, Layer, Separable
from tests.contracts.exporter_contract import LAYER
from tests.exporters.disk import contents, full_disk

SMALL: list[Layer] = [
    LAYER,
    Conv(Shape(8, 8, 3), 4, kernel=3),
    Separable(Shape(4, 4, 4), 4, kernel=5),
]


class NextExporter(DirectExporter):
    version = "next"


def fresh(directory: Path, *, seed: int = 0, exporter: DirectExporter | None = None) -> list[bool]:
    return [new for _, _, new in stream_layers(SMALL, directory, seed=seed, exporter=exporter)]


def test_layers_stream_and_an_interrupted_export_goes_on(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "layers"
    stream = export_layers(SMALL, directory, seed=5)
    _, first = next(stream)
    assert {p.name for p in directory.iterdir()} == {INDEX_NAME, layer_file_name(SMALL[0])}
    state = first.path.stat()

    found = list(stream_layers(SMALL, directory, seed=5))

    assert [layer for layer, _, _ in found] == SMALL
    assert [new for _, _, new in found] == [False, True, True]
    assert found[0][1] == first
    kept = first.path.stat()
    assert (kept.st_mtime_ns, kept.st_ino) == (state.st_mtime_ns, state.st_ino)


def test_nothing_is_made_before_it_is_asked_for(tmp_path: Path) -> None:
    def endless() -> Iterator[Layer]:
        for width in range(1, 10**9):
            yield Conv(Shape(2, 2, 1), width, kernel=1)

    stream = export_layers(endless(), tmp_path / "layers")
    assert not (tmp_path / "layers").exists()
    taken = [layer for layer, _ in islice(stream, 3)]
    assert taken == [Conv(Shape(2, 2, 1), width, kernel=1) for width in (1, 2, 3)]
    stream.close()  # type: ignore[attr-defined]
    assert len(list((tmp_path / "layers").glob("*.tflite"))) == 3


def test_the_index_says_what_is_in_the_folder(tmp_path: Path) -> None:
    models = [model for _, model in export_layers(SMALL, tmp_path, seed=3)]
    records = [json.loads(line) for line in (tmp_path / INDEX_NAME).read_text().splitlines()]
    for layer, model, record in zip(SMALL, models, records, strict=True):
        data = (tmp_path / record["file"]).read_bytes()
        assert record == {
            "format_version": 1,
            "key": layer.key,
            "file": layer_file_name(layer),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
            "params": model.params,
            "madds": model.madds,
            "operators": list(model.operators),
            "exporter": "direct-float32",
            "exporter_version": DirectExporter.version,
            "seed": 3,
        }


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def swap(path: Path) -> None:
    export_layer(SMALL[1], path)


@pytest.mark.parametrize("damage", [cut, flip, swap, Path.unlink])
def test_a_file_that_is_not_as_written_is_exported_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    fresh(tmp_path)
    before = contents(tmp_path)
    path = tmp_path / layer_file_name(SMALL[0])
    damage(path)
    assert fresh(tmp_path) == [True, False, False]
    assert path.read_bytes() == before[path.name]
    assert fresh(tmp_path) == [False] * 3


def test_files_of_another_exporter_version_or_seed_are_exported_again(tmp_path: Path) -> None:
    assert fresh(tmp_path) == [True] * 3
    assert fresh(tmp_path, exporter=NextExporter()) == [True] * 3
    assert fresh(tmp_path, exporter=NextExporter()) == [False] * 3
    assert fresh(tmp_path) == [True] * 3
    assert fresh(tmp_path, seed=1) == [True] * 3
    assert fresh(tmp_path, seed=1) == [False] * 3


@pytest.mark.parametrize("bytes_lost", [1, 20, 200])
def test_a_line_that_a_crash_cut_short_was_never_written(tmp_path: Path, bytes_lost: int) -> None:
    fresh(tmp_path)
    before = contents(tmp_path)
    index = tmp_path / INDEX_NAME
    index.write_bytes(before[INDEX_NAME][:-bytes_lost])
    assert fresh(tmp_path) == [False, False, True]
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"[1]", b'"text"', b"{}", b'{"file": [1]}', b"", b"{"]
)
def test_a_line_of_rubbish_is_never_trusted(tmp_path: Path, line: bytes) -> None:
    fresh(tmp_path)
    index = tmp_path / INDEX_NAME
    lines = index.read_bytes().splitlines()
    index.write_bytes(b"\n".join([lines[0], line, lines[2], b""]))
    assert fresh(tmp_path) == [False, True, False]


@pytest.mark.parametrize("field", ["params", "madds", "sha256", "operators", "key"])
def test_a_line_that_says_anything_else_is_never_trusted(tmp_path: Path, field: str) -> None:
    (model, *_) = [model for _, model in export_layers(SMALL, tmp_path)]
    index = tmp_path / INDEX_NAME
    record = json.loads(index.read_text().splitlines()[0])
    line = json.dumps({**record, field: "other"})
    index.write_text("\n".join([line, *index.read_text().splitlines()[1:], ""]))
    found = list(stream_layers(SMALL, tmp_path))
    assert [new for _, _, new in found] == [True, False, False]
    assert found[0][1] == model


def test_what_a_killed_writer_left_half_written_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    leftover = tmp_path / f".{layer_file_name(LAYER)}.abcd_123.part"
    leftover.write_bytes(b"half a mod")
    (tmp_path / ".hidden").write_text("mine")
    (tmp_path / "notes.part").write_text("mine")
    fresh(tmp_path)
    assert not leftover.exists()
    assert (tmp_path / ".hidden").exists()
    assert (tmp_path / "notes.part").exists()


def test_an_index_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / INDEX_NAME).mkdir()
    with pytest.raises(WriteFailed, match=r"cannot open the index .*layers\.jsonl"):
        fresh(tmp_path)


def test_an_index_on_a_full_disk_loses_no_more_than_its_last_line(tmp_path: Path) -> None:
    index = tmp_path / INDEX_NAME
    index.write_bytes(b" " * 9000 + b"\n")
    with full_disk(9100), pytest.raises(WriteFailed, match=r"append to the index .*layers\.jsonl"):
        fresh(tmp_path)
    assert index.stat().st_size == 9100
    assert fresh(tmp_path) == [True] * 3
    assert fresh(tmp_path) == [False] * 3
    assert len(index.read_text().splitlines()) == 1 + len(SMALL)
