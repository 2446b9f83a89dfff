from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_agents.board import BoardAgent
from device_agents.measurement import Agent, ModelFile
from device_agents.transports.local import LocalTransport
from tests.contracts.agent_contract import AgentContract
from tests.device_agents.models import write_model


class TestBoardAgent(AgentContract):
    @pytest.fixture
    def agent(self, tmp_path: Path) -> Iterator[Agent]:
        with BoardAgent(
            LocalTransport(),
            state_folder=tmp_path / "state",
            python=sys.executable,
            folder=str(tmp_path / "board"),
        ) as opened:
            yield opened

    @pytest.fixture
    def models(self, tmp_path: Path) -> list[ModelFile]:
        return [write_model(tmp_path, "dense", "convolution", seed=seed) for seed in range(3)]

    @pytest.fixture
    def refused_model(self, tmp_path: Path) -> ModelFile:
        return write_model(tmp_path, "cumulative-sum")
