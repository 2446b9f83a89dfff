from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.delegation import read_delegation
from exporters.direct import DirectExporter
from exporters.errors import DamagedPack, UnsupportedOperator, WriteFailed
from exporters.exporter import Exporter, export_layer
from exporters.int8 import Int8Exporter
from exporters.model_file import read_labels
from exporters.pack_plan import plan_packs
from exporters.packs import ExportedPack, export_pack, export_packs, manifest_path, read_manifest
from exporters.weights import Weights
from networks.graph import Graph, Shape
from networks.layers import Conv, Layer
from networks.spaces import make_space
from tests.contracts.exporter_contract import (
    LAYER,
    layers,
    mnasnet_layers,
    random_image,
    run_model,
)
from tests.exporters.disk import contents, full_disk

TWO: list[Layer] = [LAYER, Conv(Shape(8, 8, 3), 4, kernel=3)]


def assert_branches_equal_layers(
    pack: ExportedPack, some: list[Layer], folder: Path, exporter: Exporter | None = None
) -> None:
    """Compare numbers bit by bit, and operators, with each layer's own file."""
    images = [random_image(layer.input, seed) for seed, layer in enumerate(some)]
    run = run_model(pack.path.read_bytes(), *images)
    assert run.is_one_delegate
    node = 0
    for layer, packed, image, output in zip(some, pack.layers, images, run.outputs, strict=True):
        alone = export_layer(layer, folder / "alone.tflite", exporter=exporter)
        np.testing.assert_array_equal(output, run_model(alone.path.read_bytes(), image).output)
        assert (packed.key, packed.operators) == (layer.key, alone.operators)
        assert (packed.first_node, packed.last_node) == (node, node + len(alone.operators) - 1)
        node += len(alone.operators)


def test_a_pack_of_a_space_is_one_delegate_and_every_branch_its_layer(tmp_path: Path) -> None:
    some = list(plan_packs(make_space("mnasnet", resolution=64).layers)[0])
    assert len(some) == 40
    pack = export_pack(some, tmp_path / "pack.tflite")
    assert_branches_equal_layers(pack, some, tmp_path)


def test_a_pack_with_float16_weights_has_the_numbers_of_its_layers(tmp_path: Path) -> None:
    exporter = DirectExporter("float16")
    some = list(plan_packs(make_space("mnasnet", resolution=32).layers, 30)[-1])
    pack = export_pack(some, tmp_path / "pack.tflite", exporter=exporter)
    assert pack.exporter == "direct-float16"
    assert_branches_equal_layers(pack, some, tmp_path, exporter)


def test_a_pack_in_int8_is_one_delegate_and_has_the_operators_of_its_layers(tmp_path: Path) -> None:
    exporter = Int8Exporter()
    some = plan_packs(make_space("mnasnet", resolution=32).layers, 30)[0]
    pack = export_pack(some, tmp_path / "pack.tflite", exporter=exporter)
    assert read_delegation(pack.path.read_bytes()).is_whole
    assert read_manifest(pack.manifest) == pack
    for layer, packed in zip(some, pack.layers, strict=True):
        alone = export_layer(layer, tmp_path / "alone.tflite", exporter=exporter)
        assert packed.operators == alone.operators


@settings(max_examples=15, deadline=None)
@given(some=st.lists(layers(), min_size=1, max_size=8))
def test_any_layers_pack(some: list[Layer], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pack")
    pack = export_pack(some, folder / "pack.tflite")
    assert_branches_equal_layers(pack, some, folder)
    assert read_manifest(pack.manifest) == pack


def test_the_manifest_says_what_the_file_is(tmp_path: Path) -> None:
    pack = export_pack(TWO, tmp_path / "pack.tflite", seed=4)
    manifest = json.loads((tmp_path / "pack.pack.json").read_text())
    version = DirectExporter.version
    assert manifest == {
        "format": "hilnas-pack",
        "format_version": 1,
        "model": "pack.tflite",
        "sha256": pack.sha256,
        "size_bytes": pack.path.stat().st_size,
        "exporter": "direct-float32",
        "exporter_version": version,
        "weights": "random 4",
        "layers": [
            {
                "key": LAYER.key, "input": "image_0", "output": "features_0",
                "first_node": 0, "last_node": 9, "operators": list(pack.layers[0].operators),
            },
            {
                "key": TWO[1].key, "input": "image_1", "output": "features_1",
                "first_node": 10, "last_node": 10, "operators": ["CONV_2D"],
            },
        ],
    }  # fmt: skip
    assert read_labels(pack.path.read_bytes()) == {
        "layers": f"{LAYER.key} {TWO[1].key}",
        "weights": "random 4",
        "exporter": "direct-float32",
        "exporter_version": version,
    }
    assert read_manifest(pack.manifest) == pack
    assert pack.manifest == manifest_path(pack.path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_manifest_with_anything_else_in_it_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "manifest"
    folder.mkdir(exist_ok=True)
    pack = export_pack(TWO, folder / "pack.tflite")
    manifest = json.loads(pack.manifest.read_bytes())
    place: Any = data.draw(st.sampled_from([manifest, *manifest["layers"]]))
    name = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        place[name] = data.draw(st.none() | st.integers(100) | st.just("x") | st.just([]))
    else:
        del place[name]
    pack.manifest.write_text(json.dumps(manifest))
    with pytest.raises(DamagedPack, match=r"pack\.pack\.json") as found:
        read_manifest(pack.manifest)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the manifest is damaged"),
        ('{"format": "hilnas-pack", ', "the manifest is damaged"),
        ("[]", "format 'hilnas-pack', found another file"),
        ('{"format": "hilnas-pack", "format_version": 2}', "version 1, found 2; use a newer"),
    ],
)
def test_a_manifest_that_is_damaged_or_newer_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    pack = export_pack(TWO, tmp_path / "pack.tflite")
    pack.manifest.write_text(text)
    with pytest.raises(DamagedPack, match=message):
        read_manifest(pack.manifest)


def test_a_manifest_of_another_model_or_of_none_is_refused(tmp_path: Path) -> None:
    pack = export_pack(TWO, tmp_path / "pack.tflite")
    other = export_pack(TWO, tmp_path / "other.tflite", seed=1)
    other.path.replace(pack.path)
    with pytest.raises(DamagedPack, match=r"not the manifest of pack\.tflite: sha256"):
        read_manifest(pack.manifest)
    pack.path.write_bytes(pack.path.read_bytes()[:-200])
    with pytest.raises(DamagedPack, match="its model cannot be read"):
        read_manifest(pack.manifest)
    pack.path.unlink()
    with pytest.raises(DamagedPack, match="its model cannot be read"):
        read_manifest(pack.manifest)
    pack.manifest.unlink()
    with pytest.raises(DamagedPack, match="found No such file"):
        read_manifest(pack.manifest)


def test_a_layer_alone_is_no_pack(tmp_path: Path) -> None:
    model = export_layer(LAYER, tmp_path / "pack.tflite")
    manifest = manifest_path(model.path)
    manifest.write_text('{"format": "hilnas-pack", "format_version": 1}')
    with pytest.raises(DamagedPack, match=r"\(0\), found 1"):
        read_manifest(manifest)


class NextExporter(DirectExporter):
    version = "next"


def test_packs_that_are_not_as_they_would_be_written_are_exported_again(tmp_path: Path) -> None:
    packs = plan_packs(mnasnet_layers()[:60], 20)
    assert len(packs) == 3

    def fresh(**options: Any) -> list[bool]:
        return [new for _, new in export_packs(packs, tmp_path, **options)]

    assert fresh() == [True] * 3
    before = contents(tmp_path)
    assert fresh() == [False] * 3
    (tmp_path / "pack-000.pack.json").write_text("{}")
    (tmp_path / "pack-001.pack.json").unlink()
    (tmp_path / "pack-002.tflite").unlink()
    assert fresh() == [True] * 3
    (tmp_path / "pack-000.tflite").write_bytes(before["pack-000.tflite"][:-1] + b"?")
    (tmp_path / "pack-001.tflite").write_bytes(before["pack-002.tflite"])
    (tmp_path / "pack-001.pack.json").write_bytes(
        before["pack-002.pack.json"].replace(b"pack-002", b"pack-001")
    )
    assert fresh() == [True, True, False]
    assert contents(tmp_path) == before
    assert fresh(seed=1) == [True] * 3
    assert fresh(exporter=NextExporter()) == [True] * 3
    assert fresh(exporter=NextExporter()) == [False] * 3


class Failing(DirectExporter):
    """Cannot express anything."""

    def export(self, graph: Graph, weights: Weights, *, labels: Any = None) -> bytes:
        raise UnsupportedOperator("no")


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "pack.tflite"
    with pytest.raises(UnsupportedOperator):
        export_pack(TWO, path, exporter=Failing())
    with full_disk(), pytest.raises(WriteFailed, match=r"pack\.tflite"):
        export_pack(TWO, path)
    with pytest.raises(ValueError, match="at least one layer"):
        export_pack([], path)
    assert contents(tmp_path) == {}
