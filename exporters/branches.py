"""Branches: which operators of a .tflite file belong to which of its outputs.

A file of independent branches, one input and one output each:

    image_0 - 0 CONV_2D - 1 DEPTHWISE_CONV_2D - 2 CONV_2D - features_0        nodes 0..2
    image_1 - 3 MEAN - 4 FULLY_CONNECTED - logits_1                           nodes 3..4

Nodes are numbered as the runtime numbers them before any delegate takes them: by their place in
the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from exporters.errors import DamagedPack
from exporters.model_file import read_operators


@dataclass(frozen=True, slots=True)
class Branch:
    """One input, the operators that read it, and the output that they give.

    ``first_node`` and ``last_node`` are both inside; ``input`` and ``output`` are tensor names.
    """

    input: str
    output: str
    first_node: int
    last_node: int
    operators: tuple[str, ...]


def read_branches(data: bytes) -> tuple[Branch, ...]:
    """Return the branches of a model in the order of its inputs, traced through its tensors.

    Raises:
        DamagedModel: the bytes are not a whole model.
        DamagedPack: it is not one of independent branches whose operators stand together, where
            branch ``i`` reads input ``i`` alone and gives output ``i``.
    """
    operators = read_operators(data)
    graph = schema.Model.GetRootAs(data).Subgraphs(0)
    inputs, outputs = _ints(graph.InputsAsNumpy()), _ints(graph.OutputsAsNumpy())
    if len(inputs) != len(outputs):
        raise DamagedPack(
            f"expected one output for each of {len(inputs)} inputs, found {len(outputs)}"
        )
    nodes = _nodes_of_outputs(graph, inputs, outputs)
    branches = []
    for number, (source, sink) in enumerate(zip(inputs, outputs, strict=True)):
        first, last = nodes[number][0], nodes[number][-1]
        if nodes[number] != list(range(first, last + 1)):
            raise DamagedPack(
                f"expected the operators of branch {number} to stand together,"
                f" found nodes {nodes[number]}"
            )
        branches.append(
            Branch(
                input=graph.Tensors(source).Name().decode(),
                output=graph.Tensors(sink).Name().decode(),
                first_node=first,
                last_node=last,
                operators=operators[first : last + 1],
            )
        )
    return tuple(branches)


def _nodes_of_outputs(
    graph: schema.SubGraph, inputs: list[int], outputs: list[int]
) -> dict[int, list[int]]:
    """Return the nodes that lead to each output; every node leads to one, from its own input."""
    operators = [graph.Operators(node) for node in range(graph.OperatorsLength())]
    computed = {*inputs, *(t for o in operators for t in _ints(o.OutputsAsNumpy()))}
    owner = {tensor: number for number, tensor in enumerate(outputs)}
    nodes: dict[int, list[int]] = {number: [] for number in range(len(outputs))}
    for node in reversed(range(len(operators))):
        owners = {owner.get(tensor) for tensor in _ints(operators[node].OutputsAsNumpy())}
        number = owners.pop()
        if number is None or owners:
            raise DamagedPack(f"expected node {node} to lead to one output, found another end")
        nodes[number].append(node)
        for tensor in _ints(operators[node].InputsAsNumpy()):
            if tensor in computed and owner.setdefault(tensor, number) != number:
                raise DamagedPack(
                    f"expected independent branches, found tensor {tensor} in branches"
                    f" {owner[tensor]} and {number}"
                )
    for number, tensor in enumerate(inputs):
        if owner.get(tensor) != number or not nodes[number]:
            raise DamagedPack(
                f"expected input {number} to lead to output {number},"
                f" found output {owner.get(tensor)}"
            )
    return {number: found[::-1] for number, found in nodes.items()}


def _ints(array: object) -> list[int]:
    """Return a vector of the schema as a list; one that is left out reads as the number 0."""
    return [] if isinstance(array, int) else [int(value) for value in array]  # type: ignore[attr-defined]
