"""CIFAR-10's two archives, pickles that would run code, and .npz files good and bad."""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from search.data_sources import TEST, VALIDATION
from search.datasets import load_dataset
from search.errors import DatasetError
from search.image_arrays import find_cifar_10, load_cifar_10, load_npz, unpickle_arrays

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
Arrays = dict[str, npt.NDArray[Any]]


def records(batch: int, n: int = 30) -> tuple[npt.NDArray[np.uint8], list[int]]:
    rng = np.random.default_rng(batch)
    return rng.integers(0, 256, (n, 3072), np.uint8), [number % 10 for number in range(n)]


def write_pickles(folder: Path, *, protocol: int = 2) -> None:
    folder.mkdir()
    for index, name in enumerate(BATCHES):
        data, labels = records(index)
        content = {b"batch_label": b"a batch", b"data": data, b"labels": labels}
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))


def write_binaries(folder: Path) -> None:
    folder.mkdir()
    for index, name in enumerate(BATCHES):
        data, labels = records(index)
        rows = np.concatenate([np.array(labels, np.uint8)[:, None], data], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())


@pytest.mark.parametrize("protocol", [2, 4])
def test_both_archives_hold_the_same_images(tmp_path: Path, protocol: int) -> None:
    write_pickles(tmp_path / "cifar-10-batches-py", protocol=protocol)
    write_binaries(tmp_path / "bin")
    place = find_cifar_10(tmp_path)
    assert place == tmp_path / "cifar-10-batches-py"
    pickled, binary = load_cifar_10(place), load_cifar_10(tmp_path / "bin")
    assert np.array_equal(pickled.images, binary.images)
    assert np.array_equal(pickled.labels, binary.labels)
    assert pickled.images.shape == (180, 3, 32, 32)
    assert np.array_equal(pickled.images[0, 0, 0], records(0)[0][0, :32])  # red, first row
    assert np.flatnonzero(pickled.parts == TEST).tolist() == list(range(150, 180))


def test_cifar_is_in_colour_and_its_test_images_are_the_publishers(tmp_path: Path) -> None:
    write_binaries(tmp_path / "bin")
    data = load_dataset(tmp_path / "bin", resolution=16)
    assert (data.name, data.channels, len(data.test)) == ("cifar-10", 3, 30)
    assert data.train.images.shape[1:] == (3, 16, 16)
    assert np.abs(data.train.images.mean(axis=(0, 2, 3))).max() < 1e-3


class Dangerous:
    """What a pickle that runs a command looks like: it would make this file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path, protocol: int) -> None:
    write_pickles(tmp_path / "py")
    dangerous = pickle.dumps(Dangerous(tmp_path / "ran"), protocol=protocol)
    (tmp_path / "py" / "data_batch_3").write_bytes(dangerous)
    with pytest.raises(DatasetError, match=r"data_batch_3 is not a batch .* it would run .*system"):
        load_cifar_10(tmp_path / "py")
    assert not (tmp_path / "ran").exists()


def test_plain_values_are_read_and_codecs_other_than_latin_1_are_not() -> None:
    plain, array = [1, 2.5, b"text"], np.arange(6, dtype=np.uint8).reshape(2, 3)
    read = unpickle_arrays(io.BytesIO(pickle.dumps({b"a": plain, b"b": array}, protocol=2)))
    assert isinstance(read, dict)
    assert read[b"a"] == plain
    assert np.array_equal(read[b"b"], array)
    zipped = b"\x80\x02c_codecs\nencode\nU\x01xU\x03zip\x86R."
    with pytest.raises(pickle.UnpicklingError, match="would decode"):
        unpickle_arrays(io.BytesIO(zipped))


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    write_pickles(tmp_path / "py")
    write_binaries(tmp_path / "bin")
    (tmp_path / "py" / "test_batch").unlink()
    with pytest.raises(DatasetError, match=r"expected .*test_batch; unpack the whole"):
        load_cifar_10(tmp_path / "py")
    (tmp_path / "py" / "test_batch").write_bytes(pickle.dumps({b"data": [1], b"labels": [1]}))
    with pytest.raises(DatasetError, match=r"test_batch: expected data, \(n, 3072\) bytes"):
        load_cifar_10(tmp_path / "py")
    (tmp_path / "bin" / "data_batch_2.bin").write_bytes(b"\0" * 3000)
    with pytest.raises(DatasetError, match=r"data_batch_2.bin: .* found 3000 bytes"):
        load_cifar_10(tmp_path / "bin")


def arrays(n: int = 40, **others: npt.NDArray[Any]) -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), np.uint8)
    return {"images": images, "labels": np.arange(n) % 2, **others}


def saved(folder: Path, content: Arrays) -> Path:
    np.savez(folder / "mine.npz", allow_pickle=False, **content)
    return folder / "mine.npz"


def test_channels_come_first_wherever_they_were(tmp_path: Path) -> None:
    content = arrays()
    last = load_npz(saved(tmp_path, content)).images
    first = load_npz(saved(tmp_path, content | {"images": content["images"].transpose(0, 3, 1, 2)}))
    assert last.shape == (40, 3, 8, 8)
    assert np.array_equal(last, first.images)
    grey = load_npz(saved(tmp_path, content | {"images": content["images"][..., 0]}))
    assert np.array_equal(grey.images[:, 0], last[:, 0])


def test_splits_of_the_file_are_kept(tmp_path: Path) -> None:
    images = arrays()["images"]
    labels = np.arange(40) % 2
    content = {"x_train": images, "y_train": labels[:, None], "x_test": images[:4] / 255.0,
               "y_test": labels[:4], "x_val": images[:6], "y_val": labels[:6],
               "classes": np.array(["good", "bad"])}  # fmt: skip
    with pytest.raises(DatasetError, match=r"one shape and type, found uint8.*float32"):
        load_npz(saved(tmp_path, content))
    raw = load_npz(saved(tmp_path, content | {"x_test": images[:4]}))
    assert raw.classes == ("good", "bad")
    assert [int((raw.parts == part).sum()) for part in (VALIDATION, TEST)] == [6, 4]
    data = load_dataset(tmp_path / "mine.npz", resolution=8)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 6, 4)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"pictures": np.zeros(1)}, "images is missing from pictures"),
        ({"x_train": np.zeros((4, 8, 8))}, "y_train is missing"),
        (arrays(labels=np.arange(40) % 2 - 1), "expected labels 0 to 0, found -1 at image 0"),
        (arrays(classes=np.array(["only"])), "expected labels 0 to 0, found 1 at image 1"),
        (arrays(labels=np.arange(39) % 2), r"one of labels for each of 40 images, found \(39,\)"),
        (arrays(labels=np.zeros(40)), "one whole number an image, found float64"),
        (arrays(images=np.full((40, 8, 8), np.nan)), "found NaN or inf in image 0"),
        (arrays(images=np.zeros((40, 8, 8))), "the same value in every pixel"),
        (arrays(images=np.zeros((40, 32, 32, 32))), r"16 at most, found \(40, 32, 32, 32\)"),
        (arrays(images=np.array(["text"] * 40)), r"expected numbers \(n, height, width\)"),
        (arrays(labels=np.minimum(np.arange(40), 1)), "3 or more images of each class .* found 1"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: Arrays, expected: str) -> None:
    with pytest.raises(DatasetError, match=expected) as caught:
        load_dataset(saved(tmp_path, content), resolution=8)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_damaged_or_holds_objects(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    with pytest.raises(DatasetError, match=f"there is no {re.escape(str(file))}"):
        load_dataset(file)
    file.write_bytes(b"PK\3\4 and no more")
    with pytest.raises(DatasetError, match=r"mine.npz is damaged"):
        load_dataset(file)
    np.savez(file, images=np.array([Dangerous(tmp_path / "ran")], dtype=object))
    with pytest.raises(DatasetError, match=r"mine.npz is damaged, or holds objects"):
        load_dataset(file)
    assert not (tmp_path / "ran").exists()
