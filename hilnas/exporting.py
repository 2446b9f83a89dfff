"""Verbs that write files: export, export-layers."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilnas.console import (
    Json,
    Precision,
    Resolution,
    Seed,
    Width,
    app,
    columns,
    emit,
    named_network,
    progress_bar,
    say,
    verb,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from latency_tables.verification import Verification
    from networks.graph import Shape

CALIBRATION_IMAGES = 128
VERIFIED_IMAGES = 8

Exporter = Annotated[
    str, typer.Option(help="direct; keras or litert-torch, the official converters, are extras.")
]


@app.command(
    epilog="Examples:\n\n\b\n  hilnas export mnasnet-a1 -o a1.tflite\n"
    "  hilnas export mobilenet-v2,width=0.75,resolution=192 -o v2.tflite --precision int8\n"
    "  hilnas export 32x32x3:cn_r1_k3_s2_c16:ir_r2_k3_s2_e6_c24:fc_c10 -o small.tflite\n"
    "  hilnas export runs/first:12 -o trial.tflite --weights trained.pt --calibration digits\n"
    "  hilnas export nasnet-a-mobile -o nasnet.tflite --verify --against keras"
)
@verb
def export(
    network: Annotated[
        str,
        typer.Argument(help="A published name, a block or cell string, or RUN or RUN:TRIAL."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    precision: Precision = "float32",
    exporter: Exporter = "direct",
    weights: Annotated[
        Path | None,
        typer.Option(help="Trained weights: torch.save(module.state_dict()), or a run's .npz."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="Images that int8 is calibrated on: fashion-mnist, digits or a folder."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with another exporter, also in latency.")
    ] = False,
    against: Annotated[str, typer.Option(help="The exporter that --verify asks.")] = "keras",
    device: Annotated[str, typer.Option(help="Where --verify times both models.")] = "local",
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Write a network as a .tflite file, with its trained weights or random ones for timing."""
    from device_agents.open import open_agent
    from exporters.catalog import make_exporter
    from exporters.delegation import read_delegation
    from exporters.exporter import export_network
    from exporters.trained import read_trained_weights
    from latency_tables.verification import verify_models
    from networks.names import name_network

    found, labels = named_network(network)
    text = name_network(found)
    labels |= {"network": text, "hilnas": version("hilnas")}
    images = None if calibration is None else _calibration_images(calibration, found.input)
    trained = None if weights is None else read_trained_weights(weights, found.graph())
    if weights is not None:
        labels["weights_file_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        if precision == "int8" and calibration is None:
            say("note: int8 ranges are of random images, good for timing only; give --calibration")
    chosen = make_exporter(exporter, precision, images=images, seed=seed)
    other = make_exporter(against, precision, images=images, seed=seed) if verify else None
    model = export_network(
        found, output, weights=trained, seed=seed, labels=labels, exporter=chosen
    )
    delegation = read_delegation(output.read_bytes())
    values = {
        "model": str(model.path), "sha256": model.sha256, "network": text, "params": model.params,
        "madds": model.madds, "operators": list(model.operators), "size_bytes": model.size_bytes,
        "exporter": chosen.name, "precision": precision,
        "delegation": {**dataclasses.asdict(delegation), "is_whole": delegation.is_whole},
    }  # fmt: skip
    lines = [
        f"{model.path}: {model.size_bytes / 2**20:.2f} MiB, {len(model.operators)} operators,"
        f" {model.params / 1e6:.3f} M parameters, {model.madds / 1e6:.1f} M multiply-adds",
        text,
    ]
    if not delegation.is_whole:
        say(
            f"warning: XNNPACK takes {delegation}, not the whole graph in one: it will run, but a"
            " latency table will not have it"
        )
    result = None
    if other is not None:
        batches = None if images is None else (images[:VERIFIED_IMAGES],)
        with (
            tempfile.TemporaryDirectory(prefix="hilnas-") as work,
            open_agent(device) as agent,
            progress_bar() as update,
        ):
            second = Path(work) / "second.tflite"
            update(0, 1, f"exporting through {other.name}")
            export_network(found, second, weights=trained, seed=seed, exporter=other)
            result = verify_models(
                output, second, agent, exporters=(chosen.name, other.name), precision=precision,
                images=batches, progress=update,
            )  # fmt: skip
        values["verification"] = result.to_dict()
        lines += ["", _verification_text(result)]
    emit(values, "\n".join(lines), as_json=as_json)
    return 0 if result is None or result.agrees else 3


@app.command(
    epilog="Examples:\n\n\b\n  hilnas export-layers mnasnet -o layers\n"
    "  hilnas export-layers mnasnet -o packs --pack 40 --precision int8"
)
@verb
def export_layers(
    space: Annotated[str, typer.Argument(help="The space whose layers are exported.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")],
    pack: Annotated[
        int | None, typer.Option(help="Put up to this many layers into a file.", min=1)
    ] = None,
    precision: Precision = "float32",
    exporter: Exporter = "direct",
    resolution: Resolution = None,
    width: Width = 1.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write every layer of a space, in a file each or in packs with manifests, to time elsewhere.

    Run it again to go on after an interruption: what is there whole is not written again.
    """
    from exporters.catalog import make_exporter
    from exporters.layer_export import export_layer_files
    from networks.spaces import find_chain_space

    layers = find_chain_space(space, resolution=resolution, width=width).layers
    chosen = make_exporter(exporter, precision, seed=seed)
    with progress_bar() as update:
        result = export_layer_files(
            layers, output, pack_size=pack, seed=seed, exporter=chosen, progress=update
        )
    values = dataclasses.asdict(result) | {
        "directory": str(result.directory),
        "index": None if result.index is None else str(result.index),
        "manifests": [str(file) for file in result.manifests],
        "precision": precision,
    }
    text = (
        f"{output}: {result.layers} layers in {result.written + result.kept} files,"
        f" {result.size_bytes / 2**20:.0f} MiB; {result.written} written, {result.kept} kept"
    )
    emit(values, text, as_json=as_json)


def _calibration_images(name: str, shape: Shape) -> npt.NDArray[np.float32]:
    from search.datasets import load_dataset

    data = load_dataset(name, resolution=shape.height, channels=shape.channels)
    images = data.train.first(CALIBRATION_IMAGES).images
    return images.transpose(0, 2, 3, 1).copy()


def _verification_text(result: Verification) -> str:
    """Return both models side by side, then what differs in words."""
    found, latency = result.comparison, result.latency
    sides = (found.first, found.second)
    rows = [
        ["operators", *(str(len(side.operators)) for side in sides)],
        ["bytes", *(str(side.size_bytes) for side in sides)],
        ["one XNNPACK delegate", *("yes" if side.is_whole else "no" for side in sides)],
    ]
    if isinstance(latency, str):
        timing = f"latency: not measured: {latency}"
    else:
        rows.append(["latency ms", f"{latency.first_ms:.4f}", f"{latency.second_ms:.4f}"])
        low, high = latency.interval
        timing = (
            f"latency: ratio {latency.ratio:.4f} over {len(latency.sessions)} sessions of"
            f" interleaved visits; another session lies in {low:.4f} to {high:.4f} with 90 %"
            " probability"
        )
    return "\n".join(
        [
            columns(["", *(side.exporter for side in sides)], rows),
            "operator sequences: " + (", ".join(found.differences) or "equal"),
            f"numbers: {'agree' if result.agrees else 'DIFFER'}: error up to {found.max_error:.2g}"
            f" on an output range of {found.output_range:.3g}, RMS {100 * found.rms_error:.2g} % of"
            f" it, same largest output in {100 * found.same_argmax:.0f} % of {found.images} images",
            timing,
        ]
    )
