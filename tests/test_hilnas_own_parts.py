"""Parts of a user's own, from the command line as it is installed: a script in another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from networks.spaces import find_space
from search.random_search import RandomSearch
from search.run import load

ROOT = Path(__file__).parent.parent
SPACE = """
name = "table"
[[decision]]
name = "operator"
options = ["conv", "pool", "skip"]
[[decision]]
name = "width"
options = ["8", "16", "24"]
"""
STUDY = "operator,width,accuracy,latency_ms\n" + "".join(
    f"{operator},{width},{0.1 * i + 0.01 * j},{1 + i + j}\n"
    for i, operator in enumerate(("conv", "pool", "skip"))
    for j, width in enumerate(("8", "16", "24"))
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a space and a study."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hilnas").write_text("from hilnas import main\nmain()\n")
    (tmp_path / "mine.toml").write_text(SPACE)
    (tmp_path / "study.csv").write_text(STUDY)
    return tmp_path


def hilnas(
    folder: Path, *arguments: str, packages: Path | None = None
) -> subprocess.CompletedProcess[str]:
    paths = [str(path) for path in (ROOT, packages) if path is not None]
    return subprocess.run(
        [sys.executable, str(folder / "bin" / "hilnas"), "search", *arguments],
        cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip


def test_a_searcher_that_a_package_registers(folder: Path) -> None:
    packages = folder / "packages"
    info = packages / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "theirs.py").write_text(
        "from search.random_search import RandomSearch\n\n\n"
        "class Theirs(RandomSearch):\n    name = 'theirs'\n\n\n"
        "def make(space, *, preset, seed):\n    return Theirs(space, seed=seed + 1)\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hilnas.searchers]\ntheirs = theirs:make\n")
    about = ["--space", "mine.toml", "--latency", "csv", "--evaluator", "csv:study.csv"]
    about += ["--target-ms", "3", "--searcher", "theirs", "--budget", "12", "--out", "run"]
    done = hilnas(folder, *about, "--json", packages=packages)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == 12
    asked = np.array([trial.genotype for trial in load(folder / "run").trials])
    wanted = RandomSearch(find_space(str(folder / "mine.toml")), seed=1)
    assert np.array_equal(asked, np.concatenate([wanted.ask(10), wanted.ask(2)]))
    gone = hilnas(folder, "--resume", "run")
    assert gone.returncode == 1
    assert "no searcher is named 'theirs'" in gone.stderr


def test_an_evaluator_in_the_folder_where_one_stands(folder: Path) -> None:
    (folder / "scale.py").write_text("factor = 0.1\n")
    (folder / "mymodule.py").write_text(
        "from scale import factor\n\n\ndef quality(genotype):\n    return factor * genotype.sum()\n"
    )
    about = ["--space", "mobile-cnn", "--resolution", "32", "--latency", "madds"]
    about += ["--target-ms", "5", "--searcher", "random", "--budget", "12", "--out", "run"]
    done = hilnas(folder, *about, "--evaluator", "mymodule:quality")
    assert done.returncode == 0, done.stderr
    assert "12 proposals" in done.stdout
    absent = hilnas(folder, *about[:-1], "other", "--evaluator", "mymodul:quality")
    assert absent.returncode == 1
    assert "expected mymodul.py in this folder, or installed" in absent.stderr
    assert absent.stderr.count("\n") == 1


def test_a_function_of_networks(folder: Path) -> None:
    (folder / "sizes.py").write_text("def quality(network):\n    return network.params / 1e8\n")
    about = ["--space", "mobile-cnn", "--resolution", "32", "--latency", "madds"]
    about += ["--target-ms", "5", "--searcher", "random", "--budget", "4", "--out", "sized"]
    done = hilnas(folder, *about, "--evaluator", "sizes:quality")
    assert done.returncode == 0, done.stderr
    assert "4 proposals" in done.stdout


def test_files_of_the_folder_take_no_librarys_place(folder: Path) -> None:
    for name in ("typer", "random", "yaml", "search", "statistics"):
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    done = hilnas(folder, "--help")
    assert done.returncode == 0, done.stderr
    assert "--evaluator" in done.stdout
