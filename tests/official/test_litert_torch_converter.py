from __future__ import annotations

import subprocess
import sys

import pytest

from exporters.direct import DirectExporter
from exporters.errors import UnsupportedOperator
from exporters.exporter import Exporter
from exporters.litert_torch_converter import LitertTorchExporter
from exporters.model_file import read_operators
from exporters.weights import random_weights
from networks.graph import Graph, Operator, Shape
from tests.contracts.exporter_contract import LAYER
from tests.official.cross_check import CrossCheckContract, expected_operators

# torch's tracer copies what torch itself has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec:FutureWarning")


class TestLitertTorchExporter(CrossCheckContract):
    not_delegated = frozenset({"PADV2"})

    def make_exporter(self) -> Exporter:
        return LitertTorchExporter()

    def check_operators(self, graph: Graph, operators: tuple[str, ...]) -> None:
        direct = read_operators(DirectExporter().export(graph, random_weights(graph)))
        assert expected_operators("litert-torch", graph, direct) in (None, operators)


def test_an_operator_that_torch_lacks_is_named() -> None:
    class Sort(Operator):
        pass

    shape = Shape(2, 2, 2)
    with pytest.raises(UnsupportedOperator, match="Sort"):
        LitertTorchExporter().export(Graph((shape,), (Sort((0,), shape),), (1,)), {})
    with pytest.raises(UnsupportedOperator, match="without operators"):
        LitertTorchExporter().export(Graph((shape,), (), (0,)), {})


def test_a_conversion_is_silent() -> None:
    program = (
        "from exporters.litert_torch_converter import LitertTorchExporter as E;"
        "from networks.layers import lower_layer, parse_layer;"
        "from exporters.weights import random_weights;"
        f"g = lower_layer(parse_layer({LAYER.key!r}));"
        "E().export(g, random_weights(g))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
