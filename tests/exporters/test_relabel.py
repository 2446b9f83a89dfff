from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.direct import DirectExporter
from exporters.errors import DamagedModel
from exporters.model_file import read_labels, read_operators
from exporters.relabel import relabel
from exporters.weights import random_weights
from networks.graph import Graph
from networks.layers import lower_layer
from tests.contracts.exporter_contract import LAYER, OPERATOR_GRAPHS, random_image, run_model

TWO_INPUTS = OPERATOR_GRAPHS["two inputs of 7"]
THREE_OUTPUTS = OPERATOR_GRAPHS["three outputs of 7"]


def exported(graph: Graph) -> bytes:
    return DirectExporter().export(graph, random_weights(graph), labels={"old": "label"})


@pytest.mark.parametrize("graph", [lower_layer(LAYER), TWO_INPUTS, THREE_OUTPUTS])
def test_the_names_change_and_nothing_that_is_computed(graph: Graph) -> None:
    data = exported(graph)
    inputs = [f"in {number}" for number in range(len(graph.inputs))]
    outputs = [f"out {number}" for number in range(len(graph.outputs))]
    labels = {"b": "1", "a": "zwei"}
    named = relabel(data, labels=labels, inputs=inputs, outputs=outputs, description="new")

    assert read_labels(named) == labels
    assert read_operators(named) == read_operators(data)
    assert schema.Model.GetRootAs(named).Description() == b"new"
    interpreter = Interpreter(model_content=named)
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": inputs, "outputs": outputs}
    }
    assert [detail["name"] for detail in interpreter.get_input_details()] == inputs
    assert [detail["name"] for detail in interpreter.get_output_details()] == outputs
    images = [random_image(shape, seed) for seed, shape in enumerate(graph.inputs)]
    run, expected = run_model(named, *images), run_model(data, *images)
    for one, other in zip(run.outputs, expected.outputs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert run.is_one_delegate


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_labels_of_any_text_are_read_back(labels: dict[str, str]) -> None:
    data = relabel(
        exported(TWO_INPUTS), labels=labels, inputs=["a", "b"], outputs=["c"], description=""
    )
    assert read_labels(data) == labels


def test_the_same_names_give_the_same_bytes_whatever_the_model_said_before() -> None:
    data = exported(TWO_INPUTS)
    names = {"inputs": ["x", "y"], "outputs": ["z"]}
    one = relabel(data, labels={"a": "1", "b": "2"}, description="same", **names)
    two = relabel(
        relabel(data, labels={"other": "o" * 99}, inputs=["p", "q"], outputs=["r"], description=""),
        labels={"b": "2", "a": "1"},
        description="same",
        **names,
    )
    assert one == two
    assert b"o" * 99 not in two


def test_names_of_the_signature_put_inputs_and_outputs_into_their_order() -> None:
    data = exported(THREE_OUTPUTS)
    swapped = relabel(
        data,
        labels={},
        inputs={"image_1": "first", "image_0": "second"},
        outputs={"features_2": "x", "logits_0": "y", "features_1": "z"},
        description="",
    )
    interpreter = Interpreter(model_content=swapped)
    assert [d["name"] for d in interpreter.get_input_details()] == ["first", "second"]
    assert [d["name"] for d in interpreter.get_output_details()] == ["x", "y", "z"]
    images = [random_image(shape, seed) for seed, shape in enumerate(THREE_OUTPUTS.inputs)]
    logits, left, right = run_model(data, *images).outputs
    for one, other in zip(
        run_model(swapped, *reversed(images)).outputs, (right, logits, left), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DamagedModel, match=r"inputs \['args_0'\], found \['image_0', 'image_1'\]"):
        relabel(data, labels={}, inputs={"args_0": "x"}, outputs=["y"], description="")


def test_data_is_aligned_and_buffers_without_a_reader_are_dropped() -> None:
    data = exported(lower_layer(LAYER))
    named = relabel(data, labels={}, inputs=["x"], outputs=["y"], description="")
    model, before = schema.Model.GetRootAs(named), schema.Model.GetRootAs(data)
    assert model.BuffersLength() == before.BuffersLength()
    assert model.Buffers(0).DataLength() == 0
    start = np.frombuffer(named, np.uint8).ctypes.data
    for index in range(1, model.BuffersLength()):
        assert (model.Buffers(index).DataAsNumpy().ctypes.data - start) % 16 == 0


def test_another_number_of_names_is_refused_with_both() -> None:
    data = exported(TWO_INPUTS)
    with pytest.raises(DamagedModel, match=r"inputs \['x'\], found 2 inputs"):
        relabel(data, labels={}, inputs=["x"], outputs=["y"], description="")
    with pytest.raises(DamagedModel, match=r"outputs \['y', 'z'\], found 1 outputs"):
        relabel(data, labels={}, inputs=["x", "w"], outputs=["y", "z"], description="")


def test_what_is_not_a_model_is_refused() -> None:
    with pytest.raises(DamagedModel, match="identifier TFL3"):
        relabel(b"not a model", labels={}, inputs=["x"], outputs=["y"], description="")
