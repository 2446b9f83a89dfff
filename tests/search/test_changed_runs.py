"""A run goes on only with what it was made with: its space, latency and reward, unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from networks.layers import Conv
from search.errors import NotARun
from search.latency import FunctionLatency
from search.run import resume
from search.searchers import make_searcher
from search.space_record import recorded_space
from tests.search.spaces import SIDE, Additive, ConvSpace
from tests.search.test_run import SPACE, go_on, run


class Widened(ConvSpace):
    """The same decisions, of layers with other kernels."""

    def _layer(self, option: int) -> Conv:
        return Conv(SIDE, SIDE.channels, kernel=2 * option + 3)


def test_a_space_that_was_changed_does_not_continue_a_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    more = ConvSpace(4, 3, 5)
    for space, message in (
        (more, "choice3: expected the options 0, 1, 2, 3, found 0, 1, 2, 3, 4; undo"),
        (ConvSpace(4, 3), "expected 4 decisions, found 3"),
        (Widened(*SPACE.sizes[1:]), "the decisions are the same, the layers of their networks are"),
    ):
        space.name = SPACE.name  # as that of a file that was edited
        evaluator, made = Additive(space), make_searcher("random", space, seed=3)
        with pytest.raises(NotARun, match=message):
            resume(tmp_path / "run", space, evaluator.latency_ms, evaluator, made)
    assert len(go_on(tmp_path / "run").trials) == 60


def test_the_decisions_lie_in_the_run_as_a_space_file(tmp_path: Path) -> None:
    run(tmp_path / "run")
    assert recorded_space(tmp_path / "run").decisions == SPACE.decisions


def test_another_latency_does_not_continue_a_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    evaluator, made = Additive(SPACE), make_searcher("random", SPACE, seed=3)
    other = FunctionLatency(evaluator.latency_ms, "table:other")
    with pytest.raises(NotARun, match="its latency is 'function', found 'table:other'; undo"):
        resume(tmp_path / "run", SPACE, other, evaluator, made)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"target_ms" = 50', '"target_ms" = 40'),
        ('"kind" = "absolute"', '"kind" = "hard"'),
        ("[limits]", '[limits]\n"params" = 1000'),
    ],
)
def test_a_reward_edited_by_hand_does_not_continue_a_run(
    tmp_path: Path, old: str, new: str
) -> None:
    run(tmp_path / "run")
    file = tmp_path / "run" / "run.toml"
    whole = file.read_text()
    file.write_text(whole.replace(old, new))
    assert file.read_text() != whole
    with pytest.raises(
        NotARun, match=r"its \d+ networks were judged by, found others in run\.toml"
    ):
        go_on(tmp_path / "run")
    file.write_text(whole)
    assert len(go_on(tmp_path / "run").trials) == 60


def test_a_run_of_an_earlier_version_is_continued(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", stop_after=20)
    file = tmp_path / "run" / "run.toml"
    kept = [line for line in file.read_text().split("\n") if "sha256" not in line]
    file.write_text(
        "\n".join(line for line in kept if not line.startswith('"latency" = "function"'))
    )
    (tmp_path / "run" / "space.toml").unlink()
    assert go_on(tmp_path / "run").trials == whole.trials


def test_a_value_out_of_range_is_reported_with_its_file(tmp_path: Path) -> None:
    run(tmp_path / "run")
    file = tmp_path / "run" / "run.toml"
    file.write_text(file.read_text().replace('"budget" = 60', '"budget" = "x"'))
    with pytest.raises(
        NotARun, match=r"run\.toml: budget is a whole number of at least 1, found 'x'"
    ):
        go_on(tmp_path / "run")
