"""LitertTorchExporter: the graph as a torch module, through Google's litert-torch.

Graph, weights --> torch module (NCHW) --> channels last --> litert_torch.convert --> relabel

A cross-check of the direct exporter: the same numbers, some thousand times slower. litert-torch
and torch, the extra ``litert-torch``, are imported when the first model is exported.

History of ``version``, beside litert-torch's own:

    1   first
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from exporters.errors import UnsupportedOperator
from exporters.extras import require_extra, version_of
from exporters.quiet import quiet
from exporters.relabel import relabel
from exporters.signature import flat_values, input_names, output_names
from exporters.weights import Weights, check_weights
from networks.errors import ShapeError
from networks.graph import Graph, Shape

if TYPE_CHECKING:
    import torch

_EXTRA = "litert-torch"
_VERSION = "1"


class LitertTorchExporter:
    """Exports float32 models through litert-torch, images NHWC in and out."""

    name = "litert-torch-float32"

    @property
    def version(self) -> str:
        """Version of this exporter and of litert-torch.

        Raises:
            MissingExtra: litert-torch is not installed.
        """
        return f"{_VERSION}+litert-torch-{version_of(_EXTRA, 'litert-torch')}"

    def export(
        self, graph: Graph, weights: Weights, *, labels: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the model, named and labelled as `exporters.direct.DirectExporter` does it.

        Raises:
            MissingExtra: litert-torch is not installed.
            WeightsError: the weights do not fit the graph or are not finite.
            UnsupportedOperator: there is no such operator in torch.
        """
        check_weights(graph, weights)
        if not graph.operators:
            raise UnsupportedOperator("a graph without operators computes nothing to export")
        inputs, outputs = input_names(graph), output_names(graph)
        flat = flat_values(graph)
        images = [number for number, value in enumerate(graph.outputs) if value not in flat]
        with quiet():
            torch, litert_torch = require_extra(_EXTRA, "torch", "litert_torch")
            module = litert_torch.to_channel_last_io(
                _module(graph, weights), args=list(range(len(inputs))), outputs=images
            )
            zeros = tuple(torch.zeros(1, s.height, s.width, s.channels) for s in graph.inputs)
            data: bytes = litert_torch.convert(module.eval(), zeros).model_content()
        return relabel(
            data,
            labels={**(labels or {}), "exporter": self.name, "exporter_version": self.version},
            inputs={f"args_{number}": name for number, name in enumerate(inputs)},
            outputs={f"output_{number}": name for number, name in enumerate(outputs)},
            description=f"hilnas {self.name} {self.version}",
        )


def _module(graph: Graph, weights: Weights) -> torch.nn.Module:
    """Return a module whose outputs are ``(1, c)`` where they are flat, else ``(1, c, h, w)``."""
    import torch

    from networks.torch_module import module_of_weights

    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph = module_of_weights(graph, weights)

        def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(
                output.reshape(shape)
                for output, shape in zip(self.graph.outputs(*images), shapes, strict=True)
            )

    flat = flat_values(graph)
    shapes = [_nchw(graph.shape(value), is_flat=value in flat) for value in graph.outputs]
    try:
        return Outputs()
    except ShapeError as error:
        raise UnsupportedOperator(f"the litert-torch exporter has {error}") from error


def _nchw(shape: Shape, *, is_flat: bool) -> tuple[int, ...]:
    return (1, shape.channels) if is_flat else (1, shape.channels, shape.height, shape.width)
