"""Layer export: all layers of a space to disk, each in a file of its own or in packs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from exporters.direct import DirectExporter
from exporters.exporter import Exporter
from exporters.layer_files import INDEX_NAME, stream_layers
from exporters.pack_plan import plan_packs
from exporters.packs import export_packs
from networks.layers import Layer

Progress = Callable[[int, int, str], None]
"""Called with done, total, and what is being done."""


def silent(done: int, total: int, text: str) -> None:
    """Take no notice."""


@dataclass(frozen=True, slots=True)
class LayerExport:
    """What is in the folder now: ``written`` files are new, ``kept`` ones were there already.

    Of single files, ``index`` is the list of them all; of packs, each manifest lists its layers.
    """

    directory: Path
    exporter: str
    exporter_version: str
    seed: int
    layers: int
    written: int
    kept: int
    size_bytes: int
    index: Path | None = None
    manifests: tuple[Path, ...] = ()


def export_layer_files(
    layers: Iterable[Layer],
    directory: Path,
    *,
    pack_size: int | None = None,
    seed: int = 0,
    exporter: Exporter | None = None,
    progress: Progress = silent,
) -> LayerExport:
    """Export layers with random weights of ``seed``; going on where an earlier export stopped.

    Args:
        pack_size: most layers of a pack, as in `plan_packs`; None makes a file a layer.
        progress: is told after each file; layers are what it counts.

    Raises:
        ValueError: ``pack_size`` is below 1.
        ExportError: a layer cannot be exported, or a file cannot be written.
    """
    exporter = exporter or DirectExporter()
    distinct = tuple(dict.fromkeys(layers))
    fresh: list[bool] = []
    manifests: list[Path] = []
    done = size_bytes = 0
    if pack_size is None:
        for _, model, is_new in stream_layers(distinct, directory, seed=seed, exporter=exporter):
            done, size_bytes = done + 1, size_bytes + model.size_bytes
            fresh.append(is_new)
            progress(done, len(distinct), "exporting layers")
    else:
        packs = plan_packs(distinct, pack_size, seed=seed)
        for pack, is_new in export_packs(packs, directory, seed=seed, exporter=exporter):
            done, size_bytes = done + len(pack.layers), size_bytes + pack.size_bytes
            fresh.append(is_new)
            manifests.append(pack.manifest)
            progress(done, len(distinct), f"exporting packs, {len(manifests)} of {len(packs)}")
    return LayerExport(
        directory=directory,
        exporter=exporter.name,
        exporter_version=exporter.version,
        seed=seed,
        layers=len(distinct),
        written=sum(fresh),
        kept=len(fresh) - sum(fresh),
        size_bytes=size_bytes,
        index=directory / INDEX_NAME if pack_size is None else None,
        manifests=tuple(manifests),
    )
