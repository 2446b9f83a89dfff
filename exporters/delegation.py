"""Delegation: how much of a model runs in XNNPACK, as the real LiteRT interpreter divides it.

    operators   . . [ . . . . . ] . [ . . ]      9, of which 2 partitions take 7: not whole
                    [ . . . . . . . . . . ]      whole: one partition takes every operator

What is left outside runs in the runtime's own kernels, often many times slower, and each border
costs a copy. A latency table rejects what is not whole (the timing program looks for itself).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from exporters.runner import load_interpreter


@dataclass(frozen=True, slots=True)
class Delegation:
    """Of ``operators``, ``delegated`` run in XNNPACK, in ``partitions`` delegates."""

    operators: int
    delegated: int
    partitions: int

    @property
    def is_whole(self) -> bool:
        """Whether one delegate takes the whole graph."""
        return self.partitions == 1 and self.delegated == self.operators

    def __str__(self) -> str:
        return f"{self.delegated} of {self.operators} operators in {self.partitions} delegates"


def read_delegation(data: bytes) -> Delegation:
    """Return how the runtime with its default XNNPACK delegate divides the model.

    Raises:
        DamagedModel: the runtime cannot prepare the model; says why.
    """
    return _read(load_interpreter(data))


def _read(interpreter: Interpreter) -> Delegation:
    """A delegate leaves the nodes it replaced in the list; what is left runs if it is needed."""
    nodes: list[dict[str, Any]] = interpreter._get_ops_details()
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    plain = [node for node in nodes if node["op_name"] != "DELEGATE"]
    writers = {int(t): node for node in [*plain, *delegates] for t in node["outputs"]}
    wanted = [int(tensor["index"]) for tensor in interpreter.get_output_details()]
    run: set[int] = set()
    while wanted:
        node = writers.get(wanted.pop())
        if node is not None and node["index"] not in run:
            run.add(node["index"])
            wanted += [int(tensor) for tensor in node["inputs"]]
    outside = sum(node["index"] in run for node in plain)
    return Delegation(len(plain), len(plain) - outside, len(delegates))
