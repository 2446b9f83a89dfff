from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.phone_fault_cases import CASES, Case
from benchmarks.phone_faults import Numbers, try_case

# The others are in test_phone.py and in the tests of the transports, or take long
NAMES = (
    "end of a stream in a command",
    "reboot in a push",
    "system update in a run",
    "/data full in a push",
    "battery stays low",
    "clocks stay down unseen",
    "power saver comes on",
    "another harness's tool runs",
    "crash 139, always",
    "killed between push and run",
    "killed while the phone is hot",
    "Ctrl-C while the phone is hot",
)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    """Return what a phone on which nothing goes wrong measures."""
    trial = try_case(Case("none"), tmp_path_factory.mktemp("phone"), {})
    assert trial.is_fine
    return trial.numbers


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_ends_in_a_recovery_or_an_error_and_costs_no_number(
    tmp_path: Path, expected: Numbers, name: str
) -> None:
    (case,) = [case for case in CASES if case.name == name]
    trial = try_case(case, tmp_path, expected)
    assert trial.as_expected, trial.first.error
    assert trial.is_whole, trial.again
    assert trial.invented == 0
    assert trial.unseen <= 1
    assert trial.kept >= trial.kept_first
