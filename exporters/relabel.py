"""Labels: what a finished model says of itself: its origin, its signature, its tensors' names.

converter --bytes--> relabel(labels, inputs, outputs) --bytes--> as if an exporter had written it

A converter's own words (the time, its version, names of its making) are dropped, so that what
remains depends on the graph alone. Constants start at a multiple of 16 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.builder import Builder

from exporters.errors import DamagedModel
from exporters.model_file import FILE_IDENTIFIER, METADATA_NAME, read_operators

SIGNATURE = "serving_default"
_ALIGNMENT = 16


def relabel(
    data: bytes,
    *,
    labels: Mapping[str, str],
    inputs: Sequence[str] | Mapping[str, str],
    outputs: Sequence[str] | Mapping[str, str],
    description: str,
) -> bytes:
    """Return the same model under other names; equal arguments give equal bytes.

    ``inputs`` and ``outputs`` are names in the model's own order or, from a converter that keeps
    none, a new name for each name in its signature, in the order that they should have.

    Args:
        labels: replace all metadata; `exporters.model_file.read_labels` reads them back.
        inputs: become the names of the tensors and those in the only signature.
        outputs: as ``inputs``.
        description: replaces the model's.

    Raises:
        DamagedModel: the bytes are not a whole model, or it has other inputs or outputs.
    """
    read_operators(data)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset:  # data behind the model, which older runtimes do not look for
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(data[buffer.offset : end], np.uint8)
            buffer.offset = buffer.size = 0
    return relabel_model(
        model, labels=labels, inputs=inputs, outputs=outputs, description=description
    )


def relabel_model(
    model: Any,
    *,
    labels: Mapping[str, str],
    inputs: Sequence[str] | Mapping[str, str],
    outputs: Sequence[str] | Mapping[str, str],
    description: str,
) -> bytes:
    """Relabel an unpacked model (``ModelT``) in place and return it packed; see `relabel`."""
    model.description = description
    graph, old = model.subgraphs[0], (model.signatureDefs or [schema.SignatureDefT()])[0]
    graph.inputs = _ordered(graph.inputs, old.inputs, inputs, "inputs")
    graph.outputs = _ordered(graph.outputs, old.outputs, outputs, "outputs")
    model.signatureDefs = [
        schema.SignatureDefT(
            signatureKey=SIGNATURE,
            inputs=_renamed(graph, graph.inputs, inputs),
            outputs=_renamed(graph, graph.outputs, outputs),
            subgraphIndex=0,
        )
    ]
    buffers = _only_used_buffers(model)
    text = json.dumps(dict(labels), sort_keys=True).encode()
    buffers.append(AlignedBuffer(np.frombuffer(text, np.uint8)))
    model.buffers = buffers
    model.metadata = [schema.MetadataT(name=METADATA_NAME, buffer=len(buffers) - 1)]
    model.metadataBuffer = None
    return pack_model(model)


def pack_model(model: Any) -> bytes:
    """Return the flatbuffer of an unpacked model whose data are `AlignedBuffer`."""
    size = sum(b.data.size + 64 for b in model.buffers if isinstance(b, AlignedBuffer))
    builder = Builder(size + sum(512 * len(graph.tensors) for graph in model.subgraphs) + 4096)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


class AlignedBuffer:
    """A buffer whose data starts at a multiple of 16 bytes and is copied once."""

    def __init__(self, data: npt.NDArray[Any]) -> None:
        self.data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)

    def Pack(self, builder: Builder) -> int:  # noqa: N802
        """Write it, as the schema's object API asks of a part, and return where."""
        builder.StartVector(1, self.data.size, _ALIGNMENT)
        builder.head -= self.data.size
        np.frombuffer(builder.Bytes, np.uint8, self.data.size, builder.head)[:] = self.data
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def _ordered(
    tensors: Sequence[int],
    signature: Sequence[Any] | None,
    names: Sequence[str] | Mapping[str, str],
    what: str,
) -> list[int]:
    """Return the tensors in the order of ``names``."""
    found = {entry.name.decode(): entry.tensorIndex for entry in signature or ()}
    if isinstance(names, Mapping) and found.keys() != names.keys():
        raise DamagedModel(f"expected a model of {what} {sorted(names)}, found {sorted(found)}")
    if len(tensors) != len(names):
        raise DamagedModel(f"expected a model of {what} {list(names)}, found {len(tensors)} {what}")
    return [found[name] for name in names] if isinstance(names, Mapping) else list(tensors)


def _renamed(
    graph: Any, tensors: Sequence[int], names: Sequence[str] | Mapping[str, str]
) -> list[Any]:
    """Rename the tensors and return the signature's entries for them."""
    entries = []
    for tensor, name in zip(
        tensors, names.values() if isinstance(names, Mapping) else names, strict=True
    ):
        graph.tensors[tensor].name = name
        entries.append(schema.TensorMapT(name=name, tensorIndex=tensor))
    return entries


def _only_used_buffers(model: Any) -> list[Any]:
    """Return buffer 0, which is empty, and every buffer with a tensor's data, and point to them."""
    kept: list[Any] = [schema.BufferT()]
    places: dict[int, int] = {}
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            tensor.buffer = 0
            continue
        if tensor.buffer not in places:
            places[tensor.buffer] = len(kept)
            kept.append(AlignedBuffer(np.frombuffer(data, np.uint8)))
        tensor.buffer = places[tensor.buffer]
    return kept
