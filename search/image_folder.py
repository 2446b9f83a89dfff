"""Image folder: PNG and JPEG files, a sub-folder a class.

    FOLDER/CLASS/*.png                          to be split
    FOLDER/{train,val,test}/CLASS/*.jpg         split already; val may be missing, or test
    FOLDER/metadata.csv                         optional: file_name, group, time

Images are resized to squares, each new pixel the mean of the area that it covers. They have one
channel if all files are grey, else three.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from search.data_sources import FREE, TEST, VALIDATION, Parts, Progress, Raw
from search.errors import DatasetError

ENDINGS = (".png", ".jpg", ".jpeg")
METADATA = "metadata.csv"
_PARTS = {"train": FREE, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION,
          "test": TEST}  # fmt: skip
_GREY_16_BITS = ("I;16", "I;16B", "I;16L", "I")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    label: str
    part: int


def holds_classes(folder: Path) -> bool:
    """Return whether a folder has images in sub-folders, or in sub-folders of its parts."""
    return next(_files(folder), None) is not None


def load_image_folder(folder: Path, *, resolution: int, progress: Progress | None = None) -> Raw:
    """Return the images of a folder, see the module.

    Raises:
        DatasetError: an image is damaged (it is named), or the metadata do not fit the files.
    """
    files = sorted(_files(folder), key=lambda file: file.path)
    classes = tuple(sorted({file.label for file in files}))
    images = np.empty((len(files), 3, resolution, resolution), np.uint8)
    digest, is_grey = sha256(), True
    for number, file in enumerate(files):
        try:
            content = file.path.read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                grey, images[number] = _pixels(image, resolution)
        except UnidentifiedImageError as error:
            raise DatasetError(f"{file.path} is no PNG or JPEG; mend or remove it") from error
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DatasetError(f"{file.path} is damaged ({error}); mend or remove it") from error
        is_grey &= grey
        digest.update(f"{file.path.relative_to(folder)}:{len(content)}:".encode() + content)
        if progress is not None:
            progress((number + 1) / len(files))
    groups, times = _metadata(folder, files)
    return Raw(
        folder.resolve().name,
        f"images from {folder}",
        classes,
        images[:, :1].copy() if is_grey else images,
        np.array([classes.index(file.label) for file in files], np.int64),
        _parts(files),
        groups=groups,
        times=times,
        sha256=digest.hexdigest(),
    )


def _files(folder: Path) -> Iterator[_File]:
    """Yield every image; the folder has classes, or parts that have them."""
    parts = [place for place in _folders(folder) if place.name.lower() in _PARTS]
    if any(place.name.lower() == "train" and list(_folders(place)) for place in parts):
        roots = [(place, _PARTS[place.name.lower()]) for place in parts]
    else:
        roots = [(folder, FREE)]
    for root, part in roots:
        for place in _folders(root):
            for path in place.iterdir():
                if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
                    yield _File(path, place.name, part)


def _folders(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith("."))


def _pixels(image: Image.Image, resolution: int) -> tuple[bool, npt.NDArray[np.uint8]]:
    """Return whether an image is grey, and its pixels ``(1 or 3, resolution, resolution)``."""
    if image.mode in _GREY_16_BITS:
        high = np.clip(np.asarray(image, np.int64) >> 8, 0, 255).astype(np.uint8)
        image = Image.fromarray(high)
    is_grey = image.mode in ("1", "L", "LA")
    image = image.convert("L" if is_grey else "RGB")
    small = np.asarray(image.resize((resolution, resolution), Image.Resampling.BOX))
    return is_grey, small[None] if is_grey else small.transpose(2, 0, 1)


def _parts(files: list[_File]) -> Parts:
    return np.array([file.part for file in files], np.int8)


def _metadata(
    folder: Path, files: list[_File]
) -> tuple[npt.NDArray[np.str_] | None, npt.NDArray[np.str_] | None]:
    """Return groups and times of the files, each None where the metadata have no such column."""
    path = folder / METADATA
    if not path.is_file():
        return None, None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or "file_name" not in rows[0]:
        raise DatasetError(f"{path}: expected columns file_name, group, time, found no file_name")
    by_name = {row["file_name"]: row for row in rows}
    found: dict[str, npt.NDArray[np.str_] | None] = {"group": None, "time": None}
    for column in found.keys() & rows[0].keys():
        values = []
        for file in files:
            name = str(file.path.relative_to(folder))
            if not (by_name.get(name) or {}).get(column):
                raise DatasetError(f"{path}: expected a {column} of every image, {name} has none")
            values.append(by_name[name][column])
        found[column] = np.array(values)
    return found["group"], found["time"]
