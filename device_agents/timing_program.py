"""The timing program: one process that holds models resident and times visits to them.

    harness  --  {"do": "load", ...}\\n  -->  this process, pinned to one core, one thread
             <--  {"hello": ...}\\n {"loaded": ...}\\n {"visit": ...}\\n {"failed": ...}\\n

It is copied to boards, so it stands alone: the standard library (3.8 or newer), NumPy, and one
of ai_edge_litert, tflite_runtime, tensorflow. Each request is one line and has one answer, in
order. It ends when its standard input does, even in the middle of an invocation.

`device_agents.timing_batch` makes visits by a plan instead, with nobody at the other end.
"""

from __future__ import annotations

import argparse
import base64
import gc
import hashlib
import importlib
import json
import os
import platform
import resource
import select
import threading
import time
from typing import Any

RUNTIMES = (
    ("ai-edge-litert", "ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow", "tensorflow.lite.python.interpreter"),
)
HELLO_VERSION = 1
WARM_UPS = 2  # the first invocations of a new interpreter are slow for reasons of their own
INPUT_SEED = 20181231
PACE_SIZE = 48  # three float32 matrices of this size stay in a first-level cache of 32 KiB
PACE_PRODUCTS = 4
PACE_TRIES = 2
PAGE_BYTES = 4096
VISIT_TRIES = 5
STATE_EVERY_S = 0.25  # /proc/stat counts in ticks of 10 ms: a shorter interval says nothing


class Refused(Exception):
    """A model that cannot be timed as asked: ``rejected`` by rule or ``unreadable``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Machine:
    """Load average and the share of time stolen by the hypervisor, refreshed now and then."""

    def __init__(self, core: int) -> None:
        self._label = f"cpu{core}"
        self._read_at = -STATE_EVERY_S
        self._total, self._stolen = 0, 0
        self.load, self.steal = 0.0, 0.0

    def refresh(self) -> None:
        now = time.monotonic()
        if now - self._read_at < STATE_EVERY_S:
            return
        self._read_at = now
        self.load = os.getloadavg()[0]
        with open("/proc/stat") as lines:  # noqa: PTH123
            for line in lines:
                name, *ticks = line.split()
                if name == self._label:
                    counts = [int(tick) for tick in ticks[:8]]
                    total, stolen = sum(counts), counts[7]
                    passed = total - self._total
                    if self._total and passed > 0:
                        self.steal = (stolen - self._stolen) / passed
                    self._total, self._stolen = total, stolen
                    return


class Pace:
    """How fast the core is at this moment: the CPU time of a few small matrix products.

    Clock, neighbours on the same core and the hypervisor slow everything by 5 % for seconds at a
    time. Products that fit in the nearest cache show that and nothing else.
    """

    def __init__(self) -> None:
        numpy = importlib.import_module("numpy")
        self._multiply = numpy.dot
        # All three lie in one block that starts a page: the same cache lines in every process.
        count = PACE_SIZE * PACE_SIZE
        block = numpy.empty(3 * count + PAGE_BYTES // 4, numpy.float32)
        start = -block.ctypes.data % PAGE_BYTES // 4
        block[:] = 0.5
        shape = (3, PACE_SIZE, PACE_SIZE)
        self._left, self._right, self._out = block[start : start + 3 * count].reshape(shape)
        self.read_ns()

    def read_ns(self) -> int:
        """Return the smallest of a few tries, in nanoseconds."""
        clock, multiply = time.thread_time_ns, self._multiply
        left, right, out = self._left, self._right, self._out
        tries = []
        for _ in range(PACE_TRIES):
            started = clock()
            for _ in range(PACE_PRODUCTS):
                multiply(left, right, out)
            tries.append(clock() - started)
        return min(tries)


def require_one_delegate(interpreter: Any) -> None:
    """Refuse an interpreter whose graph is not exactly one delegate, from input to output.

    A delegate leaves the nodes it replaced in the list and adds its own. No node runs outside
    it when it alone reads the graph's inputs and no other node's output, and writes exactly
    the graph's outputs.
    """
    nodes = interpreter._get_ops_details()
    plain = [node for node in nodes if node["op_name"] != "DELEGATE"]
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    whole = False
    if len(delegates) == 1:
        reads, writes = _tensors(delegates, "inputs"), _tensors(delegates, "outputs")
        inputs = {int(tensor["index"]) for tensor in interpreter.get_input_details()}
        outputs = {int(tensor["index"]) for tensor in interpreter.get_output_details()}
        whole = inputs <= reads and not reads & _tensors(plain, "outputs") and writes == outputs
    if not whole:
        found = "one over a part of it" if len(delegates) == 1 else f"{len(delegates)}"
        names = ", ".join(sorted({str(node["op_name"]) for node in plain}))
        raise Refused(
            "rejected",
            "expected one XNNPACK delegate over the whole graph, "
            f"found {found} (operators: {names})",
        )


def _tensors(nodes: list[Any], side: str) -> set[int]:
    return {int(tensor) for node in nodes for tensor in node[side]}


class Residents:
    """The models in memory, by sha256."""

    def __init__(self, runtime: Any, core: int) -> None:
        self._runtime = runtime
        self._machine = Machine(core)
        self._pace = Pace()
        self._interpreters: dict[str, Any] = {}

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._interpreters

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        sha256, path = request["sha256"], request["path"]
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                content = file.read()
        except OSError as error:
            raise Refused("unreadable", str(error)) from error
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise Refused("unreadable", f"{path}: expected sha256 {sha256}, found {found}")
        interpreter = self._build(content, path, request.get("delegate", "xnnpack"))
        self._fill(interpreter)
        for _ in range(WARM_UPS):
            interpreter.invoke()
        self._interpreters[sha256] = interpreter
        return {"loaded": sha256}

    def _build(self, content: bytes, path: str, delegate: str) -> Any:
        kinds = self._runtime.OpResolverType
        kind = kinds.AUTO if delegate == "xnnpack" else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            interpreter = self._runtime.Interpreter(
                model_content=content, num_threads=1, experimental_op_resolver_type=kind
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            text = " ".join(str(error).split())
            raise Refused("unreadable", f"{path}: the runtime says: {text}") from error
        if delegate == "xnnpack":
            require_one_delegate(interpreter)
        return interpreter

    def _fill(self, interpreter: Any) -> None:
        numpy = importlib.import_module("numpy")
        random = numpy.random.default_rng(INPUT_SEED)
        for tensor in interpreter.get_input_details():
            shape, kind = tuple(tensor["shape"]), numpy.dtype(tensor["dtype"])
            if kind.kind == "f":
                values = random.standard_normal(shape).astype(kind)
            else:
                limits = numpy.iinfo(kind)
                values = random.integers(limits.min, limits.max, shape, kind, endpoint=True)
            interpreter.set_tensor(tensor["index"], values)

    def visit(self, request: dict[str, Any]) -> dict[str, Any]:
        for _ in range(VISIT_TRIES):
            answer = self._visit(request["sha256"], request["hot"])
            # The kernel subtracts stolen time late, now and then all that a sample had.
            if min(answer["cpu_ns"]) > 0 and answer["pace_ns"] > 0:
                return answer
        raise RuntimeError(f"the thread CPU clock stands still: {answer}")

    def _visit(self, sha256: str, hot: int) -> dict[str, Any]:
        invoke = self._interpreters[sha256].invoke
        wall_clock, cpu_clock = time.perf_counter_ns, time.thread_time_ns
        wall, cpu = [], []
        self._machine.refresh()
        preemptions = _preemptions()
        started = time.time()
        pace_ns = self._pace.read_ns()
        for _ in range(1 + hot):
            wall_ns = wall_clock()
            cpu_ns = cpu_clock()
            invoke()
            cpu.append(cpu_clock() - cpu_ns)
            wall.append(wall_clock() - wall_ns)
        return {
            "visit": sha256,
            "started_unix_s": started,
            "wall_ns": wall,
            "cpu_ns": cpu,
            "pace_ns": min(pace_ns, self._pace.read_ns()),
            "preemptions": _preemptions() - preemptions,
            "load": self._machine.load,
            "steal": self._machine.steal,
        }

    def forget(self, request: dict[str, Any]) -> dict[str, Any]:
        self._interpreters.pop(request["sha256"], None)
        return {"forgotten": request["sha256"]}

    def invoke(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a batch of float32 inputs one after another; the model has one input, one output.

        Quantized ones take and give the same real numbers, at their own scale.
        """
        numpy = importlib.import_module("numpy")
        interpreter = self._interpreters[request["sha256"]]
        (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
        flat = numpy.frombuffer(base64.b64decode(request["inputs"]), numpy.float32)
        answers = []
        for item in flat.reshape((-1, *source["shape"])):
            interpreter.set_tensor(source["index"], _quantized(item, source, numpy))
            interpreter.invoke()
            answers.append(_restored(interpreter.get_tensor(target["index"]), target, numpy))
        self._fill(interpreter)
        content = base64.b64encode(b"".join(a.tobytes() for a in answers)).decode()
        return {"outputs": content, "shape": [int(n) for n in target["shape"]]}


def _quantized(values: Any, tensor: dict[str, Any], numpy: Any) -> Any:
    kind = numpy.dtype(tensor["dtype"])
    if kind.kind == "f":
        return values.astype(kind)
    scale, zero_point = tensor["quantization"]
    limits = numpy.iinfo(kind)
    return numpy.clip(numpy.rint(values / scale) + zero_point, limits.min, limits.max).astype(kind)


def _restored(values: Any, tensor: dict[str, Any], numpy: Any) -> Any:
    values = values.astype(numpy.float32)
    if numpy.dtype(tensor["dtype"]).kind == "f":
        return values
    scale, zero_point = tensor["quantization"]
    return (values - numpy.float32(zero_point)) * numpy.float32(scale)


def _preemptions() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def import_runtime() -> tuple[str, str, Any]:
    """Return name, version and interpreter module of the first runtime that is installed."""
    tried = []
    for name, package, module in RUNTIMES:
        try:
            runtime = importlib.import_module(module)
            version = str(importlib.import_module(package).__version__)
        except ImportError as error:
            tried.append(f"{name}: {error}")
            continue
        return name, version, runtime
    raise SystemExit("no TFLite runtime is installed; tried " + "; ".join(tried))


def describe(runtime: str, version: str) -> dict[str, Any]:
    """Return the hello of this process, which runs on this runtime."""
    return {
        "hello": HELLO_VERSION,
        "runtime": runtime,
        "version": version,
        "python": platform.python_version(),
        "pid": os.getpid(),
        "cores": sorted(os.sched_getaffinity(0)),
    }


def take_over_streams() -> tuple[int, int]:
    """Return private descriptors for requests and answers.

    Standard output becomes standard error and standard input is empty, so that nothing which
    the runtime prints or reads can damage the protocol.
    """
    requests, answers = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return requests, answers


def end_with(requests: int) -> None:
    """End this process at once when the other side of its input closes, whatever it is doing."""
    poller = select.poll()
    poller.register(requests, 0)  # hang-up is always reported; sleeps until then
    poller.poll()
    os._exit(0)


def main() -> None:
    """Answer requests until there are no more."""
    parser = argparse.ArgumentParser(description="Time models that are held in memory.")
    parser.add_argument("--cpu", type=int, required=True, help="the core to stay on")
    core = parser.parse_args().cpu
    requests, answers = take_over_streams()
    os.sched_setaffinity(0, {core})
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    name, version, runtime = import_runtime()
    threading.Thread(target=end_with, args=(requests,), daemon=True).start()
    residents = Residents(runtime, core)
    actions = {
        "load": residents.load,
        "visit": residents.visit,
        "forget": residents.forget,
        "invoke": residents.invoke,
    }
    os.write(answers, (json.dumps(describe(name, version)) + "\n").encode())
    gc.collect()
    gc.disable()
    with os.fdopen(requests, "rb") as lines, os.fdopen(answers, "wb") as out:
        for line in lines:
            request = json.loads(line)
            try:
                answer = actions[request["do"]](request)
            except Refused as refused:
                answer = {"failed": refused.reason, "detail": str(refused)}
            except Exception as error:
                answer = {"failed": "defect", "detail": f"{type(error).__name__}: {error}"}
            out.write((json.dumps(answer) + "\n").encode())
            out.flush()


if __name__ == "__main__":
    main()
