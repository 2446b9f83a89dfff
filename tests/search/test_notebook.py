"""A search of objects at hand, and its trials as a data frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from networks.network import Network
from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision, Genotypes, Space
from search.errors import EvaluatorError, RunError, RunExists
from search.latency import Latency
from search.notebook import Run
from search.random_search import RandomSearch
from search.rewards import make_reward
from search.trial_frame import frame_trials
from search.trials import Trial
from tests.search.spaces import ConvSpace

SPACE = ConvSpace(4, 3, 4)


def quality(network: Network) -> float:
    if len(network.layers) == 4 and network.layers[-1].kernel == 3:  # type: ignore[union-attr]
        raise ValueError("does not train")
    return network.params / 1e5


def latency_ms(genotypes: Genotypes) -> npt.NDArray[np.float64]:
    return np.asarray(1.0 + genotypes.sum(axis=1) / 2, np.float64)


class Backwards(RandomSearch):
    name = "backwards"

    def propose(self, n: int) -> Genotypes:
        return super().propose(n)[::-1].copy()


def search(out: Path, **changes: object) -> Run:
    settings: dict[str, object] = {"target_ms": 4.0, "searcher": "random", "budget": 30, "out": out}
    return Run.search(SPACE, latency_ms, quality, **{**settings, **changes})  # type: ignore[arg-type]


def test_the_trials_are_a_data_frame(tmp_path: Path) -> None:
    run = search(tmp_path / "run")
    frame = run.trials()
    assert list(frame.columns[:7]) == [
        "number", "batch", "first", "choice0", "choice1", "choice2", "choice3"
    ]  # fmt: skip
    for (_, row), trial in zip(frame.iterrows(), run.result.trials, strict=True):
        chosen = [int(row[d.name]) for d in SPACE.decisions]
        assert tuple(chosen) == trial.canonical
        assert row["seed"] == trial.seed
        assert row["asked"].timestamp() == pytest.approx(trial.asked_unix_s)
        if isinstance(trial, Trial):
            assert (row["quality"], row["latency_ms"]) == (trial.quality, trial.latency_ms)
            assert pd.isna(row["reason"])
        else:
            assert np.isnan([row["quality"], row["latency_ms"], row["reward"]]).all()
            assert "does not train" in row["reason"]
    assert 0 < frame["quality"].isna().sum() < len(frame)


def test_costs_and_intervals_have_columns() -> None:
    space = DecisionSpace("table", [Decision("quality", ("low", "high")), Decision("op", ("a",))])
    first = Trial(
        number=0, batch=0, first=0, genotype=(1, 0), canonical=(1, 0), hash="x", seed=1,
        searcher="random", quality=0.5, latency_ms=2.0, reward=0.4, seconds=1.0,
        latency_std_ms=0.1, costs={"params": 7.0}, asked_unix_s=5.0,
    )  # fmt: skip
    second = replace(first, number=1, latency_std_ms=None)
    frame = frame_trials([first, second], space)
    assert list(frame["decision.quality"]) == ["high", "high"]
    assert list(frame["quality"]) == [0.5, 0.5]
    assert list(frame["params"]) == [7.0, 7.0]
    assert frame["low_ms"][0] == pytest.approx(2.0 - 0.16449, abs=1e-4)
    assert np.isnan(frame["high_ms"][1])
    assert len(frame_trials([], space)) == 0


def test_running_the_cell_again_goes_on(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", budget=50)
    first = search(tmp_path / "run")
    assert search(tmp_path / "run").result.trials == first.result.trials
    assert search(tmp_path / "run", budget=50).result.trials == whole.result.trials


def test_another_search_needs_a_directory_of_its_own(tmp_path: Path) -> None:
    search(tmp_path / "run")
    with pytest.raises(RunExists, match="whose seed is 0, found 1; choose another directory"):
        search(tmp_path / "run", seed=1)

    def quality(network: Network) -> float:
        return 1.0

    with pytest.raises(RunExists, match="whose evaluator is function:quality:"):
        Run.search(
            SPACE, latency_ms, quality,
            target_ms=4.0, searcher="random", budget=30, out=tmp_path / "run",
        )  # fmt: skip


def test_a_searcher_of_ones_own(tmp_path: Path) -> None:
    run = search(tmp_path / "run", searcher=Backwards)
    assert {trial.searcher for trial in run.result.trials} == {"backwards"}
    asked = [trial.genotype for trial in run.result.trials[:10]]
    assert asked == list(map(tuple, RandomSearch(SPACE, seed=0).ask(10)[::-1].tolist()))
    assert search(tmp_path / "run", searcher=Backwards).result.trials == run.result.trials


def test_a_latency_may_be_a_source_or_a_function_of_networks(tmp_path: Path) -> None:
    class Source:
        name, is_measured = "mine", False

        def latencies(self, genotypes: Genotypes) -> list[Latency]:
            return [Latency(1.0 + float(row.sum()), 0.1) for row in genotypes]

    def layers(network: Network) -> float:
        return float(len(network.layers))

    one = Run.search(SPACE, Source(), quality, target_ms=4.0, budget=20, out=tmp_path / "one")
    assert one.best is not None
    assert one.best.latency_std_ms == 0.1
    two = Run.search(SPACE, layers, quality, target_ms=3.0, budget=20, out=tmp_path / "two")
    assert two.best is not None
    assert two.best.latency_ms == len(SPACE.decode(two.best.canonical).layers) == 3


def test_limits_and_other_rewards(tmp_path: Path) -> None:
    run = search(
        tmp_path / "run", target_ms=None, reward=make_reward("hard", target_ms=4.0),
        limits={"latency_ms": 3.0},
    )  # fmt: skip
    assert run.best is not None
    assert run.best.latency_ms <= 3.0
    with pytest.raises(RunError, match="expected target_ms, or a reward, found neither"):
        search(tmp_path / "none", target_ms=None)
    with pytest.raises(RunError, match="found both"):
        search(tmp_path / "both", reward=make_reward("hard", target_ms=4.0))


def test_a_run_is_loaded_with_its_decisions_and_with_its_space(tmp_path: Path) -> None:
    run = search(tmp_path / "run")
    alone = Run.load(tmp_path / "run")
    assert alone.result == run.result
    assert alone.trials().equals(run.trials())
    with pytest.raises(RunError, match=r"give it: Run\.load\(run, space\)"):
        alone.export(tmp_path / "best.tflite")
    whole = Run.load(tmp_path / "run", SPACE)
    assert whole.export(tmp_path / "best.tflite").params > 0
    assert run.best is not None
    assert whole.network() == SPACE.decode(run.best.canonical) == whole.network(run.best.number)
    with pytest.raises(RunError, match="no trial has the number 99, of 30"):
        whole.network(99)
    with pytest.raises(RunError, match="not this space"):
        Run.load(tmp_path / "run", ConvSpace(4, 3, 5))


def test_pictures_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = search(None)  # type: ignore[arg-type]
    assert run.plot_front()._repr_svg_().startswith("<svg")
    assert f"{run.result.run}: 30 proposals" in repr(run)
    assert run.result.run.name.startswith("hilnas-run-")
    assert "none meets the target" in repr(search(tmp_path / "run", target_ms=0.5))


def test_a_space_without_networks_takes_no_function_of_them() -> None:
    space: Space = DecisionSpace("table", [Decision("op", ("a", "b"))])
    with pytest.raises(EvaluatorError, match="takes a network, but table has decisions alone"):
        Run.search(space, latency_ms, quality, target_ms=4.0)
