"""The accel-nasbench space against the data it was made for."""

import csv
from pathlib import Path

import pytest

from networks.graph import Convolution, GlobalAverage
from networks.network import Network
from networks.spaces import make_space

DATA = Path(__file__).parents[3] / "shared" / "data" / "accel-nasbench" / "accel_nasbench.csv"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    if not DATA.is_file():
        pytest.skip(f"Accel-NASBench is not beside the project: no {DATA.name}")
    with DATA.open(newline="") as file:
        return list(csv.DictReader(file))[::10]


def decode(row: dict[str, str]) -> Network:
    space = make_space("accel-nasbench")
    values = {"expansion": "e", "kernel": "k", "layers": "l", "se": "se"}
    genotype = []
    for decision in space.decisions:
        block, name = decision.name.split(".")
        text = row[f"{block}_{values[name]}"]
        text = {"False": "0", "True": "0.25"}.get(text, text)
        genotype.append(decision.options.index(text))
    return space.decode(genotype)


def count_like_the_data(network: Network) -> float:
    """Return multiply-adds as the data's counter has them.

    It counts 4 operations for each output of a batch norm, and the inputs and outputs of a
    global average, beside the multiply-adds of convolutions and dense operators.
    """
    graph, extra = network.graph(), 0
    for operator in graph.operators:
        shape = operator.shape
        outputs = shape.height * shape.width * shape.channels
        if isinstance(operator, Convolution) and operator.affine == "batch-norm":
            extra += 4 * outputs
        if isinstance(operator, GlobalAverage):
            source = graph.shape(operator.inputs[0])
            extra += outputs + source.height * source.width * source.channels
    return network.madds + extra


def test_parameters_and_multiply_adds_equal_the_data(rows: list[dict[str, str]]) -> None:
    assert len(rows) > 500
    for row in rows:
        network = decode(row)
        assert network.params == round(float(row["params"]) * 1e6)
        assert count_like_the_data(network) == pytest.approx(float(row["macs"]) * 1e6, abs=1)
