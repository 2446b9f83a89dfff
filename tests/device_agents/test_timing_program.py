from __future__ import annotations

import ast
import subprocess
import sys

from device_agents.local import TIMING_PROGRAM

ALLOWED = set(sys.stdlib_module_names)


def test_it_is_one_file_in_an_old_python_with_the_standard_library() -> None:
    tree = ast.parse(TIMING_PROGRAM.read_text(), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).partition(".")[0])
    assert imported <= ALLOWED


def test_what_the_runtime_prints_or_reads_stays_out_of_the_protocol() -> None:
    program = (
        "import os, runpy, sys\n"
        "names = runpy.run_path(sys.argv[1])\n"
        "requests, answers = names['take_over_streams']()\n"
        "os.system('echo chatter; cat')\n"
        "os.write(answers, os.read(requests, 100))\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, str(TIMING_PROGRAM)],
        input="request\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == "request\n"
    assert completed.stderr == "chatter\n"


def test_a_request_that_it_does_not_know_is_answered() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", str(TIMING_PROGRAM), "--cpu", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert '"hello": 1' in process.stdout.readline()
        process.stdin.write('{"do": "dance"}\n')
        process.stdin.flush()
        assert "dance" in process.stdout.readline()
    assert process.returncode == 0
