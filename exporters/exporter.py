"""Exporter: the seam between a graph and a .tflite file, and the files that come out of it.

layer or network --graph--> Exporter.export(graph, weights) --bytes--> ExportedModel on disk
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exporters.direct import DirectExporter
from exporters.model_file import read_operators, write_model
from exporters.weights import Weights, random_weights
from networks.graph import Graph
from networks.network import ImageNetwork, count_madds, count_params
from networks.operators import Unit, lower_unit


class Exporter(Protocol):
    """Turns a graph and its weights into a .tflite model.

    Every implementation inherits the tests in ``tests/contracts/exporter_contract.py``.
    """

    @property
    def name(self) -> str:
        """What it is called on the command line, such as ``direct-float32``."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same graph and weights would give other bytes."""
        ...

    def export(
        self, graph: Graph, weights: Weights, *, labels: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the model: NHWC in, batch 1, the graph's last value out.

        Args:
            weights: kernel and bias of every named operator, in TFLite's layout.
            labels: what the model should say of its origin, such as its block string.

        Raises:
            WeightsError: the weights do not fit the graph or are not finite.
            UnsupportedOperator: the exporter cannot express an operator of the graph.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """One model on disk. ``operators`` are its TFLite operators in order of execution."""

    path: Path
    sha256: str
    params: int
    madds: int
    operators: tuple[str, ...]
    size_bytes: int


def export_network(
    network: ImageNetwork,
    path: Path,
    *,
    weights: Weights | None = None,
    seed: int = 0,
    labels: Mapping[str, str] | None = None,
    exporter: Exporter | None = None,
) -> ExportedModel:
    """Export a network to ``path``; without ``weights``, with random ones of ``seed``.

    Raises:
        ExportError: the weights do not fit, or the file cannot be written.
    """
    return _export(
        network.graph(), path, weights, seed, labels or {}, exporter or DirectExporter(), sync=True
    )


def export_layer(
    layer: Unit,
    path: Path,
    *,
    weights: Weights | None = None,
    seed: int = 0,
    exporter: Exporter | None = None,
) -> ExportedModel:
    """Export a layer or an operator to ``path``, labelled with its key; else as `export_network`.

    An operator has an input for each value that it reads.
    """
    labels = {"layer": layer.key}
    return _export(
        lower_unit(layer), path, weights, seed, labels, exporter or DirectExporter(), sync=False
    )


def describe_model(graph: Graph, path: Path, data: bytes, sha256: str) -> ExportedModel:
    """Return what the model of ``graph``, whose bytes are ``data``, is on disk."""
    return ExportedModel(
        path=path,
        sha256=sha256,
        params=count_params(graph),
        madds=count_madds(graph),
        operators=read_operators(data),
        size_bytes=len(data),
    )


def _export(
    graph: Graph,
    path: Path,
    weights: Weights | None,
    seed: int,
    labels: Mapping[str, str],
    exporter: Exporter,
    *,
    sync: bool,
) -> ExportedModel:
    if weights is None:
        weights, labels = random_weights(graph, seed), {**labels, "weights": f"random {seed}"}
    data = exporter.export(graph, weights, labels=labels)
    return describe_model(graph, path, data, write_model(path, data, sync=sync))
