"""The median rule, and the log that lets a run that was killed apply it again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import EvaluatorError, StoreError
from search.metrics import Metric
from search.stopping import LEAST_CURVES, MedianStop, Watch
from search.training_log import LoggedTraining, TrainingLog

curves = st.lists(
    st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=LEAST_CURVES, max_size=12
)


@given(curves=curves, quantile=st.floats(0.05, 0.95))
def test_floors_are_quantiles_of_the_best_so_far(
    curves: list[list[float]], quantile: float
) -> None:
    rule = MedianStop(quantile, under_way=1)
    for number, curve in enumerate(curves):
        rule.add(number, curve)
    for epoch, floor in enumerate(rule.floors(len(curves))):
        best = sorted(max(curve[: epoch + 1]) for curve in curves if len(curve) > epoch)
        if len(best) < LEAST_CURVES:
            assert floor == -math.inf
        else:
            share_below = sum(value < floor for value in best) / len(best)
            assert floor in best
            assert share_below <= quantile


@given(curves=curves, under_way=st.integers(1, 6), order=st.randoms(use_true_random=False))
def test_floors_depend_on_what_was_told_not_on_when_it_ended(
    curves: list[list[float]], under_way: int, order: object
) -> None:
    number = len(curves)
    in_order, shuffled = (MedianStop(0.5, under_way=under_way) for _ in range(2))
    numbers = list(range(number))
    order.shuffle(numbers)  # type: ignore[attr-defined]
    for index in range(number):
        if index <= number - under_way:  # what is under way has not ended here, and has there
            in_order.add(index, curves[index])
    for index in numbers:
        shuffled.add(index, curves[index])
    assert in_order.floors(number) == shuffled.floors(number)


@given(batch=st.integers(1, 7), lookahead=st.integers(1, 4), last=st.integers(1, 7))
def test_what_is_compared_with_was_told_before_also_after_a_partial_batch(
    batch: int, lookahead: int, last: int
) -> None:
    sizes = [batch, batch, min(last, batch), *[batch] * 8]  # a budget that was raised later
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for index, size in enumerate(sizes):
        told = starts[max(0, index - lookahead + 1)]
        for number in range(int(starts[index]), int(starts[index]) + size):
            assert number - batch * lookahead < max(told, 1)


def test_the_best_epoch_counts_and_a_tie_goes_on() -> None:
    watch = Watch(Metric(), 10, (0.2, 0.5))
    assert watch.is_hopeless([0.1])
    assert not watch.is_hopeless([0.2])
    assert not watch.is_hopeless([0.6, 0.3])
    assert watch.is_hopeless([0.3, 0.4])
    assert not watch.is_hopeless([0.0, 0.0, 0.0])  # no floor for a third epoch


@pytest.mark.parametrize(("quantile", "under_way"), [(0.0, 1), (1.0, 1), (0.5, 0)])
def test_a_rule_that_cannot_be(quantile: float, under_way: int) -> None:
    with pytest.raises(EvaluatorError, match=f"found {quantile} and {under_way}"):
        MedianStop(quantile, under_way=under_way)


ENTRY = LoggedTraining(3, (0.25, 0.5), True, {"accuracy": 0.5, "recall:a b": 1.0})


@given(cut=st.integers(1, 60))
def test_a_line_that_was_cut_off_is_as_good_as_none(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "trainings.jsonl"
    log = TrainingLog(path)
    log.append(ENTRY)
    log.append(ENTRY)
    path.write_bytes(path.read_bytes()[:-cut])
    again = TrainingLog(path)
    assert again.trainings == [ENTRY]
    again.append(ENTRY)
    assert TrainingLog(path).trainings == [ENTRY, ENTRY]


def test_another_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "trainings.jsonl"
    path.write_text('{"number": 1}\n')
    with pytest.raises(StoreError, match=r"trainings.jsonl is no log of trainings \('curve'\)"):
        TrainingLog(path)
