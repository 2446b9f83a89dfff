"""Data sets: splits that are disjoint, the named sources, and what bad files get."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data_sources import FASHION_MNIST_FOLDER, read_idx
from search.datasets import SearchView, Split, load_dataset
from search.errors import DatasetError
from search.pixels import resize, with_channels
from search.splits import SplitRule

FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def write_idx(path: Path, values: npt.NDArray[np.uint8]) -> None:
    header = b"\0\0\x08" + bytes([values.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(gzip.compress(header + sizes + values.tobytes()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fashion-MNIST's four files with 200 and 50 images; each image's pixels are its number."""
    for part, n in (("train", 200), ("t10k", 50)):
        numbers = np.arange(n, dtype=np.uint8)
        pixels = np.broadcast_to(numbers[:, None, None], (n, 28, 28))
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.ascontiguousarray(pixels))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", numbers % 10)
    return tmp_path


def images_of(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


def test_splits_are_disjoint_stratified_and_complete(folder: Path) -> None:
    data = load_dataset(folder, rule=SplitRule(validation_fraction=0.1))
    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, 50)
    assert not images_of(data.train) & images_of(data.validation)
    assert np.bincount(data.validation.labels).tolist() == [2] * 10
    assert data.source == f"Fashion-MNIST from {folder}"


def test_labels_stay_with_their_images(folder: Path) -> None:
    data = load_dataset(folder, resolution=8)
    for split in (data.train, data.validation, data.test):
        by_brightness = split.images[:, 0, 0, 0].argsort()
        spread = np.diff(split.images[by_brightness, 0, 0, 0])
        numbers = np.round(np.cumsum([0, *spread]) / spread[spread > 0].min()).astype(int)
        first = split.labels[by_brightness[0]]
        assert ((numbers + first) % 10 == split.labels[by_brightness]).all()


def test_one_seed_one_split_another_seed_another(folder: Path) -> None:
    one, same, other = (load_dataset(folder, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.train.images, same.train.images)
    assert not np.array_equal(one.train.labels, other.train.labels)
    assert np.array_equal(one.test.labels, other.test.labels)


def test_a_search_cannot_reach_the_test_images(folder: Path) -> None:
    view = load_dataset(folder).search_view()
    assert isinstance(view, SearchView)
    assert not hasattr(view, "test")


def test_digits_are_normalised_by_the_train_split() -> None:
    data = load_dataset("digits", resolution=16, channels=3)
    assert data.train.images.shape[1:] == (3, 16, 16)
    assert data.train.images.dtype == np.float32
    assert data.train.labels.dtype == np.int64
    assert abs(float(data.train.images.mean())) < 1e-3
    assert abs(float(data.train.images.std()) - 1) < 1e-3
    assert len(data.train) + len(data.validation) + len(data.test) == 1_797


def test_auto_says_what_it_took() -> None:
    expected = "fashion-mnist" if FASHION_MNIST_FOLDER.is_dir() else "digits"
    data = load_dataset(resolution=8)
    assert data.name == expected
    assert data.source.startswith(("Fashion-MNIST from", "digits from scikit-learn"))


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    resolution=st.integers(1, 40),
    seed=st.integers(0, 9),
)
def test_resizing_keeps_means_and_commutes_with_scaling(
    height: int, width: int, resolution: int, seed: int
) -> None:
    images = np.random.default_rng(seed).random((2, 1, height, width)).astype(np.float32)
    resized = resize(images, resolution)
    assert resized.shape == (2, 1, resolution, resolution)
    assert resized.mean() == pytest.approx(images.mean(), rel=1e-4)
    assert np.allclose(resize(images * 2 + 1, resolution), resized * 2 + 1, atol=1e-4)


@given(side=st.integers(1, 12), factor=st.integers(1, 4))
def test_whole_factors_repeat_pixels_and_average_blocks(side: int, factor: int) -> None:
    images = np.random.default_rng(side).random((2, 3, side, side)).astype(np.float32)
    repeated = images.repeat(factor, axis=2).repeat(factor, axis=3)
    np.testing.assert_allclose(resize(images, side * factor), repeated, rtol=1e-6)
    np.testing.assert_allclose(resize(repeated, side), images, rtol=1e-5)


def test_colour_becomes_grey_by_its_luminance_and_grey_is_repeated() -> None:
    colour = np.zeros((1, 3, 2, 2), np.float32)
    colour[0, 1] = 1.0
    grey = with_channels(colour, 1)
    assert grey == pytest.approx(np.full((1, 1, 2, 2), 0.587))
    assert np.array_equal(with_channels(grey, 3), grey.repeat(3, axis=1))
    with pytest.raises(DatasetError, match="expected images of 2 channels, or 1, or 3, found 4"):
        with_channels(np.zeros((1, 4, 2, 2), np.float32), 2)


def test_a_resolution_of_nothing_is_refused() -> None:
    with pytest.raises(DatasetError, match="1 pixel or more, found 0"):
        load_dataset("digits", resolution=0)


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"no images found in .*: expected a sub-folder"
    ) as caught:
        load_dataset(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_one_line() -> None:
    with pytest.raises(DatasetError, match="'fashion' is neither auto, fashion-mnist, digits"):
        load_dataset("fashion")


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    path = folder / f"{name}-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=f"{name}-ubyte.gz is damaged"):
        load_dataset(folder)


@given(content=st.binary(max_size=64))
def test_what_is_no_idx_file_is_refused(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("idx") / "file.gz"
    path.write_bytes(gzip.compress(b"\1" + content))
    with pytest.raises(DatasetError, match="install it again"):
        read_idx(path)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), seed=st.integers(0, 9))
def test_reading_inverts_writing(
    shape: list[int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("idx") / "file.gz"
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    write_idx(path, values)
    assert np.array_equal(read_idx(path), values)
