from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from device_agents.local import LocalAgent
from device_agents.measurement import ModelFile
from exporters.catalog import make_exporter
from exporters.exporter import export_layer, export_network
from latency_tables.verification import compare_latency, verify_models
from networks.graph import Shape
from networks.layers import Conv
from networks.published import published_network

NETWORK = published_network("mnasnet-small", resolution=64)


def exported(path: Path, precision: str, seed: int = 0) -> Path:
    export_network(NETWORK, path, seed=seed, exporter=make_exporter(precision=precision))
    return path


def test_four_times_the_channels_are_seen_in_the_ratio(tmp_path: Path) -> None:
    files = []
    for channels in (8, 64):
        layer = Conv(Shape(28, 28, 32), channels, kernel=3)
        model = export_layer(layer, tmp_path / f"{channels}.tflite")
        files.append(ModelFile(model.path, model.sha256))
    with LocalAgent() as agent:
        found = compare_latency(agent, *files, sessions=2)
    low, high = found.interval
    assert low <= found.ratio <= high
    assert max(found.sessions) < 1
    assert len(found.sessions) == 2
    assert found.first_ms < found.second_ms


def test_two_models_of_one_network_agree_and_json_holds_it(tmp_path: Path) -> None:
    first = exported(tmp_path / "a.tflite", "float32")
    second = exported(tmp_path / "b.tflite", "float16")
    with LocalAgent() as agent:
        found = verify_models(
            first, second, agent, exporters=("a", "b"), precision="float16", sessions=2
        )
    assert found.agrees
    values = json.loads(json.dumps(found.to_dict()))
    assert len(values["latency"]["sessions"]) == 2
    assert values["latency_error"] is None
    assert values["first"]["exporter"] == "a"


def test_other_numbers_do_not_agree_and_equal_files_have_no_ratio(tmp_path: Path) -> None:
    first = exported(tmp_path / "a.tflite", "float32")
    other = exported(tmp_path / "b.tflite", "float32", seed=1)
    names = ("a", "b")
    with LocalAgent() as agent:
        found, same = [
            verify_models(first, second, agent, exporters=names, precision="float32", sessions=2)
            for second in (other, first)
        ]
    assert not found.agrees
    assert same.agrees
    assert same.to_dict()["latency"] is None
    assert same.latency == "the two files are the same, byte for byte"


def test_too_few_sessions_are_refused(tmp_path: Path) -> None:
    file = ModelFile(tmp_path / "a.tflite", "0" * 64)
    with LocalAgent() as agent, pytest.raises(ValueError, match="2 sessions"):
        compare_latency(agent, file, replace(file, sha256="1" * 64), sessions=1)
