"""Dataset: labelled images in three locked splits, of which a search sees two.

    Dataset  --search_view()-->  SearchView (train, validation)  -->  evaluators
       |
       +------ test ------------------------------------------->  finalists, once

The splits are drawn by a seed, stratified by class, and are the same for the same source, seed
and sizes. Test images come from the publisher's own test set where there is one.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.errors import DatasetError, MissingExtra

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
_INSTALL = "install the Debian package dataset-fashion-mnist or give its folder"


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images ``(n, channels, height, width)``, normalised, and their labels ``(n,)``."""

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise DatasetError(
                "a split has images (n, channels, height, width) and n labels,"
                f" found {self.images.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int) -> Split:
        """Return the first ``n``; splits are shuffled, so this is a random subset."""
        return Split(self.images[:n], self.labels[:n])


@dataclass(frozen=True, slots=True, eq=False)
class SearchView:
    """What a search may use: everything of a data set but its test images."""

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    validation: Split


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images in three splits; ``source`` says in words where they came from."""

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    def search_view(self) -> SearchView:
        """Return the train and validation splits, without the test images."""
        return SearchView(self.name, self.source, self.classes, self.train, self.validation)


@dataclass(frozen=True, slots=True)
class _Raw:
    """Images as published, ``(n, height, width)`` in [0, 1]; ``test`` None: none published."""

    name: str
    source: str
    classes: tuple[str, ...]
    images: Images
    labels: Labels
    test: tuple[Images, Labels] | None


def load_dataset(
    name: str | Path = "auto",
    *,
    resolution: int = 32,
    channels: int = 1,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Dataset:
    """Return a data set, its splits locked by ``seed``.

    Args:
        name: ``fashion-mnist``, ``digits`` (scikit-learn's), a folder of Fashion-MNIST's four
            idx.gz files, or ``auto``: the first of these that this machine has.
        resolution: height and width in pixels. Fashion-MNIST's 28 are padded to 32, digits' 8
            repeated to 32; other resolutions follow from 32 by whole factors.
        channels: 1, or more: the grey channel repeated.
        validation_fraction: of the images that are not test, at least one a class.
        test_fraction: of all images, where the publisher sets no test images apart.

    Raises:
        DatasetError: no images are there, or the name, resolution or a file is not right.
        MissingExtra: digits without scikit-learn.
    """
    raw = _load(name)
    images, labels, held_out = raw.images, raw.labels, raw.test
    rng = np.random.default_rng(seed)
    if held_out is None:
        rest, chosen = _stratify(labels, test_fraction, rng)
        held_out = images[chosen], labels[chosen]
        images, labels = images[rest], labels[rest]
    train, validation = _stratify(labels, validation_fraction, rng)
    mean, std = float(images[train].mean()), float(images[train].std())

    def split(pixels: Images, targets: Labels) -> Split:
        sized = resize((pixels - np.float32(mean)) / np.float32(std), resolution)
        stacked = np.repeat(sized[:, None], channels, axis=1)
        return Split(np.ascontiguousarray(stacked), targets)

    return Dataset(
        raw.name,
        raw.source,
        raw.classes,
        split(images[train], labels[train]),
        split(images[validation], labels[validation]),
        split(*held_out),
    )


def resize(images: Images, resolution: int) -> Images:
    """Return images ``(n, side, side)`` at ``resolution`` by repeating or averaging pixels.

    Sides that are no power of two are first padded to the next one with the border's pixels.

    Raises:
        DatasetError: the resolution is no whole multiple or fraction of that side.
    """
    side = images.shape[-1]
    padded = 1 << (side - 1).bit_length()
    before, after = (padded - side) // 2, (padded - side + 1) // 2
    images = np.pad(images, ((0, 0), (before, after), (before, after)), mode="edge")
    if resolution >= padded and resolution % padded == 0:
        factor = resolution // padded
        return images.repeat(factor, axis=1).repeat(factor, axis=2)
    if 0 < resolution < padded and padded % resolution == 0:
        factor = padded // resolution
        blocks = images.reshape(len(images), resolution, factor, resolution, factor)
        averaged: Images = blocks.mean(axis=(2, 4), dtype=np.float32)
        return averaged
    raise DatasetError(
        f"resolution is a whole multiple or fraction of {padded} pixels, found {resolution};"
        " use 8, 16, 32 or 64"
    )


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of an idx.gz file of unsigned bytes (MNIST's format).

    Raises:
        DatasetError: the file is missing, damaged, or holds something else.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError as error:
        raise DatasetError(f"no images found: expected {path}; {_INSTALL}") from error
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} is damaged ({error}); install it again") from error
    rank = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    shape = tuple(int(n) for n in np.frombuffer(content[4 : 4 + 4 * rank], ">u4"))
    data = np.frombuffer(content[4 + 4 * rank :], np.uint8)
    if rank == 0 or len(shape) != rank or data.size != math.prod(shape):
        raise DatasetError(f"{path} is not an idx file of bytes, or is cut off; install it again")
    return data.reshape(shape)


def _load(name: str | Path) -> _Raw:
    if str(name) == "auto":
        return _fashion_mnist() if FASHION_MNIST_FOLDER.is_dir() else _digits()
    if str(name) in _SOURCES:
        return _SOURCES[str(name)]()
    if Path(name).is_dir():
        return _fashion_mnist(Path(name))
    raise DatasetError(
        f"no images found: {str(name)!r} is neither auto, {', '.join(_SOURCES)}, nor a folder"
    )


def _fashion_mnist(folder: Path = FASHION_MNIST_FOLDER) -> _Raw:
    def read(part: str) -> tuple[Images, Labels]:
        pixels = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
        if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
            raise DatasetError(
                f"{folder}: expected {part} images (n, height, width) and n labels,"
                f" found {pixels.shape} and {labels.shape}"
            )
        if labels.max(initial=0) >= len(FASHION_MNIST_CLASSES):
            raise DatasetError(f"{folder}: expected {part} labels 0-9, found {labels.max()}")
        return pixels.astype(np.float32) / np.float32(255), labels.astype(np.int64)

    images, labels = read("train")
    return _Raw(
        "fashion-mnist", f"Fashion-MNIST from {folder}", FASHION_MNIST_CLASSES, images, labels,
        read("t10k"),
    )  # fmt: skip


def _digits() -> _Raw:
    try:
        import sklearn
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("the digits data set", "scikit-learn") from error
    digits = load_digits()
    return _Raw(
        "digits",
        f"digits from scikit-learn {sklearn.__version__}",
        tuple(str(digit) for digit in range(10)),
        digits.images.astype(np.float32) / np.float32(16),
        digits.target.astype(np.int64),
        None,
    )


_SOURCES: dict[str, Callable[[], _Raw]] = {"fashion-mnist": _fashion_mnist, "digits": _digits}


def _stratify(
    labels: Labels, fraction: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return shuffled indices of the rest and of ``fraction`` of every class."""
    if not 0 < fraction < 1:
        raise DatasetError(f"a fraction lies between 0 and 1, found {fraction}")
    chosen: list[npt.NDArray[np.intp]] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: max(1, round(fraction * len(members)))])
    taken = rng.permutation(np.concatenate(chosen))
    rest = rng.permutation(np.setdiff1d(np.arange(len(labels)), taken))
    return rest, taken
