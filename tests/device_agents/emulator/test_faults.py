from __future__ import annotations

import pytest

from device_agents.emulator.faults import Faults, FaultScriptError, parse_fault, parse_script

SCRIPT = """
[[fault]]
when = "shell 3"
do = "drop"
after_bytes = 1000

[[fault]]
when = "run 2+"
do = "slow 1.5"
after_s = 0.5

[[fault]]
when = "run"
do = "crash 139"
"""


def test_a_script() -> None:
    drop, slow, crash = parse_script(SCRIPT)
    assert (drop.event, drop.number, drop.onwards) == ("shell", 3, False)
    assert (drop.action, drop.after_bytes) == ("drop", 1000)
    assert (slow.number, slow.onwards, slow.value, slow.after_s) == (2, True, 1.5, 0.5)
    assert (crash.number, crash.is_of_tool, slow.is_of_tool) == (1, True, False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[[fault]]\nwhen = 'shell 3'", "fault 1: expected when and do"),
        ("[[fault]]\nwhen = 'shell 0'\ndo = 'drop'", "'shell 0'"),
        ("[[fault]]\nwhen = 'shell'\ndo = 'explode'", "'explode'"),
        ("[[fault]]\nwhen = 'shell'\ndo = 'crash 139'", "expected when = 'run"),
        ("[[fault]]\nwhen = 'run'\ndo = 'crash 1'", "'crash 1'"),
        ("[[fault]]\nwhen = 'run'\ndo = 'hang'\nafter = 1", "'after'"),
        ("[[fault]]\nwhen = 'run'\ndo = 'hang'\nafter_s = '1'", "'after_s'"),
        ("[[fault]]\nwhen = 'run'\ndo = 'drop'\nafter_bytes = -1", "from 0 on"),
        ("fault = 1", "expected only"),
        ("[[faults]]", "expected only"),
        ("when shell 3 do drop", "TOML"),
    ],
)
def test_what_is_no_script(text: str, found: str) -> None:
    with pytest.raises(FaultScriptError) as caught:
        parse_script(text)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_events_are_counted_apart() -> None:
    faults = Faults((parse_fault("run 2", "hang"), parse_fault("shell 2+", "drop")))
    assert faults.happen("shell") == []
    assert faults.happen("run") == []
    assert [f.action for f in faults.happen("run")] == ["hang"]
    assert faults.happen("run") == []
    assert [f.action for f in faults.pending] == ["drop"]
    assert [[f.action for f in faults.happen("shell")] for _ in range(2)] == [["drop"], ["drop"]]
    assert faults.pending == ()
    assert [f.action for f in faults.happened] == ["hang", "drop", "drop"]


def test_the_next_one() -> None:
    faults = Faults()
    faults.happen("push")
    faults.add_next("push", "stall 1")
    assert [f.argument for f in faults.happen("push")] == ["1"]
    assert faults.happen("push") == []
