"""ScheduledDropPath: its schedule, what it drops, and that evaluation is as without."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.cells import IDENTITY, CellNetwork, CellPath
from networks.graph import Add, Concatenate
from networks.spaces.nasnet import nasnet
from networks.torch_module import GraphModule
from search.datasets import Split
from search.drop_path import ScheduledDropPath, keep_probability
from search.errors import TrainingError
from search.training import TrainingSettings, train
from tests.networks.cell_networks import cell_networks
from tests.search.training_networks import small_network

QUICK = TrainingSettings(epochs=1, batch=8)


@pytest.fixture(scope="module")
def network() -> CellNetwork:
    space = nasnet(resolution=8, repeats=1, filters=8, classes=3, in_channels=1)
    return space.decode(space.sample(1, np.random.default_rng(1))[0])


@pytest.fixture(scope="module")
def data() -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.normal(size=(16, 1, 8, 8)).astype(np.float32), np.arange(16) % 3)


@given(keep=st.floats(0.1, 1), cells=st.integers(1, 20), progress=st.floats(0, 1))
def test_the_schedule_falls_with_depth_and_progress(
    keep: float, cells: int, progress: float
) -> None:
    by_cell = [
        keep_probability(keep, cell=cell, cells=cells, progress=progress) for cell in range(cells)
    ]
    assert by_cell == sorted(by_cell, reverse=True)
    assert by_cell[-1] == pytest.approx(1 - progress * (1 - keep))
    assert keep_probability(keep, cell=0, cells=cells, progress=0.0) == 1


@settings(deadline=None, max_examples=10)
@given(network=cell_networks())
def test_paths_are_the_reads_of_operators_other_than_identity(network: CellNetwork) -> None:
    graph, paths = network.graph(), network.paths()
    assert len(set(paths)) == len(paths)
    for path in paths:
        operator = graph.operators[path.operator]
        assert isinstance(operator, Add | Concatenate)
        assert len(operator.inputs) == 2
        assert path.read in (0, 1)
    cells = list(network._cells())
    for index, (cell, *_) in enumerate(cells):
        found = sum(path.cell == index for path in paths)
        most = [edge.operator for block in cell.blocks for edge in (block.left, block.right)]
        blocks = {(block.left, block.right, block.combination) for block in cell.blocks}
        least = [edge.operator for *edges, _ in blocks for edge in edges]
        # equal blocks of operators without parameters are computed, and dropped, once
        assert sum(name != IDENTITY for name in least) <= found
        assert found <= sum(name != IDENTITY for name in most)


def test_in_evaluation_nothing_is_dropped(network: CellNetwork, data: Split) -> None:
    module = GraphModule(network.graph()).eval()
    images = torch.from_numpy(data.images)
    before = module(images)
    ScheduledDropPath(module, network.paths(), 0.5).progress = 1.0
    assert torch.equal(module(images), before)


def test_what_is_kept_is_scaled_so_that_the_mean_stays(network: CellNetwork) -> None:
    module = GraphModule(network.graph()).train()
    drop_path = ScheduledDropPath(module, [CellPath(0, 0, 0)], 0.8)
    drop_path.progress = 1.0
    torch.manual_seed(0)
    dropped = drop_path.drop(torch.ones(20_000, 1, 2, 2), cell=0)
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0, 1.25])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(dropped.amin(dim=(1, 2, 3)), dropped.amax(dim=(1, 2, 3)))  # by image


def test_training_drops_by_its_seed(network: CellNetwork, data: Split) -> None:
    dropping = dataclasses.replace(QUICK, drop_path_keep=0.5)
    plain, one, same = (
        train(network, data, settings, seed=1).losses for settings in (QUICK, dropping, dropping)
    )
    assert one == same
    assert plain[0] == one[0]  # all is kept at the start
    assert plain[1] != one[1]


def test_a_chain_has_no_paths(data: Split) -> None:
    with pytest.raises(TrainingError, match="only networks of cells drop paths, found a Network"):
        train(small_network(), data, dataclasses.replace(QUICK, drop_path_keep=0.5), seed=1)
