"""Image folders: classes, parts, colours, sizes, metadata, and what is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data_sources import FREE, TEST, VALIDATION
from search.datasets import load_dataset
from search.errors import DatasetError
from search.image_folder import holds_classes, load_image_folder
from search.splits import SplitRule, identify


def write(path: Path, value: int, *, mode: str = "L", size: tuple[int, int] = (20, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour: int | tuple[int, ...] = value if mode in ("L", "I;16") else (value, 0, 255)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten grey images of each of two classes; each image's pixels are its number."""
    for number in range(20):
        write(tmp_path / ("bad", "good")[number % 2] / f"{number:02}.png", 10 * number)
    return tmp_path


def test_a_sub_folder_is_a_class_and_grey_files_have_one_channel(folder: Path) -> None:
    (folder / "good" / "notes.txt").write_text("no image")
    (folder / "good" / "._01.png").write_text("what a Mac leaves")
    raw = load_image_folder(folder, resolution=4)
    assert raw.classes == ("bad", "good")
    assert raw.images.shape == (20, 1, 4, 4)
    assert raw.images[:, 0, 0, 0].tolist() == [*range(0, 200, 20), *range(10, 200, 20)]
    assert raw.labels.tolist() == [0] * 10 + [1] * 10


def test_one_colour_file_makes_three_channels(folder: Path) -> None:
    write(folder / "good" / "20.jpeg", 128, mode="RGB")
    raw = load_image_folder(folder, resolution=4)
    assert raw.images.shape == (21, 3, 4, 4)
    assert np.abs(raw.images[-1, :, 0, 0] - np.array([128, 0, 255])).max() <= 2
    assert load_dataset(folder, resolution=4, channels=1).channels == 1


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    write(tmp_path / "a" / "deep.png", 0x80FF, mode="I;16")
    assert load_image_folder(tmp_path, resolution=2).images[0, 0, 0, 0] == 0x80


def test_a_pixel_is_the_mean_of_its_area(tmp_path: Path) -> None:
    rows = np.repeat([[0, 100], [200, 40]], 8, axis=0).repeat(8, axis=1).astype(np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(rows).save(tmp_path / "a" / "0.png")
    assert load_image_folder(tmp_path, resolution=2).images[0, 0].tolist() == [[0, 100], [200, 40]]
    assert load_image_folder(tmp_path, resolution=1).images.ravel().tolist() == [85]


def test_train_val_and_test_stay_what_they_are(tmp_path: Path) -> None:
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        for label in ("bad", "good"):
            for number in range(n):
                write(tmp_path / part / label / f"{number}.png", 20 * number)
    raw = load_image_folder(tmp_path, resolution=4)
    assert raw.classes == ("bad", "good")
    assert np.bincount(raw.parts, minlength=3)[[FREE, VALIDATION, TEST]].tolist() == [8, 4, 6]
    data = load_dataset(tmp_path, resolution=4)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 4, 6)


def test_groups_and_times_come_from_the_metadata(folder: Path) -> None:
    rows = [f"{path.relative_to(folder)},{int(path.stem) % 5},2024-01-{1 + int(path.stem):02}"
            for path in folder.glob("*/*.png")]  # fmt: skip
    (folder / "metadata.csv").write_text("\n".join(["file_name,group,time", *rows]))
    newest = load_dataset(folder, resolution=4, rule=SplitRule("temporal", test_fraction=0.25))
    oldest = newest.train.images.max()
    assert newest.validation.images.min() > oldest
    assert newest.test.images.min() > newest.validation.images.max()
    assert len(newest.test) == 5
    (folder / "metadata.csv").write_text("\n".join(["file_name,group", *rows[:-1]]))
    with pytest.raises(DatasetError, match=r"metadata.csv: expected a group of every image, .*png"):
        load_dataset(folder, resolution=4)
    (folder / "metadata.csv").write_text("name,group\n1,2\n")
    with pytest.raises(DatasetError, match="found no file_name"):
        load_dataset(folder, resolution=4)


def test_the_files_identify_the_images_whatever_the_resolution(folder: Path) -> None:
    one, other = (identify(load_image_folder(folder, resolution=r)) for r in (2, 4))
    assert one == other
    write(folder / "bad" / "00.png", 1)
    assert identify(load_image_folder(folder, resolution=4)) != one


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n\0\0"])
def test_a_damaged_image_is_named(folder: Path, content: bytes) -> None:
    (folder / "good" / "07.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"good/07.png is (damaged|no PNG)"):
        load_dataset(folder)


def test_a_cut_off_image_is_named(folder: Path) -> None:
    path = folder / "bad" / "08.jpg"
    write(path, 7, size=(200, 200))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"bad/08.jpg is damaged"):
        load_dataset(folder)


def test_a_class_with_too_few_images_is_named(folder: Path) -> None:
    write(folder / "odd" / "0.png", 1)
    with pytest.raises(DatasetError, match=r"3 or more images of each class .* found 1 of 'odd'"):
        load_dataset(folder, resolution=4)


def test_progress_ends_at_one(folder: Path) -> None:
    shares: list[float] = []
    load_image_folder(folder, resolution=2, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_folder_of_files_holds_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "0.png", 1)
    assert not holds_classes(tmp_path)
