"""Model files: how bytes get to disk whole, and what can be read back from a .tflite."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from exporters.errors import DamagedModel, WriteFailed

FILE_IDENTIFIER = b"TFL3"
METADATA_NAME = "hilnas"

_OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()
}


def write_model(path: Path, data: bytes, *, sync: bool = True) -> str:
    """Write ``data`` under ``path`` whole or not at all; returns its sha256 in hex.

    A file that already holds these bytes is left as it is.

    Args:
        sync: wait until the disk has it; thousands of layer files, which can be made again,
            need not.

    Raises:
        WriteFailed: the folder is missing or not writable, or the disk is full.
    """
    try:
        if not _holds(path, data):
            _replace(path, data, sync=sync)
    except OSError as error:
        raise WriteFailed(
            f"cannot write {path} ({len(data)} bytes): {error.strerror}; nothing was left behind"
        ) from error
    return hashlib.sha256(data).hexdigest()


def prepare_folder(directory: Path) -> None:
    """Make a folder of models, and clear it of what a killed `write_model` left half-written.

    Raises:
        WriteFailed: it cannot be made or read.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.iterdir():
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise WriteFailed(f"cannot make the folder {directory}: {error.strerror}") from error


def read_model(path: Path) -> tuple[bytes, str]:
    """Return a model's bytes, found whole, and their sha256 in hex.

    Raises:
        DamagedModel: there is no such file, or it is not a whole model.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedModel(f"{path}: expected a .tflite model, found {error.strerror}") from error
    try:
        read_operators(data)
    except DamagedModel as error:
        raise DamagedModel(f"{path}: {error}") from error
    return data, hashlib.sha256(data).hexdigest()


def read_operators(data: bytes, *, of_constants: bool = True) -> tuple[str, ...]:
    """Return the names of a model's TFLite operators, in order of execution.

    Args:
        of_constants: also those that only widen a constant (float16 weights), which run once,
            before the first image, wherever they stand.

    Raises:
        DamagedModel: the bytes are not a whole model.
    """
    model = _parse(data)
    try:
        codes = [
            _OPERATOR_NAMES[max(code.DeprecatedBuiltinCode(), code.BuiltinCode())]
            for code in map(model.OperatorCodes, range(model.OperatorCodesLength()))
        ]
        graph = model.Subgraphs(0)
        operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
        return tuple(
            name
            for operator in operators
            if (name := codes[operator.OpcodeIndex()]) != "DEQUANTIZE"
            or of_constants
            or not _is_constant(model, graph.Tensors(operator.Inputs(0)))
        )
    except _UNREADABLE as error:
        raise DamagedModel(f"the operators of the model cannot be read: {error!r}") from error


def read_precision(data: bytes) -> str:
    """Return ``int8`` if the model's inputs are, ``float16`` if a constant is, else ``float32``.

    Raises:
        DamagedModel: the bytes are not a whole model.
    """
    model = _parse(data)
    try:
        graph = model.Subgraphs(0)
        types = [graph.Tensors(i).Type() for i in range(graph.TensorsLength())]
        inputs = {types[graph.Inputs(i)] for i in range(graph.InputsLength())}
    except _UNREADABLE as error:
        raise DamagedModel(f"the tensors of the model cannot be read: {error!r}") from error
    if schema.TensorType.INT8 in inputs:
        return "int8"
    return "float16" if schema.TensorType.FLOAT16 in types else "float32"


def read_labels(data: bytes) -> Mapping[str, str]:
    """Return what an exporter of ours wrote of a model's origin; empty for a foreign model.

    Raises:
        DamagedModel: the bytes are not a whole model, or the labels cannot be read.
    """
    model = _parse(data)
    try:
        for entry in map(model.Metadata, range(model.MetadataLength())):
            if entry.Name() == METADATA_NAME.encode():
                labels = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
                return {str(name): str(value) for name, value in labels.items()}
    except _UNREADABLE as error:
        raise DamagedModel(f"the labels of the model cannot be read: {error!r}") from error
    return {}


# What flatbuffers' readers raise on bytes that lead nowhere
_UNREADABLE = (struct.error, ValueError, IndexError, TypeError, KeyError, AttributeError)


def _parse(data: bytes) -> schema.Model:
    """Return the model, having touched every buffer so that a cut file is noticed."""
    if data[4:8] != FILE_IDENTIFIER:
        raise DamagedModel(
            f"expected a .tflite model (identifier {FILE_IDENTIFIER.decode()} at byte 4),"
            f" found {len(data)} bytes that begin with {data[:8]!r}"
        )
    try:
        model = schema.Model.GetRootAs(data)
        if model.SubgraphsLength() < 1 or model.BuffersLength() < 1:
            raise ValueError("no graph or no buffers")
        for buffer in map(model.Buffers, range(model.BuffersLength())):
            buffer.DataAsNumpy()
    except _UNREADABLE as error:
        raise DamagedModel(
            f"the model of {len(data)} bytes is cut short or damaged: {error}; export it again"
        ) from error
    return model


# What `_replace` calls a file that is not whole yet
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.part")


def _is_constant(model: schema.Model, tensor: schema.Tensor) -> bool:
    return bool(model.Buffers(tensor.Buffer()).DataLength())


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _replace(path: Path, data: bytes, *, sync: bool) -> None:
    descriptor, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
