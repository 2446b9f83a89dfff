from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exporters.errors import WeightsError
from exporters.trained import read_trained_weights
from networks.published import published_network
from networks.torch_module import folded_weights
from tests.contracts.exporter_contract import trained_like

GRAPH = published_network("mnasnet-small", resolution=32, classes=10).graph()


@pytest.mark.parametrize("form", ["pt", "npz"])
def test_a_saved_state_gives_the_module_s_own_weights(form: str, tmp_path: Path) -> None:
    module, file = trained_like(GRAPH), tmp_path / f"state.{form}"
    if form == "pt":
        torch.save(module.state_dict(), file)
    else:
        state = {f"state:{name}": value.numpy() for name, value in module.state_dict().items()}
        np.savez(file, allow_pickle=False, losses=np.zeros(3), **state)
    expected, found = folded_weights(module), read_trained_weights(file, GRAPH)
    assert expected.keys() == found.keys()
    for name, (kernel, bias) in expected.items():
        np.testing.assert_array_equal(found[name][0], kernel)
        np.testing.assert_array_equal(found[name][1], bias)


def test_the_state_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    other = published_network("mnasnet-small", resolution=32, classes=7).graph()
    torch.save(trained_like(other).state_dict(), file)
    with pytest.raises(WeightsError, match=r"classify.dense.weight: expected \(10, .*found \(7, "):
        read_trained_weights(file, GRAPH)
    torch.save({"strange": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match=r"no 0\.conv\S+, no .* and \d+ more"):
        read_trained_weights(file, GRAPH)


@pytest.mark.parametrize("name", ["state.pt", "state.npz"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_one_clear_error(name: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="expected the file of"):
        read_trained_weights(file, GRAPH)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file"):
        read_trained_weights(tmp_path / "none.pt", GRAPH)


def test_a_state_that_holds_code_is_never_run(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    torch.save({"a": Path}, file)
    with pytest.raises(WeightsError, match="expected the file of"):
        read_trained_weights(file, GRAPH)
