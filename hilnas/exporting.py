"""Verbs that write files: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilnas.console import Json, Seed, app, emit, verb


@app.command(
    epilog="Examples:\n\n\b\n  hilnas export mnasnet-a1 -o a1.tflite\n"
    "  hilnas export mobilenet-v2,width=0.75,resolution=192 -o v2.tflite\n"
    "  hilnas export 32x32x3:cn_r1_k3_s2_c16:ir_r2_k3_s2_e6_c24:fc_c10 -o small.tflite"
)
@verb
def export(
    network: Annotated[str, typer.Argument(help="A published network's name, or a block string.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a network as a .tflite file, with random weights for timing."""
    from exporters.exporter import export_network
    from networks.block_strings import find_network, format_network

    found = find_network(network)
    text = format_network(found)
    model = export_network(found, output, seed=seed, labels={"network": text})
    values = {
        "model": str(model.path), "sha256": model.sha256, "network": text, "params": model.params,
        "madds": model.madds, "operators": list(model.operators), "size_bytes": model.size_bytes,
    }  # fmt: skip
    lines = (
        f"{model.path}: {model.size_bytes / 2**20:.2f} MiB, {len(model.operators)} operators,"
        f" {model.params / 1e6:.3f} M parameters, {model.madds / 1e6:.1f} M multiply-adds\n{text}"
    )
    emit(values, lines, as_json=as_json)
