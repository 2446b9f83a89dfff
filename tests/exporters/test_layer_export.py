from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.errors import WriteFailed
from exporters.layer_export import export_layer_files
from exporters.packs import read_manifest
from tests.exporters import layer_writer
from tests.exporters.disk import contents, full_disk
from tests.exporters.layer_writer import LAYERS

PACK_SIZES = pytest.mark.parametrize("pack_size", [None, 30], ids=["files", "packs"])


@PACK_SIZES
def test_the_result_is_what_is_in_the_folder(tmp_path: Path, pack_size: int | None) -> None:
    told: list[tuple[int, int, str]] = []
    export = export_layer_files(
        [*LAYERS, LAYERS[0]],
        tmp_path / "layers",
        pack_size=pack_size,
        progress=lambda done, total, what: told.append((done, total, what)),
    )
    models = list((tmp_path / "layers").glob("*.tflite"))
    assert (export.layers, export.kept, export.written) == (len(LAYERS), 0, len(models))
    assert export.size_bytes == sum(path.stat().st_size for path in models)
    assert [told[-1][:2], len(told)] == [(len(LAYERS), len(LAYERS)), len(models)]
    if pack_size is None:
        assert export.manifests == ()
        assert export.index is not None
        assert len(export.index.read_text().splitlines()) == len(LAYERS)
    else:
        assert export.index is None
        keys = [layer.key for path in export.manifests for layer in read_manifest(path).layers]
        assert sorted(keys) == sorted(layer.key for layer in LAYERS)

    before = contents(export.directory)
    again = export_layer_files(LAYERS, export.directory, pack_size=pack_size)
    assert (again.written, again.kept) == (0, len(models))
    assert contents(export.directory) == before


@PACK_SIZES
@pytest.mark.parametrize("files", [1, 2, 3])
def test_killed_and_resumed_equals_uninterrupted_byte_for_byte(
    tmp_path: Path, pack_size: int | None, files: int
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = export_layer_files(LAYERS, whole, pack_size=pack_size)
    process = subprocess.Popen(
        [sys.executable, "-m", layer_writer.__name__, str(killed), str(pack_size or 0)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        for _ in range(files):
            assert process.stdout.readline()
        process.kill()
    assert process.returncode < 0

    resumed = export_layer_files(LAYERS, killed, pack_size=pack_size)
    assert resumed.kept >= files
    assert resumed.written + resumed.kept == expected.written
    assert contents(killed) == contents(whole)


@PACK_SIZES
def test_a_folder_that_cannot_be_is_one_error(tmp_path: Path, pack_size: int | None) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed, match=r"cannot make the folder .*file/layers"):
        export_layer_files(LAYERS, tmp_path / "file" / "layers", pack_size=pack_size)


@PACK_SIZES
def test_a_full_disk_is_one_error_and_the_export_goes_on_later(
    tmp_path: Path, pack_size: int | None
) -> None:
    limit_bytes = 40_000 if pack_size is None else 2_000
    with full_disk(limit_bytes), pytest.raises(WriteFailed, match=r"too large|No space"):
        export_layer_files(LAYERS, tmp_path / "layers", pack_size=pack_size)
    left = contents(tmp_path / "layers")
    assert all(len(data) <= limit_bytes for data in left.values())
    assert not [name for name in left if name.endswith(".part")]

    resumed = export_layer_files(LAYERS, tmp_path / "layers", pack_size=pack_size)
    assert resumed.kept == sum(name.endswith(".tflite") for name in left)
    whole = export_layer_files(LAYERS, tmp_path / "whole", pack_size=pack_size)
    assert contents(tmp_path / "layers") == contents(whole.directory)


def test_packs_of_no_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 0"):
        export_layer_files(LAYERS, tmp_path, pack_size=0)
