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
    inputs: Sequence[str],
    outputs: Sequence[str],
    description: str,
) -> bytes:
    """Return the same model under other names; equal arguments give equal bytes.

    Args:
        labels: replace all metadata; `exporters.model_file.read_labels` reads them back.
        inputs: names of the model's inputs, in its order, in its only signature too.
        outputs: names of its outputs, in its order.
        description: replaces the model's.

    Raises:
        DamagedModel: the bytes are not a whole model, or its inputs or outputs are not as many.
    """
    read_operators(data)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    model.description = description
    graph = model.subgraphs[0]
    model.signatureDefs = [
        schema.SignatureDefT(
            signatureKey=SIGNATURE,
            inputs=_renamed(graph, graph.inputs, inputs, "inputs"),
            outputs=_renamed(graph, graph.outputs, outputs, "outputs"),
            subgraphIndex=0,
        )
    ]
    buffers = _only_used_buffers(model)
    text = json.dumps(dict(labels), sort_keys=True).encode()
    buffers.append(AlignedBuffer(np.frombuffer(text, np.uint8)))
    model.buffers = buffers
    model.metadata = [schema.MetadataT(name=METADATA_NAME, buffer=len(buffers) - 1)]
    model.metadataBuffer = None
    builder = Builder(len(data) + len(text) + 4096)
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


def _renamed(graph: Any, tensors: Sequence[int], names: Sequence[str], what: str) -> list[Any]:
    """Rename the tensors and return the signature's entries for them."""
    if len(tensors) != len(names):
        raise DamagedModel(f"expected a model of {what} {list(names)}, found {len(tensors)} {what}")
    for tensor, name in zip(tensors, names, strict=True):
        graph.tensors[tensor].name = name
    return [
        schema.TensorMapT(name=name, tensorIndex=tensor)
        for tensor, name in zip(tensors, names, strict=True)
    ]


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
            kept.append(AlignedBuffer(np.asarray(data, np.uint8)))
        tensor.buffer = places[tensor.buffer]
    return kept
