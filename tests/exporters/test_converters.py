"""The official converters where they are not installed; where they are, see tests/official."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from exporters.catalog import make_exporter
from exporters.errors import MissingExtra
from exporters.weights import random_weights
from networks.layers import lower_layer, parse_layer

graph = lower_layer(parse_layer("v1/conv/8x8x3/c4/k3/s1/relu/se0/none"))
sys.modules[{module!r}] = None
try:
    exporter = make_exporter({name!r})
    assert not {{"keras", "torch"}} & sys.modules.keys()
    exporter.export(graph, random_weights(graph))
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("keras", "tensorflow", "tensorflow"), ("litert-torch", "litert_torch", "litert-torch")],
)
def test_nothing_is_imported_before_an_export_and_then_one_line_names_the_extra(
    name: str, module: str, extra: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(name=name, module=module)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.count("\n") == 1
    assert f"pip install 'hilnas[{extra}]'" in run.stdout
    assert run.stderr == ""
