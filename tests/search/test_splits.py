"""Splits: laws of each kind, and files that hold a run to its images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data_sources import Raw, parts_of
from search.datasets import load_dataset
from search.errors import DatasetError, StoreError
from search.splits import NAMES, Kind, SplitRule, Splits, find_splits


def raw_images(
    n: int = 60,
    *,
    classes: int = 3,
    test: int = 0,
    groups: npt.NDArray[np.generic] | None = None,
    times: npt.NDArray[np.generic] | None = None,
) -> Raw:
    images = np.random.default_rng(0).random((n, 1, 2, 2)).astype(np.float32)
    return Raw(
        "dots", "dots from a test", tuple("abcdefgh"[:classes]), images,
        np.arange(n) % classes, parts_of(train=n - test, test=test), groups=groups, times=times,
    )  # fmt: skip


@settings(deadline=None)  # the first imports scikit-learn
@given(
    n=st.integers(30, 90),
    test=st.sampled_from([0, 9]),
    kind=st.sampled_from(["random", "temporal", "group"]),
    seed=st.integers(0, 5),
)
def test_every_image_is_in_one_split_and_every_class_trains(
    n: int, test: int, kind: Kind, seed: int
) -> None:
    groups = np.random.default_rng(seed).permutation(n) % 10
    raw = raw_images(n, test=test, groups=groups, times=np.arange(n))
    splits = find_splits(raw, SplitRule(kind, seed=seed))
    together = np.concatenate([getattr(splits, name) for name in NAMES])
    assert sorted(together.tolist()) == list(range(n))
    assert min(len(getattr(splits, name)) for name in NAMES) > 0
    assert len(np.unique(raw.labels[splits.train])) == 3
    if test:
        assert splits.test.tolist() == list(range(n - test, n))


@given(n=st.integers(20, 60), repeats=st.integers(1, 4), as_text=st.booleans())
def test_what_tests_is_newer_than_what_validates_than_what_trains(
    n: int, repeats: int, as_text: bool
) -> None:
    times = np.random.default_rng(n).permutation(n) // repeats
    given_times: npt.NDArray[np.generic] = times.astype(str) if as_text else times
    raw = raw_images(n, times=given_times)
    splits = find_splits(raw, SplitRule("temporal"))
    oldest, middle, newest = (times[getattr(splits, name)] for name in NAMES)
    assert oldest.max() < middle.min()
    assert middle.max() < newest.min()
    assert 0.2 * n <= len(newest) < 0.2 * n + repeats


def test_no_group_is_on_two_sides() -> None:
    groups = np.repeat([f"patient {number}" for number in range(12)], 5)
    splits = find_splits(raw_images(60, groups=groups), SplitRule("group"))
    sides = [set(groups[getattr(splits, name)].tolist()) for name in NAMES]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides)) == 12


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("temporal", raw_images(), r"says no times: expected an array 'times' .* column 'time'"),
        ("group", raw_images(), "says no groups"),
        ("temporal", raw_images(times=np.zeros(60)), "expected images of several times, found one"),
        ("group", raw_images(groups=np.zeros(60)), "expected two groups or more to split, found 1"),
        ("temporal", raw_images(times=np.repeat(np.arange(2), 30)), "several times, found one"),
        (
            "group",
            raw_images(groups=np.arange(60) % 3),
            "1 or more images of each class to train, found 0",
        ),
    ],
)
def test_what_cannot_be_split_says_why(kind: Kind, raw: Raw, expected: str) -> None:
    with pytest.raises(DatasetError, match=expected):
        find_splits(raw, SplitRule(kind))


def test_kept_splits_come_back_and_refuse_other_images_by_name(tmp_path: Path) -> None:
    raw, rule, path = raw_images(), SplitRule(seed=3), tmp_path / "splits.npz"
    drawn = find_splits(raw, rule, path)
    assert not path.exists()
    drawn.save(path)
    kept = find_splits(raw, rule, path)
    assert all(np.array_equal(getattr(drawn, name), getattr(kept, name)) for name in NAMES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["splits.npz"]
    images, labels = raw.images.copy(), raw.labels.copy()
    images[7], labels[7] = 0, labels[7] - 1
    for other, expected in (
        (replace(raw, images=images), "expected its images_sha256 .*, found .* in dots"),
        (replace(raw, labels=labels), "expected its labels_sha256 .*, found .* in dots"),
        (raw_images(61), "expected its images 60, found 61 in dots"),
        (replace(raw, name="spots"), "expected its name dots, found spots in spots"),
    ):
        with pytest.raises(DatasetError, match=expected):
            find_splits(other, rule, path)
    with pytest.raises(DatasetError, match="expected its seed 3, found 4"):
        find_splits(raw, SplitRule(seed=4), path)


def test_kept_indices_are_used_not_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "splits.npz"
    drawn = load_dataset("digits", resolution=8).splits
    assert drawn is not None
    replace(drawn, train=drawn.train[:100]).save(path)
    data = load_dataset("digits", resolution=8, kept=path)
    assert len(data.train) == 100


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "splits.npz"
    find_splits(raw_images(), SplitRule()).save(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"splits.npz is damaged .*; start the run anew"):
        Splits.load(path)


@pytest.mark.parametrize("wrong", [{"kind": "newest"}, {"test_fraction": 0.0}])
def test_a_rule_is_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(DatasetError, match=r"found '?(newest|0\.0)"):
        SplitRule(**wrong)  # type: ignore[arg-type]
