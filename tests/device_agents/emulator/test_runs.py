"""The emulated phone's record of the timing tool's processes."""

from __future__ import annotations

import time
from pathlib import Path

from tests.device_agents.models import write_model
from tests.device_agents.phones import ONCE, agent_for, emulated_phone


def test_each_process_of_the_tool_is_on_record_when_it_has_ended(tmp_path: Path) -> None:
    models = [write_model(tmp_path, "dense", "convolution", width=64, seed=n) for n in range(3)]
    with emulated_phone(tmp_path) as phone, agent_for(phone, tmp_path) as agent:
        began = time.time()
        visits = list(agent.measure(models, ONCE))
        ended = time.time()
        runs = phone.runs.ended
    assert len(runs) == len(visits) == len({run.pid for run in runs}) == 3
    assert all(run.started_unix_s < run.loaded_unix_s < run.ended_unix_s for run in runs)
    starts = [run.started_unix_s for run in runs]
    assert starts == sorted(starts)  # one after the other
    assert began < starts[0]
    assert runs[-1].ended_unix_s < ended
