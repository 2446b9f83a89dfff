"""Images in arrays: CIFAR-10's two archives, and .npz files.

CIFAR-10's python version is pickled. A pickle may run code when it is read, so only what those
files hold is allowed: numpy arrays, bytes, text, numbers, lists and dictionaries.

.npz: ``x_train`` and ``y_train``, with ``x_test``, ``y_test``, ``x_val`` and ``y_val`` where they
are split already; or ``images`` and ``labels``. Beside them ``groups`` and ``times``, one for each
image of ``x_train`` or ``images``, and ``classes``, the names. Images are (n, height, width), or
with channels first or last; bytes, or numbers of any scale.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from search.data_sources import Labels, Raw, parts_of
from search.errors import DatasetError
from search.pixels import Pixels

CIFAR_10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_IMAGE_BYTES = 3 * 32 * 32
_MOST_CHANNELS = 16


def find_cifar_10(folder: Path) -> Path | None:
    """Return where CIFAR-10's first batch is: the folder, or the one that its archive makes."""
    for place in (folder, folder / "cifar-10-batches-py", folder / "cifar-10-batches-bin"):
        if any((place / name).is_file() for name in (_BATCHES[0], f"{_BATCHES[0]}.bin")):
            return place
    return None


def load_cifar_10(folder: Path) -> Raw:
    """Return CIFAR-10 from the folder of its batches, python or binary.

    Raises:
        DatasetError: a batch is missing, damaged, or holds something else.
    """
    is_binary = (folder / f"{_BATCHES[0]}.bin").is_file()
    read = _read_binary if is_binary else _read_pickled
    end = ".bin" if is_binary else ""
    batches = [read(folder / f"{name}{end}") for name in (*_BATCHES, "test_batch")]
    n_test = len(batches[-1][1])
    labels = np.concatenate([labels for _, labels in batches])
    return Raw(
        "cifar-10",
        f"CIFAR-10 from {folder}",
        CIFAR_10_CLASSES,
        np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32),
        labels,
        parts_of(train=len(labels) - n_test, test=n_test),
    )


def load_npz(file: Path) -> Raw:
    """Return the images of an .npz file, see the module.

    Raises:
        DatasetError: it cannot be read, or lacks an array.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DatasetError(f"no images found: there is no {file}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{file} is damaged, or holds objects ({error}); save arrays") from error
    train, rest = ("images", "labels"), [("x_val", "y_val"), ("x_test", "y_test")]
    if "x_train" in arrays:
        train = ("x_train", "y_train")
    pairs = [train, *(pair for pair in rest if pair[0] in arrays)]
    if missing := [name for pair in pairs for name in pair if name not in arrays]:
        raise DatasetError(
            f"{file}: expected x_train and y_train, or images and labels; {missing[0]} is missing"
            f" from {', '.join(sorted(arrays)) or 'none'}"
        )
    images = [_images(arrays[name], f"{file}: {name}") for name, _ in pairs]
    if len({(part.dtype, part.shape[1:]) for part in images}) > 1:
        found = ", ".join(f"{part.dtype}{part.shape}" for part in images)
        raise DatasetError(f"{file}: expected images of one shape and type, found {found}")
    labels = [_labels(arrays[name], f"{file}: {name}") for _, name in pairs]
    sizes = {name: len(part) for (name, _), part in zip(pairs, images, strict=True)}
    names = arrays.get("classes")
    highest = max((int(part.max()) for part in labels if part.size), default=0)
    return Raw(
        file.stem,
        str(file),
        tuple(map(str, range(highest + 1) if names is None else names.tolist())),
        images[0] if len(images) == 1 else _joined(images),
        np.concatenate(labels),
        parts_of(
            train=sizes[train[0]], validation=sizes.get("x_val", 0), test=sizes.get("x_test", 0)
        ),
        groups=_padded(arrays.get("groups"), sizes),
        times=_padded(arrays.get("times"), sizes),
    )


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays and plain values, and refuses whatever else a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module.replace("numpy.core", "numpy._core"), name]
        except KeyError:
            raise pickle.UnpicklingError(f"it would run {module}.{name}") from None


def _latin_1(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 pickled as text for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it would decode {encoding}")
    return text.encode("latin1")


_ALLOWED: Mapping[tuple[str, str], object] = {
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin_1,
}


def unpickle_arrays(file: IO[bytes]) -> object:
    """Return what a pickle holds, if that is arrays and plain values.

    Raises:
        pickle.UnpicklingError: it names anything else; nothing of it was run.
    """
    return _ArraysOnly(file, encoding="bytes").load()


def _read_pickled(file: Path) -> tuple[npt.NDArray[np.uint8], Labels]:
    try:
        with file.open("rb") as stream:
            content = unpickle_arrays(stream)
    except FileNotFoundError as error:
        raise DatasetError(f"no images found: expected {file}; unpack the whole archive") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DatasetError(
            f"{file} is not a batch of CIFAR-10: {error}; unpack it again"
        ) from error
    values = content if isinstance(content, dict) else {}
    data, labels = (values.get(key.encode(), values.get(key)) for key in ("data", "labels"))
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape[1:] != (_IMAGE_BYTES,)
        or not isinstance(labels, list)
        or len(labels) != len(data)
        or not all(isinstance(label, int) for label in labels)
    ):
        raise DatasetError(
            f"{file}: expected data, (n, {_IMAGE_BYTES}) bytes, and n labels; unpack it again"
        )
    return data, np.array(labels, np.int64)


def _read_binary(file: Path) -> tuple[npt.NDArray[np.uint8], Labels]:
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise DatasetError(f"no images found: expected {file}; unpack the whole archive") from error
    if content.size == 0 or content.size % (1 + _IMAGE_BYTES):
        raise DatasetError(
            f"{file}: expected records of {1 + _IMAGE_BYTES} bytes, found {content.size} bytes;"
            " unpack it again"
        )
    records = content.reshape(-1, 1 + _IMAGE_BYTES)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _images(values: npt.NDArray[np.generic], what: str) -> Pixels:
    """Return images with channels first."""
    if values.dtype.kind not in "buif" or values.ndim not in (3, 4) or values.size == 0:
        raise DatasetError(
            f"{what}: expected numbers (n, height, width) or with channels first or last, found"
            f" {values.dtype} {values.shape}"
        )
    if values.ndim == 3:
        values = values[:, None]
    elif values.shape[3] <= min(_MOST_CHANNELS, *values.shape[1:3]):
        values = values.transpose(0, 3, 1, 2)
    elif values.shape[1] > _MOST_CHANNELS:
        raise DatasetError(
            f"{what}: expected channels first or last, {_MOST_CHANNELS} at most, found"
            f" {values.shape}"
        )
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values, np.uint8)
    return np.ascontiguousarray(values, np.float32)


def _joined(parts: Sequence[Pixels]) -> Pixels:
    if parts[0].dtype == np.uint8:
        return np.concatenate([part.astype(np.uint8, copy=False) for part in parts])
    return np.concatenate([part.astype(np.float32, copy=False) for part in parts])


def _labels(values: npt.NDArray[np.generic], what: str) -> Labels:
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if flat.dtype.kind not in "iu" or flat.ndim != 1:
        raise DatasetError(
            f"{what}: expected one whole number an image, found {values.dtype} {values.shape}"
        )
    return flat.astype(np.int64)


def _padded(
    values: npt.NDArray[np.generic] | None, sizes: Mapping[str, int]
) -> npt.NDArray[np.generic] | None:
    """Return values of the first images, followed by as many of the last as others need."""
    if values is None or values.ndim != 1 or not values.size:
        return values
    others = list(sizes.values())[1:]
    return np.concatenate([values, values[-1:].repeat(sum(others))])
