"""Metrics against slow loops, class weights, and names that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.class_weights import parse_class_weights
from search.errors import EvaluatorError, TrainingError
from search.metrics import Metric, make_metric, recalls

CLASSES = ("good", "scratch", "dent")


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=30),
    seed=st.integers(0, 9),
)
def test_metrics_equal_the_slow_loop(labels: list[int], seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype(np.float32)
    right = [int(np.argmax(row)) == label for row, label in zip(logits, labels, strict=True)]
    by_class = {
        label: sum(r for r, own in zip(right, labels, strict=True) if own == label)
        / labels.count(label)
        for label in set(labels)
    }
    targets = np.array(labels)
    assert Metric()(logits, targets) == pytest.approx(sum(right) / len(right))
    balanced = sum(by_class.values()) / len(by_class)
    assert Metric("balanced-accuracy")(logits, targets) == pytest.approx(balanced)
    assert recalls(logits, targets) == pytest.approx(by_class)
    for label, expected in by_class.items():
        metric = make_metric(f"recall:{CLASSES[label]}", CLASSES, targets)
        assert metric(logits, targets) == pytest.approx(expected)


def test_a_classifier_that_only_knows_the_frequent_class_is_no_better_than_chance() -> None:
    logits = np.tile(np.array([1, 0, 0], np.float32), (10, 1))
    labels = np.array([0] * 8 + [1, 2])
    assert Metric()(logits, labels) == 0.8
    assert Metric("balanced-accuracy")(logits, labels) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f1", "accuracy, balanced-accuracy or recall:CLASS, found 'f1'"),
        ("recall:", "found 'recall:'"),
        ("recall:scrach", "no class is named 'scrach'; .*scratch"),
        ("recall:dent", "expected validation images of 'dent', found none"),
    ],
)
def test_what_is_no_metric_says_so(name: str, expected: str) -> None:
    with pytest.raises(EvaluatorError, match=expected):
        make_metric(name, CLASSES, np.array([0, 1]))


@given(labels=st.lists(st.integers(0, 2), min_size=3, max_size=40).filter(lambda x: len({*x}) == 3))
def test_balanced_weights_give_each_class_the_same_sum(labels: list[int]) -> None:
    weights = parse_class_weights("balanced", CLASSES, labels)
    sums = [weight * labels.count(label) for label, weight in enumerate(weights)]
    assert sums == pytest.approx([len(labels) / 3] * 3)


def test_weights_come_in_order_or_by_name() -> None:
    assert parse_class_weights("1, 2,0.5", CLASSES, [0]) == (1.0, 2.0, 0.5)
    assert parse_class_weights("dent=5, scratch=2", CLASSES, [0]) == (1.0, 2.0, 5.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2", "expected 3 numbers, balanced, or NAME=NUMBER, found '1,2'"),
        ("1,2,-1", "greater than 0, found '-1'"),
        ("1,2,x", "greater than 0, found 'x'"),
        ("dents=2", "no class is named 'dents'; .*dent"),
        ("dent=nan", "greater than 0, found 'nan'"),
    ],
)
def test_weights_that_cannot_be(text: str, expected: str) -> None:
    with pytest.raises(TrainingError, match=expected):
        parse_class_weights(text, CLASSES, [0, 1, 2])
