from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.errors import DamagedModel, ExportError, WriteFailed
from exporters.exporter import export_layer, export_network
from exporters.layer_files import layer_file_name
from exporters.model_file import read_labels, read_operators, write_model
from networks.graph import Shape
from networks.layers import Conv, Layer, Separable
from networks.published import published_network
from tests.contracts.exporter_contract import LAYER
from tests.exporters.disk import full_disk

SMALL: list[Layer] = [
    LAYER,
    Conv(Shape(8, 8, 3), 4, kernel=3),
    Separable(Shape(4, 4, 4), 4, kernel=5),
]


def test_a_network_on_disk_has_the_counts_of_the_network(tmp_path: Path) -> None:
    network = published_network("mnasnet-small", resolution=32)
    model = export_network(network, tmp_path / "small.tflite", labels={"network": "mnasnet-small"})
    data = model.path.read_bytes()
    assert (model.params, model.madds) == (network.params, network.madds)
    assert (model.size_bytes, model.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert model.operators == read_operators(data)
    assert model.operators[-2:] == ("MEAN", "FULLY_CONNECTED")
    assert read_labels(data)["network"] == "mnasnet-small"
    assert read_labels(data)["weights"] == "random 0"


def test_the_seed_changes_the_weights_and_the_name_only_by_key(tmp_path: Path) -> None:
    one, two = (export_layer(LAYER, tmp_path / f"{seed}.tflite", seed=seed) for seed in (1, 2))
    assert one.sha256 != two.sha256
    assert one.operators == two.operators
    assert len({layer_file_name(layer) for layer in SMALL}) == len(SMALL)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match=r"missing/model\.tflite"):
        export_layer(LAYER, tmp_path / "missing" / "model.tflite")


def test_exporting_never_imports_torch() -> None:
    program = "import sys, exporters.exporter; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", program], env=environment, timeout=60).returncode == 0
    )


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    write_model(path, b"before")
    with full_disk(), pytest.raises(WriteFailed, match=r"model\.tflite \(4096 bytes\)"):
        write_model(path, b"x" * 4096)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"TFL3", b"not a model at all", b"\x00" * 64])
def test_what_is_not_a_model_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedModel, match="identifier TFL3"):
        read_operators(data)


def test_a_model_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = export_layer(LAYER, tmp_path / "layer.tflite").path.read_bytes()
    assert read_operators(data)
    for length in range(8, len(data) - 16, 97):
        with pytest.raises(ExportError, match=r"damaged|cannot be read"):
            read_operators(data[:length])


def test_a_foreign_model_has_no_labels(tmp_path: Path) -> None:
    data = export_layer(LAYER, tmp_path / "layer.tflite").path.read_bytes()
    assert read_labels(data.replace(b"hilnas\0", b"foreig\0")) == {}
