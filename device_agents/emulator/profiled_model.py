"""Profiled model: a model under LiteRT's C interface, which tells how long each operator took.

The shared library in the ai-edge-litert wheel exports the whole C interface; the Python wrapper
has no profiler. The layout of an event is that of litert/c/litert_profiler_event.h with three
words of memory usage on each side; it is checked by the events themselves, whose kinds are few.
One thread, XNNPACK. Times are whole microseconds of wall time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CPU = 1
_OPERATOR, _DELEGATED = 2, 8
_KINDS = {1 << bit for bit in range(9)}
_TYPE_BYTES = 512  # more than any ranked tensor type has


class ProfilerUnusable(Exception):
    """This build of LiteRT does not do as this module knows it."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory_before", ctypes.c_int64 * 3),
        ("memory_after", ctypes.c_int64 * 3),
        ("index", ctypes.c_uint64),
        ("unused", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator of one run; ``index`` counts within the delegate, or is the graph's node."""

    tag: str
    index: int
    elapsed_us: int
    in_delegate: bool


class ProfiledModel:
    """One model, compiled for the CPU; `invoke` runs it, `operators` tells of the last run."""

    def __init__(self, path: Path) -> None:
        """Compile.

        Raises:
            ProfilerUnusable: this LiteRT cannot, or not this model.
        """
        import ai_edge_litert

        folder = Path(ai_edge_litert.__file__).parent
        self._library = ctypes.CDLL(str(folder / "libLiteRt.so"))
        with quiet():
            self._environment = self._new("LiteRtCreateEnvironment", 0, None)
            model = self._new("LiteRtCreateModelFromFile", self._environment, os.fsencode(path))
            self._model = self._new(
                "LiteRtCreateCompiledModel", self._environment, model, self._options()
            )
        signature = self._new("LiteRtGetModelSignature", model, ctypes.c_size_t(0))
        self._inputs = self._buffers("Input", signature)
        self._outputs = self._buffers("Output", signature)
        self._profiler = self._new("LiteRtCompiledModelGetProfiler", self._model)

    def invoke(self) -> None:
        """Run once, with the profiler on.

        Raises:
            RuntimeError: the run failed.
        """
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        status = self._library.LiteRtRunCompiledModel(
            self._model,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)),
            self._inputs,
            ctypes.c_size_t(len(self._outputs)),
            self._outputs,
        )
        self._call("LiteRtStopProfiler", self._profiler)
        if status:
            raise RuntimeError(f"LiteRtRunCompiledModel failed with {status}")

    def operators(self) -> list[OperatorTime]:
        """Return the operators of the last run, in their order.

        Raises:
            ProfilerUnusable: the events are not laid out as expected.
        """
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        if not {event.kind for event in events} <= _KINDS:
            raise ProfilerUnusable("expected profiler events as of LiteRT 2.3, found other ones")
        return [
            OperatorTime(
                event.tag.decode(), event.index, event.elapsed_us, event.kind == _DELEGATED
            )
            for event in events
            if event.kind in (_OPERATOR, _DELEGATED)
        ]

    def _options(self) -> ctypes.c_void_p:
        options = self._new("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        libc = ctypes.CDLL(None)
        libc.strdup.restype = ctypes.c_void_p
        text = ctypes.c_void_p(libc.strdup(b"enable_profiling = true\n"))
        free = ctypes.cast(libc.free, ctypes.c_void_p)
        opaque = self._new("LiteRtCreateOpaqueOptions", b"runtime_options_string", text, free)
        self._call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def _buffers(self, side: str, signature: ctypes.c_void_p) -> Any:
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", signature, ctypes.byref(count))
        buffers = [self._buffer(side, signature, number) for number in range(count.value)]
        return (ctypes.c_void_p * len(buffers))(*buffers)

    def _buffer(self, side: str, signature: ctypes.c_void_p, number: int) -> ctypes.c_void_p:
        index = ctypes.c_size_t(number)
        tensor = self._new(f"LiteRtGetSignature{side}TensorByIndex", signature, index)
        kind = ctypes.create_string_buffer(_TYPE_BYTES)
        self._call("LiteRtGetRankedTensorType", tensor, kind)
        needs = self._new(
            f"LiteRtGetCompiledModel{side}BufferRequirements",
            self._model,
            ctypes.c_size_t(0),
            index,
        )
        return self._new(
            "LiteRtCreateManagedTensorBufferFromRequirements", self._environment, kind, needs
        )

    def _new(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(made))
        return made

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            status = getattr(self._library, name)(*arguments)
        except AttributeError as error:
            raise ProfilerUnusable(f"expected {name} in LiteRT, found none") from error
        if status:
            raise ProfilerUnusable(f"{name} failed with {status}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep from standard error what LiteRT says of accelerators that are not there."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
