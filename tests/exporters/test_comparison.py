from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.catalog import EXPORTERS, PRECISIONS, make_exporter
from exporters.comparison import compare_models, operator_differences
from exporters.direct import DirectExporter
from exporters.errors import DamagedModel, UnknownExporter
from exporters.runner import Runner
from exporters.weights import random_weights
from networks.graph import Shape
from networks.layers import Conv, lower_layer
from networks.published import published_network

GRAPH = published_network("mnasnet-a1", resolution=32, classes=10).graph()
NAMES = ("one", "other")


def model(precision: str, seed: int = 0) -> bytes:
    return make_exporter(precision=precision).export(GRAPH, random_weights(GRAPH, seed))


@pytest.mark.parametrize(("precision", "error"), [("float16", 2e-3), ("int8", 0.1)])
def test_a_coarser_precision_is_a_little_off_and_smaller(precision: str, error: float) -> None:
    found = compare_models(model("float32"), model(precision), exporters=NAMES)
    assert 0 < found.rms_error < error
    assert found.max_error >= found.rms_error * found.output_range
    assert found.second.size_bytes < 0.6 * found.first.size_bytes
    assert found.first.is_whole
    assert found.second.is_whole


def test_equal_models_have_no_differences() -> None:
    found = compare_models(model("float32"), model("float32"), exporters=NAMES)
    assert (found.differences, found.max_error, found.same_argmax) == ((), 0.0, 1.0)


def test_other_weights_are_seen_in_the_numbers() -> None:
    found = compare_models(model("float32"), model("float32", 1), exporters=NAMES)
    assert found.differences == ()
    assert found.rms_error > 0.05


def test_differences_of_operators_are_told_with_their_places() -> None:
    assert operator_differences("ABC", "AXBC") == ("+ X at 1",)
    assert operator_differences("ABC", "BC") == ("- A at 0",)
    assert operator_differences("ABC", "AYC") == ("- B at 1", "+ Y at 1")


def test_models_of_different_images_are_refused_with_both() -> None:
    graphs = [lower_layer(Conv(Shape(size, size, 2), 2, kernel=3)) for size in (4, 5)]
    one, other = (DirectExporter().export(graph, random_weights(graph)) for graph in graphs)
    with pytest.raises(DamagedModel, match="4x4x2 beside 5x5x2"):
        compare_models(one, other, exporters=NAMES)


def test_a_batch_gives_what_its_images_give() -> None:
    runner = Runner(model("int8"))
    images = np.random.default_rng(0).standard_normal((3, 32, 32, 3), dtype=np.float32)
    rows = [runner.run(image[None])[0][0] for image in images]
    np.testing.assert_array_equal(runner.run_batch(images), rows)
    assert runner.inputs == (Shape(32, 32, 3),)


def test_a_model_that_the_runtime_refuses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DamagedModel, match="the runtime cannot prepare"):
        Runner(model("float32")[:-20_000])


def test_every_direct_exporter_is_named_after_its_precision() -> None:
    for precision in PRECISIONS:
        assert make_exporter("direct", precision).name == f"direct-{precision}"


@pytest.mark.parametrize(
    ("name", "precision"), [("dirct", "float32"), ("direct", "int4"), ("litert-torch", "int8")]
)
def test_an_unknown_exporter_is_refused_with_all_that_there_are(name: str, precision: str) -> None:
    with pytest.raises(UnknownExporter) as refused:
        make_exporter(name, precision)
    assert all(known in str(refused.value) for known in (*EXPORTERS, *PRECISIONS))
