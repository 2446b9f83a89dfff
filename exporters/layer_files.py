"""Layer files: a folder with one .tflite a layer or operator, and the index of what is there.

    layers.jsonl                    one JSON object a line, appended when its file is whole:
        {"format_version": 1, "key": "v1/conv/...", "file": "4b1f....tflite", "sha256": "...",
         "size_bytes": 123, "params": 1, "madds": 2, "operators": ["CONV_2D"],
         "exporter": "direct-float32", "exporter_version": "1", "seed": 0}
    4b1f0c....tflite                named after its key

The last line of a file holds. A file is kept if this is the very line that describes it as it is
now, for the exporter, version and seed asked for; else it is exported again. So what is missing,
damaged, made otherwise or in a line that a crash cut short is never trusted.

History of ``format_version``:

    1   first
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from exporters.direct import DirectExporter
from exporters.errors import DamagedModel, WriteFailed
from exporters.exporter import ExportedModel, Exporter, describe_model, export_layer
from exporters.model_file import prepare_folder, read_model
from networks.operators import Unit, lower_unit

INDEX_NAME = "layers.jsonl"
FORMAT_VERSION = 1


def layer_file_name(layer: Unit) -> str:
    """Return the name of a layer's file: the head of its key's sha256."""
    return f"{hashlib.sha256(layer.key.encode()).hexdigest()[:20]}.tflite"


def export_layers(
    layers: Iterable[Unit], directory: Path, *, seed: int = 0, exporter: Exporter | None = None
) -> Iterator[tuple[Unit, ExportedModel]]:
    """Export each layer with random weights and yield it with its model; see `stream_layers`."""
    for layer, model, _ in stream_layers(layers, directory, seed=seed, exporter=exporter):
        yield layer, model


def stream_layers(
    layers: Iterable[Unit], directory: Path, *, seed: int = 0, exporter: Exporter | None = None
) -> Iterator[tuple[Unit, ExportedModel, bool]]:
    """Export layers one at a time; yield each with its model and whether it was written just now.

    A layer's file name depends on its key alone, its bytes on key, seed and exporter. Files that
    are there and whole are kept, so that an export that was interrupted goes on where it stopped
    and ends as one that was not. One export at a time writes to a folder.

    Raises:
        ExportError: a layer cannot be exported, or the folder or a file in it cannot be written.
    """
    exporter = exporter or DirectExporter()
    prepare_folder(directory)
    with _Index(directory / INDEX_NAME) as index:
        for layer in layers:
            path = directory / layer_file_name(layer)
            model = _on_disk(layer, path)
            if model is not None and _line(layer, model, exporter, seed) == index.last_line(
                path.name
            ):
                yield layer, model, False
                continue
            model = export_layer(layer, path, seed=seed, exporter=exporter)
            index.append(_line(layer, model, exporter, seed))
            yield layer, model, True


class _Index:
    """The index, open to append."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab+", buffering=0)
            self._file.seek(0)
            whole = self._file.read()
            whole = whole[: whole.rfind(b"\n") + 1]
            self._file.truncate(len(whole))  # a line that a crash cut short was never written
        except OSError as error:
            raise WriteFailed(f"cannot open the index {path}: {error.strerror}") from error
        self._last = {_file_of(line): line for line in whole.splitlines()}

    def last_line(self, file: str) -> bytes | None:
        """Return what was last said of a file before this index was opened."""
        return self._last.get(file)

    def __enter__(self) -> _Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, line: bytes) -> None:
        """Append a line."""
        try:
            rest = line + b"\n"
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError as error:
            raise WriteFailed(
                f"cannot append to the index {self._path}: {error.strerror}"
            ) from error


def _file_of(line: bytes) -> str | None:
    """Return which file a line speaks of; None of a line that cannot be read."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return str(record.get("file")) if isinstance(record, dict) else None


def _on_disk(layer: Unit, path: Path) -> ExportedModel | None:
    try:
        data, sha256 = read_model(path)
    except DamagedModel:
        return None
    return describe_model(lower_unit(layer), path, data, sha256)


def _line(layer: Unit, model: ExportedModel, exporter: Exporter, seed: int) -> bytes:
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "key": layer.key,
            "file": model.path.name,
            "sha256": model.sha256,
            "size_bytes": model.size_bytes,
            "params": model.params,
            "madds": model.madds,
            "operators": model.operators,
            "exporter": exporter.name,
            "exporter_version": exporter.version,
            "seed": seed,
        }
    ).encode()
