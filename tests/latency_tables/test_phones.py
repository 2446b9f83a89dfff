"""Tables of phones: the process method, from the device to the prediction."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from device_agents.errors import ConnectionLost, DeviceSwapped, DeviceUnusable
from device_agents.local import LocalAgent
from device_agents.measurement import ModelFile
from device_agents.processes import ProcessPlan, is_measured
from device_agents.simulated_phone import SimulatedPhone
from exporters.exporter import export_layer
from latency_tables.anchors import choose_anchors
from latency_tables.end_to_end import measure_model, require_condition
from latency_tables.errors import ConditionMismatch, DeviceChanged, NotMeasured
from latency_tables.fleet import Fleet
from latency_tables.journal import Journal
from latency_tables.measuring import export_models, silent
from latency_tables.predictor import predict_network
from latency_tables.profile import ProfileResult, profile
from latency_tables.store import TableDirectory
from latency_tables.table import LatencyTable
from latency_tables.validation import validate
from tests.latency_tables.test_profile import BODIES, HEAD, LAYERS, NETWORKS, STEM
from tests.latency_tables.test_validation import LAYERS as CHAIN_LAYERS
from tests.latency_tables.test_validation import NETWORKS as CHAINS
from tests.latency_tables.test_validation import additive_agent


def run(phone: SimulatedPhone, directory: TableDirectory) -> ProfileResult:
    return profile(phone, LAYERS, directory, networks=NETWORKS)


def test_a_phone_is_profiled_by_processes(directory: TableDirectory) -> None:
    phone = SimulatedPhone("S1")
    result = run(phone, directory)
    assert (result.measured, result.remaining, result.unstable) == (8, 0, 0)
    table = directory.load()
    assert table.condition.method == "process"
    assert table.rows["cold_ms"].null_count == len(table) == 8
    assert {network.cold_ms for network in table.networks} == {None}
    assert table.provenance.serial == "S1"
    assert table.calibration is not None
    assert LatencyTable.load(result.table) == table
    network = NETWORKS[0]
    predicted = predict_network(table, network).latency_ms
    hot = sum(table.row(layer.key).hot_ms for layer in network.layers)
    assert predicted == pytest.approx(table.calibration.scale * hot)
    for sha256, outcomes in visits(directory, phone).items():
        assert is_measured(outcomes, ProcessPlan())  # type: ignore[arg-type]
        row = next((r for r in table.rows.to_pylist() if r["sha256"] == sha256), None)
        assert row is None or row["hot_ms"] == pytest.approx(
            phone.latency_ns(sha256) / 1e6, rel=0.02
        )


def visits(directory: TableDirectory, phone: SimulatedPhone) -> dict[str, list[object]]:
    with Journal.open(directory.journal) as journal:
        found = journal.visits(phone.condition(precision="float32"))
    return {sha256: list(outcomes) for sha256, outcomes in found.items()}


def test_a_table_of_an_additive_phone_is_exact(tmp_path: Path) -> None:
    latency_ns = additive_agent(tmp_path, scale=1.1).latency_ns
    phone = SimulatedPhone(latency_ns=latency_ns, noise=1e-6)
    directory = TableDirectory(tmp_path / "t")
    profile(phone, CHAIN_LAYERS, directory, networks=list(CHAINS.values())[:2])
    result = validate(phone, directory.load(), CHAINS, directory.journal)
    assert result.mape_pct < 0.01
    assert result.repeatability_pct < 0.01


def test_what_never_agrees_is_published_as_unstable(directory: TableDirectory) -> None:
    result = run(SimulatedPhone(noise=0.2), directory)
    assert result.measured == 8
    assert result.unstable > 4
    rows = directory.load().rows.to_pylist()
    assert {row["visits"] for row in rows if row["status"] == "unstable"} == {10}


def test_processes_that_failed_leave_no_number_but_what_they_printed(
    tmp_path: Path, directory: TableDirectory
) -> None:
    bad, spoiled = (export_layer(layer, tmp_path / "x.tflite").sha256 for layer in BODIES[:2])
    phone = SimulatedPhone(faults={bad: ["rejected"], spoiled: ["invalid"]})
    result = run(phone, directory)
    assert result.invalid == {BODIES[0].key: "rejected: as the script says"}
    assert BODIES[1].key in directory.load()
    (failed,) = visits(directory, phone)[bad]
    assert failed.raw == "raw output"  # type: ignore[attr-defined]


def test_a_phone_that_is_lost_loses_nothing_and_nothing_is_taken_twice(
    directory: TableDirectory,
) -> None:
    phone = SimulatedPhone(lost_after=23)
    with pytest.raises(ConnectionLost):
        run(phone, directory)
    assert sum(map(len, visits(directory, phone).values())) == 23
    phone.lost_after = None  # it is plugged in again, and its job hands in all 23 again
    result = run(phone, directory)
    assert (result.measured, result.remaining) == (8, 0)
    total = sum(map(len, visits(directory, phone).values()))
    assert total == phone.visits


def test_another_serial_at_a_known_address_needs_a_human(directory: TableDirectory) -> None:
    class Elsewhere(SimulatedPhone):
        @property
        def address(self) -> str:
            return "adb-tcp:192.0.2.1:5555"

    run(Elsewhere("S1"), directory)
    before = directory.current().read_bytes()
    with pytest.raises(DeviceSwapped, match="expected serial S1, found S2"):
        run(Elsewhere("S2"), directory)
    assert directory.current().read_bytes() == before


def test_an_updated_phone_leaves_its_table_untouched(directory: TableDirectory) -> None:
    run(SimulatedPhone(), directory)
    before = directory.current().read_bytes()
    updated = SimulatedPhone(os_build="build-2")
    with pytest.raises(DeviceChanged, match=r"os_build 'build-1' \| 'build-2'; the device was up"):
        run(updated, directory)
    with pytest.raises(DeviceChanged):
        require_condition(updated, directory.load(), precision="float32")
    with pytest.raises(ConditionMismatch) as caught:
        run(SimulatedPhone(os_build="build-2", model="other"), directory)
    assert not isinstance(caught.value, DeviceChanged)
    assert directory.current().read_bytes() == before
    assert len(directory.versions()) == 1


def test_a_phone_does_not_measure_as_a_board_does(directory: TableDirectory) -> None:
    with pytest.raises(DeviceUnusable, match="expected a plan of processes"):
        profile(SimulatedPhone(), LAYERS, directory, plan=LocalAgent().default_plan)


def test_a_file_is_measured_end_to_end(tmp_path: Path) -> None:
    exported = export_layer(STEM, tmp_path / "x.tflite")
    model = ModelFile(exported.path, exported.sha256, "network")
    result = measure_model(SimulatedPhone(latency_ns=lambda _: 2e6), model)
    assert result.latency_ms == pytest.approx(2.0, rel=0.02)
    assert result.statistic == "wall-time"
    refusing = SimulatedPhone(faults={exported.sha256: ["hung", "crashed"]})
    with pytest.raises(NotMeasured, match="expected 5 visits, found 0: crashed"):
        measure_model(refusing, model)


def test_anchors_are_a_network_and_a_layer_of_each_kind(tmp_path: Path) -> None:
    models = export_models(LAYERS, NETWORKS, tmp_path, 0, None, silent)
    anchors = choose_anchors(models)
    assert {anchor.role for anchor in anchors} == {"anchor"}
    of = {file.sha256: model for model, file in models}
    assert of[anchors[0].sha256].role == "network"
    kinds = [of[anchor.sha256].label.split("/")[1] for anchor in anchors[1:]]
    assert kinds == sorted({layer.key.split("/")[1] for layer in (STEM, BODIES[0], HEAD)})


def test_a_consumer_may_stop_a_fleet_at_any_outcome(tmp_path: Path) -> None:
    models = export_models(LAYERS, [], tmp_path, 0, None, silent)
    files = [file for _, file in models]
    for taken in (0, 1, 5):
        phones = [SimulatedPhone(f"S{number}") for number in range(3)]
        condition = phones[0].condition(precision="float32")
        outcomes = Fleet(*phones).measure(files, ProcessPlan(), condition=condition, done={})
        assert len(list(islice(outcomes, taken))) == taken
        outcomes.close()
        assert sum(phone.visits for phone in phones) <= taken + 2 * len(phones)
