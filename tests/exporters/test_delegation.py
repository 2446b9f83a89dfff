from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from device_agents.timing_program import Refused, require_one_delegate
from exporters.delegation import Delegation, read_delegation
from exporters.direct import DirectExporter
from exporters.errors import DamagedModel
from exporters.int8 import Int8Exporter
from exporters.relabel import AlignedBuffer, pack_model
from exporters.weights import random_weights
from networks.graph import Graph, GraphBuilder, Shape
from networks.layers import lower_layer
from tests.contracts.exporter_contract import LAYER, OPERATOR_GRAPHS


def with_relu_alone(data: bytes) -> bytes:
    """Return the int8 model with RELU for LOGISTIC: one that XNNPACK leaves to the runtime."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.LOGISTIC:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    model.buffers = [
        buffer if buffer.data is None else AlignedBuffer(buffer.data) for buffer in model.buffers
    ]
    return pack_model(model)


def int8(graph: Graph) -> bytes:
    return Int8Exporter().export(graph, random_weights(graph))


def gate_first() -> Graph:
    graph = GraphBuilder(Shape(4, 4, 3))
    graph.convolution(graph.activate(0, "sigmoid"), 5, name="conv")
    return graph.build()


def gate_alone() -> Graph:
    graph = GraphBuilder(Shape(4, 4, 3))
    graph.activate(0, "sigmoid")
    return graph.build()


WHOLE = {
    "float32": DirectExporter().export(lower_layer(LAYER), random_weights(lower_layer(LAYER))),
    "float16": DirectExporter("float16").export(
        lower_layer(LAYER), random_weights(lower_layer(LAYER))
    ),
    "int8": int8(lower_layer(LAYER)),
    "two inputs": int8(OPERATOR_GRAPHS["two inputs of 7"]),
    "three outputs": int8(OPERATOR_GRAPHS["three outputs of 7"]),
}
PARTS = {
    "in the middle": (with_relu_alone(int8(lower_layer(LAYER))), Delegation(12, 11, 2)),
    "first": (with_relu_alone(int8(gate_first())), Delegation(2, 1, 1)),
    "alone": (with_relu_alone(int8(gate_alone())), Delegation(1, 0, 0)),
}


def is_taken_by_the_timing_program(data: bytes) -> bool:
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    try:
        require_one_delegate(interpreter)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("data", WHOLE.values(), ids=list(WHOLE))
def test_one_delegate_over_everything_is_whole(data: bytes) -> None:
    found = read_delegation(data)
    assert found.is_whole
    assert found.partitions == 1
    assert found.operators == found.delegated
    assert is_taken_by_the_timing_program(data)


@pytest.mark.parametrize(("data", "expected"), PARTS.values(), ids=list(PARTS))
def test_an_operator_outside_is_counted_and_the_timing_program_agrees(
    data: bytes, expected: Delegation
) -> None:
    assert read_delegation(data) == expected
    assert not expected.is_whole
    assert not is_taken_by_the_timing_program(data)


def test_it_reads_as_a_sentence() -> None:
    assert str(Delegation(12, 11, 2)) == "11 of 12 operators in 2 delegates"


def test_what_the_runtime_cannot_prepare_is_damaged() -> None:
    with pytest.raises(DamagedModel, match="the runtime cannot prepare the model"):
        read_delegation(WHOLE["int8"][:200])
