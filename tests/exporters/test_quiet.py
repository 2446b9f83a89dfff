from __future__ import annotations

import os
import subprocess
import sys

import pytest

from exporters.errors import UnsupportedOperator
from exporters.quiet import quiet

CHATTER = """
import os, sys
from exporters.errors import UnsupportedOperator
from exporters.quiet import quiet
print("before")
with quiet():
    print("python says")
    os.write(1, b"c++ says\\n")
    os.write(2, b"c++ warns\\n")
    print("python warns", file=sys.stderr)
    {then}
print("after")
"""


def run(then: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", CHATTER.format(then=then)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_nothing_is_heard_of_what_goes_well() -> None:
    done = run("pass")
    assert (done.stdout, done.stderr) == ("before\nafter\n", "")


def test_everything_is_heard_of_what_fails_and_standard_output_stays_clean() -> None:
    done = run("raise ValueError('no such operator')")
    assert done.returncode == 1
    assert done.stdout == "before\n"
    for said in ("python says", "c++ says", "c++ warns", "python warns", "no such operator"):
        assert done.stderr.count(said) == 1


def test_a_known_error_says_all_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        os.write(2, b"chatter")
        raise UnsupportedOperator("Sort has no layer")

    with pytest.raises(UnsupportedOperator), quiet():
        refuse()
    assert capfd.readouterr() == ("", "")


def test_the_streams_are_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(1, b"chatter")
    os.write(1, b"output")
    os.write(2, b"error")
    assert capfd.readouterr() == ("output", "error")
