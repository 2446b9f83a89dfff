"""Model of a run of the stand-in: loaded with the delegate that the flags ask for."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_agents.emulator.profile_report import Row, Rows
from device_agents.emulator.profiled_model import ProfiledModel, ProfilerUnusable, quiet
from device_agents.emulator.tool_flags import Flags
from device_agents.emulator.tool_output import Failed, inform, say, write
from device_agents.timing_program import Refused, require_one_delegate

_XNNPACK = "Created TensorFlow Lite XNNPACK delegate for CPU."


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to run; ``init_rows`` are what getting there took, in a profile.

    ``note_run`` is to be called after each timed run: it collects the operators of a profile.
    """

    invoke: Callable[[], None]
    size_bytes: int
    init_us: int
    init_rows: tuple[Row, ...] = ()
    operators: Rows | None = None
    note_run: Callable[[], None] = lambda: None


def load_runtime() -> tuple[Any, Any]:
    """Return LiteRT and numpy, which take longer to import than all the rest."""
    return importlib.import_module("ai_edge_litert.interpreter"), importlib.import_module("numpy")


class Loader:
    """Loads one model as the tool does; made before memory and time are looked at."""

    def __init__(self, flags: Flags, *, no_delegate: bool) -> None:
        """``no_delegate``: XNNPACK does not come up, whatever the flags say."""
        self._flags, self._no_delegate = flags, no_delegate
        self._litert, self._numpy = load_runtime()

    def load(self, path: Path, name: str) -> LoadedModel:
        """Return the model in this file, which the flags call by ``name``.

        Raises:
            Failed: it cannot be read, prepared, or had by the delegate as asked.
        """
        size_bytes = self._check(path, name)
        inform(f"Loaded model {name}")
        started_ns = time.perf_counter_ns()
        if self._flags["enable_op_profiling"]:
            return self._load_profiled(path, size_bytes, started_ns)
        try:
            interpreter = self._interpreter(path, with_delegate=self._wants_xnnpack)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise Failed(str(error), "Failed to allocate tensors!") from error
        self._report_gpu()
        if self._flags.given.get("use_xnnpack"):
            self._report_delegation(interpreter)
        self._fill(interpreter)
        return LoadedModel(interpreter.invoke, size_bytes, _since_us(started_ns))

    @property
    def _wants_xnnpack(self) -> bool:
        return self._flags.given.get("use_xnnpack") is not False and not self._no_delegate

    def _check(self, path: Path, name: str) -> int:
        """Return the size of a file that holds a model."""
        failed = f"Failed to load model {name}"
        try:
            size_bytes = path.stat().st_size
            self._interpreter(path, with_delegate=False)
        except OSError as error:
            reason = f"Could not open '{name}'."
            raise Failed(reason, "The model allocation is null/empty", failed) from error
        except ValueError as error:
            raise Failed("The model is not a valid Flatbuffer buffer", failed) from error
        return size_bytes

    def _interpreter(self, path: Path, *, with_delegate: bool) -> Any:
        kinds = self._litert.OpResolverType
        return self._litert.Interpreter(
            model_path=str(path),
            num_threads=max(1, int(self._flags.number("num_threads"))),
            experimental_op_resolver_type=kinds.AUTO
            if with_delegate
            else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )

    def _load_profiled(self, path: Path, size_bytes: int, started_ns: int) -> LoadedModel:
        if not self._wants_xnnpack or self._flags.number("num_threads") > 1:
            raise Failed("This stand-in profiles operators of XNNPACK on one thread only.")
        try:
            model = ProfiledModel(path)
            compiled_us = _since_us(started_ns)
            model.invoke()
            with quiet():
                interpreter = self._interpreter(path, with_delegate=True)
                interpreter.allocate_tensors()
        except (ProfilerUnusable, RuntimeError) as error:
            raise Failed(f"This stand-in cannot profile the model: {error}") from error
        write(f"INFO: {_XNNPACK}\n", stream=2)
        self._report_gpu()
        if self._flags.given.get("use_xnnpack"):
            self._report_delegation(interpreter)
        operators = Rows(_output_names(interpreter))
        init_us = _since_us(started_ns)
        rows = (
            Row("ModifyGraphWithDelegate", "ModifyGraphWithDelegate/0", [compiled_us]),
            Row("AllocateTensors", "AllocateTensors/0", [init_us - compiled_us]),
        )
        return LoadedModel(
            model.invoke,
            size_bytes,
            init_us,
            rows,
            operators,
            lambda: operators.add(model.operators()),
        )

    def _report_gpu(self) -> None:
        if self._flags["use_gpu"]:
            say(
                "WARN",
                "The GPU delegate compile options are only supported on Android or iOS platforms "
                "or when the tool was built with -DCL_DELEGATE_NO_GL.",
            )
            say("WARN", "GPU acceleration is unsupported on this platform.")

    def _report_delegation(self, interpreter: Any) -> None:
        nodes = [node["op_name"] for node in interpreter._get_ops_details()]
        kernels = nodes.count("DELEGATE")
        whole = _is_one_delegate(interpreter)
        applied = "Explicitly applied XNNPACK delegate, and the model graph will be"
        if not kernels:
            inform(
                "Though XNNPACK delegate is explicitly applied, the model graph will not be "
                "executed by the delegate."
            )
        elif whole:
            inform(f"{applied} completely executed by the delegate.")
        else:
            inform(f"{applied} partially executed by the delegate w/ {kernels} delegate kernels.")
        if self._flags["require_full_delegation"] and not whole and not self._no_delegate:
            raise Failed("Disallowed CPU fallback detected.")

    def _fill(self, interpreter: Any) -> None:
        """Give random inputs, as the tool does."""
        random = self._numpy.random.default_rng()
        for tensor in interpreter.get_input_details():
            shape, kind = tensor["shape"], self._numpy.dtype(tensor["dtype"])
            if kind.kind == "f":
                values = random.uniform(-0.5, 0.5, shape).astype(kind)
            else:
                values = random.integers(0, 100, shape, endpoint=True).astype(kind)
            interpreter.set_tensor(tensor["index"], values)


def _since_us(started_ns: int) -> int:
    return (time.perf_counter_ns() - started_ns) // 1000


def _output_names(interpreter: Any) -> dict[int, list[str]]:
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    return {
        node["index"]: [names[int(tensor)] for tensor in node["outputs"] if int(tensor) in names]
        for node in interpreter._get_ops_details()
    }


def _is_one_delegate(interpreter: Any) -> bool:
    try:
        require_one_delegate(interpreter)
    except Refused:
        return False
    return True
