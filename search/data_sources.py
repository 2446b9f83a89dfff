"""Raw: labelled images as somebody published them, and the sources by name or path.

fashion-mnist        the Debian package, or a folder with its four idx.gz files
digits               scikit-learn's
FOLDER of CIFAR-10   the python batches of the official archive, or the binary ones
FOLDER of images     a sub-folder a class, see `search.image_folder`
FILE.npz             arrays, see `search.image_arrays`
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.errors import DatasetError, MissingExtra
from search.pixels import Pixels

Labels = npt.NDArray[np.int64]
Parts = npt.NDArray[np.int8]
Progress = Callable[[float], None]

FREE, VALIDATION, TEST = 0, 1, 2
"""What the publisher says an image is for."""
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
_INSTALL = "install the Debian package dataset-fashion-mnist or give its folder"


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Images ``(n, channels, height, width)``, and what is known of each of them.

    Args:
        labels: ``(n,)``, indices into ``classes``.
        parts: ``(n,)``, FREE, VALIDATION or TEST.
        border: edge pixels to add on each side before images are resized.
        groups: ``(n,)``, equal where images must stay on one side of a split; None: unknown.
        times: ``(n,)``, what orders images by age; None: unknown.
        sha256: of the files that the images came from; None: the pixels tell.

    Raises:
        DatasetError: arrays that do not fit each other, pixels that are no numbers, labels
            outside the classes.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    images: Pixels
    labels: Labels
    parts: Parts
    border: int = 0
    groups: npt.NDArray[np.generic] | None = None
    times: npt.NDArray[np.generic] | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 4 or n == 0:
            raise DatasetError(
                f"{self.source}: expected images (n, channels, height, width), found"
                f" {self.images.shape}"
            )
        for name in ("labels", "parts", "groups", "times"):
            values = getattr(self, name)
            if values is not None and values.shape != (n,):
                raise DatasetError(
                    f"{self.source}: expected one of {name} for each of {n} images, found"
                    f" {values.shape}"
                )
        if self.images.dtype != np.uint8:
            _check_finite(self.images, self.source)
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            bad = low if low < 0 else high
            raise DatasetError(
                f"{self.source}: expected labels 0 to {len(self.classes) - 1}, found {bad} at"
                f" image {int(np.flatnonzero(self.labels == bad)[0])}"
            )


def load_raw(name: str | Path, *, resolution: int, progress: Progress | None = None) -> Raw:
    """Return the images of a source, see the module; folders of images at this resolution.

    Args:
        name: also ``auto``: Fashion-MNIST where its package is installed, else digits.
        progress: called with the share of the files that were read.

    Raises:
        DatasetError: there are none, or they are damaged (the file is named).
        MissingExtra: digits without scikit-learn.
    """
    from search.image_arrays import find_cifar_10, load_cifar_10, load_npz
    from search.image_folder import holds_classes, load_image_folder

    if str(name) == "auto":
        return load_fashion_mnist() if FASHION_MNIST_FOLDER.is_dir() else load_digits()
    if str(name) in _NAMED:
        return _NAMED[str(name)]()
    path = Path(name)
    if path.suffix == ".npz":
        return load_npz(path)
    if not path.is_dir():
        raise DatasetError(
            f"no images found: {str(name)!r} is neither auto, {', '.join(_NAMED)}, a file .npz,"
            " nor a folder"
        )
    if list(path.glob("*-idx3-ubyte.gz")):
        return load_fashion_mnist(path)
    if batches := find_cifar_10(path):
        return load_cifar_10(batches)
    if holds_classes(path):
        return load_image_folder(path, resolution=resolution, progress=progress)
    raise DatasetError(
        f"no images found in {path}: expected a sub-folder of PNG or JPEG files a class, CIFAR-10's"
        " data_batch_1 to 5, or idx.gz files; name the folder that holds them"
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


def load_fashion_mnist(folder: Path = FASHION_MNIST_FOLDER) -> Raw:
    """Return Fashion-MNIST; its 28 pixels get a border to 32."""
    (images, labels), (test_images, test_labels) = (
        _read_idx_pair(folder, part) for part in ("train", "t10k")
    )
    return Raw(
        "fashion-mnist",
        f"Fashion-MNIST from {folder}",
        FASHION_MNIST_CLASSES,
        np.concatenate([images, test_images])[:, None],
        np.concatenate([labels, test_labels]),
        parts_of(train=len(labels), test=len(test_labels)),
        border=2,
    )


def load_digits() -> Raw:
    """Return scikit-learn's digits, 8 pixels a side.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        import sklearn
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise MissingExtra("the digits data set", "scikit-learn") from error
    digits = load()
    return Raw(
        "digits",
        f"digits from scikit-learn {sklearn.__version__}",
        tuple(str(digit) for digit in range(10)),
        digits.images.astype(np.float32)[:, None],
        digits.target.astype(np.int64),
        parts_of(train=len(digits.target)),
    )


def parts_of(*, train: int, validation: int = 0, test: int = 0) -> Parts:
    """Return the parts of that many images, in this order."""
    return np.repeat(np.array([FREE, VALIDATION, TEST], np.int8), [train, validation, test])


def _read_idx_pair(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], Labels]:
    pixels = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
        raise DatasetError(
            f"{folder}: expected {part} images (n, height, width) and n labels,"
            f" found {pixels.shape} and {labels.shape}"
        )
    return pixels, labels.astype(np.int64)


def _check_finite(images: Pixels, source: str) -> None:
    for number, image in enumerate(images):
        if not np.isfinite(image).all():
            raise DatasetError(f"{source}: expected numbers, found NaN or inf in image {number}")


_NAMED: Mapping[str, Callable[[], Raw]] = {
    "fashion-mnist": load_fashion_mnist,
    "digits": load_digits,
}
