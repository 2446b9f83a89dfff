"""Networks measured end to end while a search goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device_agents.measurement import ResidentPlan
from device_agents.simulated import SimulatedAgent, latency_of_sha256_ns
from exporters.exporter import export_network
from networks.spaces import make_space
from networks.spaces.nasnet import nasnet
from search.device_latency import DeviceLatency
from search.latency import FailedLatency, Latency

SPACE = make_space("accel-nasbench", resolution=32, width=0.25, classes=4)


def test_a_network_has_its_latency_and_a_spread(tmp_path: Path) -> None:
    genotypes = SPACE.sample(3, np.random.default_rng(0))
    source = DeviceLatency(SPACE, SimulatedAgent(noise=0.02))
    found = list(source.latencies(genotypes))
    for genotype, latency in zip(genotypes, found, strict=True):
        model = export_network(SPACE.decode(genotype), tmp_path / "model.tflite", seed=0)
        assert isinstance(latency, Latency)
        assert latency.latency_ms == pytest.approx(
            latency_of_sha256_ns(model.sha256) / 1e6, rel=0.02
        )
        assert latency.std_ms is not None
        assert 0 <= latency.std_ms < 0.02 * latency.latency_ms


def test_a_network_that_the_device_refuses_is_a_failure_of_its_own(tmp_path: Path) -> None:
    genotypes = SPACE.sample(2, np.random.default_rng(1))
    model = export_network(SPACE.decode(genotypes[0]), tmp_path / "model.tflite", seed=0)
    agent = SimulatedAgent(faults={model.sha256: ["rejected"] * 20})
    first, second = DeviceLatency(SPACE, agent).latencies(genotypes)
    assert isinstance(first, FailedLatency)
    assert "rejected" in first.reason
    assert isinstance(second, Latency)


def test_cells_are_measured_whole() -> None:
    space = nasnet(repeats=1, filters=8)
    genotypes = space.sample(1, np.random.default_rng(0))
    (latency,) = DeviceLatency(space, SimulatedAgent()).latencies(genotypes)
    assert isinstance(latency, Latency)


def test_nothing_asked_nothing_measured() -> None:
    source = DeviceLatency(SPACE, SimulatedAgent())
    assert list(source.latencies(np.empty((0, len(SPACE.decisions)), np.int8))) == []
    assert source.is_measured
    assert source.name.startswith("device:simulated,float32:")
    slower = DeviceLatency(SPACE, SimulatedAgent(), plan=ResidentPlan(agree=2))
    assert slower.name != source.name
