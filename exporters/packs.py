"""Pack: many layers as independent branches of one .tflite file, and the manifest beside it.

One process that profiles a pack by operator replaces one process a layer. ``pack-000.tflite`` has
one input and one output a layer; ``pack-000.pack.json`` says which nodes are whose:

    {"format": "hilnas-pack", "format_version": 1,
     "model": "pack-000.tflite", "sha256": "...", "size_bytes": 123,
     "exporter": "direct-float32", "exporter_version": "1", "weights": "random 0",
     "layers": [{"key": "v1/conv/...", "input": "image_0", "output": "features_0",
                 "first_node": 0, "last_node": 2, "operators": ["CONV_2D", ...]}, ...]}

Nodes are numbered by their place in the file, as the runtime numbers them before a delegate takes
them; without a delegate these are the numbers at the end of a profile's rows. One XNNPACK delegate
reports rows of its own, ``Delegate/Convolution (NHWC, F32) DWConv:1``, in the file's order and
numbered from 0, besides one row for itself. Seen with ai-edge-litert 2.3.0:

    one row a node     AVERAGE_POOL_2D Average Pooling, ADD Add, CONV_2D Convolution or Fully
                       Connected, DEPTHWISE_CONV_2D Convolution, FULLY_CONNECTED Fully Connected,
                       HARD_SWISH HardSwish, LOGISTIC Sigmoid, MEAN Mean, MUL Multiply,
                       and in int8 DEQUANTIZE and QUANTIZE Convert
    and one more       Static Reshape before FULLY_CONNECTED (classifier)
                       Clamp after the ADD of a hard-sigmoid
    no row             DEQUANTIZE of a constant (float16 weights)

So a row's number is that of its node only in front of the first such layer: count rows against
nodes, and match their kinds, before a time is given to a layer.

History of ``format_version``:

    1   first
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exporters.branches import read_branches
from exporters.direct import DirectExporter
from exporters.errors import DamagedModel, DamagedPack
from exporters.exporter import Exporter
from exporters.model_file import prepare_folder, read_labels, read_model, write_model
from exporters.weights import Array, random_weights
from networks.graph import Graph, GraphBuilder
from networks.layers import Layer, lower_layer

FORMAT = "hilnas-pack"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """One layer of a pack: its tensors by name and its nodes, first and last inside."""

    key: str
    input: str
    output: str
    first_node: int
    last_node: int
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportedPack:
    """One pack on disk; ``weights`` says what was exported, such as ``random 0``."""

    path: Path
    sha256: str
    size_bytes: int
    exporter: str
    exporter_version: str
    weights: str
    layers: tuple[PackedLayer, ...]

    @property
    def manifest(self) -> Path:
        """The path of its manifest."""
        return manifest_path(self.path)


def manifest_path(model: Path) -> Path:
    """Return where the manifest of a pack is: beside it, ending in ``.pack.json``."""
    return model.with_suffix(".pack.json")


def export_pack(
    layers: Sequence[Layer], path: Path, *, seed: int = 0, exporter: Exporter | None = None
) -> ExportedPack:
    """Export layers to one model at ``path`` and then its manifest, each whole or not at all.

    Every layer has the weights that it has in a file of its own, random ones of ``seed``.

    Raises:
        ValueError: there are no layers.
        DamagedPack: the exporter does not keep the operators of a layer together.
        ExportError: a layer cannot be exported, or a file cannot be written.
    """
    if not layers:
        raise ValueError("expected a pack of at least one layer, found none")
    labels = _labels(layers, seed)
    data = (exporter or DirectExporter()).export(*_lower_pack(layers, seed), labels=labels)
    branches = read_branches(data)  # before anything is written
    assert len(branches) == len(layers)
    sha256 = write_model(path, data, sync=False)
    pack = _describe(path, data, sha256)
    text = json.dumps(_manifest(pack), indent=1) + "\n"
    write_model(pack.manifest, text.encode(), sync=False)
    return pack


def export_packs(
    packs: Iterable[Sequence[Layer]],
    directory: Path,
    *,
    seed: int = 0,
    exporter: Exporter | None = None,
) -> Iterator[tuple[ExportedPack, bool]]:
    """Export each pack to ``pack-000.tflite`` and so on; yield it, and whether it was written.

    A pack that is there, whole, with these layers and weights and by this version of the
    exporter, is kept: an export that was interrupted goes on where it stopped. Packs of higher
    numbers, from an earlier export of more, are left alone.

    Raises:
        ExportError: a layer cannot be exported, or a file cannot be written.
    """
    exporter = exporter or DirectExporter()
    prepare_folder(directory)
    for number, layers in enumerate(packs):
        path = directory / f"pack-{number:03}.tflite"
        if (kept := _kept(path, layers, seed, exporter)) is not None:
            yield kept, False
        else:
            yield export_pack(layers, path, seed=seed, exporter=exporter), True


def read_manifest(path: Path) -> ExportedPack:
    """Return the pack whose manifest this is, after comparing it with the model beside it.

    Raises:
        DamagedPack: there is no such file, it is damaged or of a newer version, or it does not
            say what its model is.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DamagedPack(f"{path}: expected a pack's manifest, found {error.strerror}") from error
    except ValueError as error:
        raise DamagedPack(f"{path}: the manifest is damaged: {error}; export it again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DamagedPack(f"{path}: expected a manifest of format {FORMAT!r}, found another file")
    if found.get("format_version") != FORMAT_VERSION:
        raise DamagedPack(
            f"{path}: expected format version {FORMAT_VERSION},"
            f" found {found.get('format_version')!r}; use a newer hilnas or export it again"
        )
    model = path.with_name(path.name.removesuffix(".pack.json") + ".tflite")
    try:
        pack = _describe(model, *read_model(model))
    except DamagedModel as error:
        raise DamagedPack(f"{path}: its model cannot be read: {error}") from error
    expected = _manifest(pack)
    if different := sorted(
        name for name in found.keys() | expected if found.get(name) != expected.get(name)
    ):
        name = different[0]
        raise DamagedPack(
            f"{path} is not the manifest of {model.name}: {name} is {expected.get(name)!r:.100}"
            f" in the model, {found.get(name)!r:.100} in the manifest; export it again"
        )
    return pack


def _lower_pack(layers: Sequence[Layer], seed: int) -> tuple[Graph, dict[str, tuple[Array, Array]]]:
    """Return the graph of all layers side by side, and each one's own weights."""
    builder = GraphBuilder(*(layer.input for layer in layers))
    weights: dict[str, tuple[Array, Array]] = {}
    outputs = []
    for number, layer in enumerate(layers):
        builder.prefix = f"{number}."
        outputs.append(layer.lower(builder, number))
        for name, arrays in random_weights(lower_layer(layer), seed).items():
            weights[builder.prefix + name] = arrays
    return builder.build(*outputs), weights


def _labels(layers: Sequence[Layer], seed: int) -> dict[str, str]:
    return {"layers": " ".join(layer.key for layer in layers), "weights": f"random {seed}"}


def _describe(path: Path, data: bytes, sha256: str) -> ExportedPack:
    """Return what the model says of itself, with the nodes traced through its tensors."""
    labels, branches = read_labels(data), read_branches(data)
    keys = labels.get("layers", "").split()
    if len(keys) != len(branches):
        raise DamagedPack(
            f"{path}: expected a branch for each layer named in the model ({len(keys)}),"
            f" found {len(branches)}"
        )
    return ExportedPack(
        path=path,
        sha256=sha256,
        size_bytes=len(data),
        exporter=labels.get("exporter", ""),
        exporter_version=labels.get("exporter_version", ""),
        weights=labels.get("weights", ""),
        layers=tuple(
            PackedLayer(
                key, branch.input, branch.output, branch.first_node, branch.last_node,
                branch.operators,
            )
            for key, branch in zip(keys, branches, strict=True)
        ),
    )  # fmt: skip


def _manifest(pack: ExportedPack) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": pack.path.name,
        "sha256": pack.sha256,
        "size_bytes": pack.size_bytes,
        "exporter": pack.exporter,
        "exporter_version": pack.exporter_version,
        "weights": pack.weights,
        "layers": [{**asdict(layer), "operators": list(layer.operators)} for layer in pack.layers],
    }


def _kept(
    path: Path, layers: Sequence[Layer], seed: int, exporter: Exporter
) -> ExportedPack | None:
    """Return the pack that is there already if it is just what would be written."""
    try:
        pack = read_manifest(manifest_path(path))
    except DamagedPack:
        return None
    labels = _labels(layers, seed)
    expected = labels["layers"], labels["weights"], exporter.name, exporter.version
    keys = " ".join(layer.key for layer in pack.layers)
    found = keys, pack.weights, pack.exporter, pack.exporter_version
    return pack if found == expected else None
