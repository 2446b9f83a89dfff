from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device_agents.measurement import ResidentPlan
from device_agents.simulated import SimulatedAgent
from exporters.exporter import export_network
from exporters.layer_files import export_layers
from latency_tables.errors import NotMeasured, TableError
from latency_tables.journal import Journal
from latency_tables.profile import Request, profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from latency_tables.transfer import TransferResult, profile_with_priors
from networks.network import Network
from networks.spaces import make_space
from tests.latency_tables.pretended import LAYERS, SCALE, SPACE, pretended_ms, table_of

LATENCY_MS = pretended_ms(1)
PRIOR = table_of(pretended_ms(2), np.arange(len(LAYERS)), "prior")
PLAN = ResidentPlan(hot=2, min_visits=4, max_visits=6, min_span_s=0.1)


def network_of(*numbers: int) -> Network:
    """Return a network whose layers are all among `LAYERS`: the longest chains of one layer."""
    return Network(tuple(LAYERS[number] for number in numbers))


REPEATABLE = [i for i, layer in enumerate(LAYERS) if layer.input == layer.output]
NETWORKS = [network_of(*[i] * 4) for i in REPEATABLE[:: len(REPEATABLE) // 3][:3]]


@pytest.fixture(scope="module")
def latency_ns(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], float]:
    """Latency of the pretended device by the sha256 of what `profile` exports."""
    work = tmp_path_factory.mktemp("exported")
    known = {
        model.sha256: 1e6 * LATENCY_MS[number]
        for number, (_, model) in enumerate(export_layers(LAYERS, work, seed=0))
    }
    of_layer = {layer: LATENCY_MS[number] for number, layer in enumerate(LAYERS)}
    for number, network in enumerate(NETWORKS):
        model = export_network(network, work / f"{number}.tflite", seed=0)
        known[model.sha256] = 1e6 * SCALE * sum(of_layer[layer] for layer in network.layers)
    return known.__getitem__


def run(
    latency_ns: Callable[[str], float], directory: TableDirectory, budget_s: float = 60.0
) -> TransferResult:
    return profile_with_priors(
        SimulatedAgent(latency_ns), LAYERS, directory, [PRIOR],
        Request(networks=NETWORKS, plan=PLAN), budget_s=budget_s, most=32,
    )  # fmt: skip


def test_a_few_layers_and_a_prior_make_a_whole_table(
    latency_ns: Callable[[str], float], directory: TableDirectory
) -> None:
    result = run(latency_ns, directory)
    found, table = result.profile, LatencyTable.load(result.profile.table)
    assert found.layers == len(LAYERS) == len(table)
    assert found.measured == 32
    assert found.measured + result.predicted == len(LAYERS)
    assert found.coverage == found.measured / len(LAYERS)
    assert (found.remaining, found.invalid, found.validated) == (0, {}, True)
    assert (table.to_pandas()["status"] == "predicted").sum() == result.predicted
    assert table.calibration is not None
    assert table.calibration.scale == pytest.approx(SCALE, rel=0.1)
    predicted = [i for i, layer in enumerate(LAYERS) if not table.row(layer.key).visits]
    ours = table.hot_ms([LAYERS[i].key for i in predicted])
    error_pct = 100 * np.abs(ours / LATENCY_MS[predicted] - 1).mean()
    assert error_pct < 20
    assert result.expected_layer_error_pct == pytest.approx(error_pct, rel=1.5)
    assert result.next_layers > 0
    assert result.next_layer_error_pct < result.expected_layer_error_pct
    assert "another minute measures" in str(result)


def test_a_later_profile_replaces_predictions(
    latency_ns: Callable[[str], float], directory: TableDirectory
) -> None:
    run(latency_ns, directory)
    with Journal.open(directory.journal) as journal:
        visits = journal.count_visits()
    profile(SimulatedAgent(latency_ns), LAYERS, directory, networks=NETWORKS, plan=PLAN)
    table = directory.load()
    assert len(table) == len(LAYERS)
    assert set(table.to_pandas()["status"]) <= {"ok", "unstable"}
    with Journal.open(directory.journal) as journal:
        assert journal.count_visits() < visits + 6 * (len(LAYERS) + 2 * len(NETWORKS))
    again = run(latency_ns, directory)
    assert (again.predicted, again.next_layers, again.expected_layer_error_pct) == (0, 0, 0.0)


def test_a_budget_for_nothing_measures_nothing(
    latency_ns: Callable[[str], float], directory: TableDirectory
) -> None:
    with pytest.raises(NotMeasured, match="expected a budget of 1 s or more, which 8 layers and 3"):
        run(latency_ns, directory, 0.05)
    assert not directory.path.exists()


def test_a_prior_of_other_layers_is_refused_before_anything_is_measured(
    latency_ns: Callable[[str], float], directory: TableDirectory
) -> None:
    layers = make_space("mnasnet", resolution=224).layers[:9]
    with pytest.raises(TableError, match="'prior': expected rows of some of the 9 layers"):
        profile_with_priors(
            SimulatedAgent(latency_ns), layers, directory, [PRIOR], Request(plan=PLAN),
            budget_s=60.0,
        )  # fmt: skip
    assert not directory.path.exists()


def test_what_the_device_refuses_has_no_row(tmp_path: Path, directory: TableDirectory) -> None:
    layers = LAYERS[:24]
    (bad,) = (m.sha256 for _, m in export_layers([LAYERS[0]], tmp_path, seed=0))
    agent = SimulatedAgent(faults={bad: ["rejected"]})
    result = profile_with_priors(
        agent, layers, directory, [PRIOR], Request(plan=PLAN), budget_s=20.0
    )
    assert result.profile.invalid == {LAYERS[0].key: "rejected: as the script says"}
    assert LAYERS[0].key not in directory.load()
    assert result.profile.remaining == 0
    assert result.expected_network_error_pct is None


def test_the_space_has_the_layers() -> None:
    assert set(LAYERS) < set(SPACE.layers)
