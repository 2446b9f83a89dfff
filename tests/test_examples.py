"""The examples run, each into a folder of its own; the searcher of one keeps the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from networks.spaces.space import Space
from search.notebook import Run
from search.random_search import RandomSearch
from search.searcher import Searcher
from tests.contracts.searcher_contract import SearcherContract
from tests.search.spaces import ConvSpace

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    """Return an example as a module; it does nothing when it is imported."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_search_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(EXAMPLES / "search.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they are of a machine
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/svg+xml"} <= kinds  # the trials, the front
    assert (tmp_path / "best.tflite").stat().st_size > 1000
    run = Run.load(tmp_path / "runs" / "first")
    trials = run.trials()
    assert len(trials) == 15
    assert trials["latency_ms"].between(trials["low_ms"], trials["high_ms"]).all()
    assert set(trials["early.layers"]) <= {"1", "2", "3"}
    assert run.best is not None
    assert run.best.latency_ms <= (run.result.config.target_ms or 0)
    climber = Run.load(tmp_path / "runs" / "own")
    assert {trial.searcher for trial in climber.result.trials} == {"climber"}


def test_the_searcher_of_the_example_runs(tmp_path: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "own_searcher.py"), str(tmp_path / "runs")]
    first, second = (
        subprocess.run(script, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert first == second  # the second time nothing is searched
    assert "annealing: " in first
    assert "random: " in first


class TestAnnealing(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        made: Searcher = example("own_searcher").Annealing(space, seed=seed)
        return made


def test_annealing_climbs_where_random_networks_do_not_reach() -> None:
    space = ConvSpace(4, 4, 4, 4, 4, 4, 4, 4)  # the options of the best network add up to 25
    best = {}
    for searcher in (example("own_searcher").Annealing(space, seed=0), RandomSearch(space, seed=0)):
        found = []
        for _ in range(40):
            genotypes = searcher.ask(10)
            totals = genotypes.sum(axis=1)
            searcher.tell(genotypes, (totals / 10).tolist())
            found.append(totals.max())
        best[searcher.name] = max(found)
    assert best["annealing"] >= 24 > best["random"]
