"""Trained weights: a torch module's state in a file, read for a graph, batch norm folded in."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exporters.errors import WeightsError
from exporters.extras import require_extra
from exporters.weights import Weights
from networks.graph import Graph

_STORE_PREFIX = "state:"
_NAMED = 3
_UNREADABLE = (ValueError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)


def read_trained_weights(path: Path, graph: Graph) -> Weights:
    """Return the weights of a graph from the state of its `GraphModule`.

    The file is ``torch.save(module.state_dict(), path)``, or the ``.npz`` that a run keeps of a
    finished training.

    Raises:
        WeightsError: it cannot be read, or is the state of another network: names what is
            missing, unknown or of another shape.
        MissingExtra: torch is not installed.
    """
    torch, torch_module = require_extra("search", "torch", "networks.torch_module")
    try:
        state = _read(path, torch)
    except OSError as error:
        raise WeightsError(f"{path}: expected a module's state, found {error.strerror}") from error
    except _UNREADABLE as error:
        raise WeightsError(
            f"{path}: expected the file of torch.save(module.state_dict(), ...) or a run's .npz of"
            f" a training, found: {str(error).splitlines()[0] if str(error) else 'nothing'}"
        ) from error
    module = torch_module.GraphModule(graph)
    if wrong := _differences(module.state_dict(), state):
        raise WeightsError(f"{path} holds the state of another network: {wrong}")
    module.load_state_dict(state)
    weights: Weights = torch_module.folded_weights(module)
    return weights


def _read(path: Path, torch: Any) -> Mapping[str, Any]:
    if path.suffix != ".npz":
        state = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(state, Mapping):
            raise ValueError(f"a {type(state).__name__}")
        return state
    with path.open("rb") as file, np.load(file) as arrays:
        return {
            name.removeprefix(_STORE_PREFIX): torch.from_numpy(arrays[name])
            for name in arrays.files
            if name.startswith(_STORE_PREFIX)
        }


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return in words what keeps one state from being the other; empty if nothing does."""
    texts = [f"no {name}" for name in expected if name not in found]
    texts += [f"unknown {name}" for name in found if name not in expected]
    texts += [
        f"{name}: expected {tuple(tensor.shape)}, found {tuple(found[name].shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
