"""Splits: which images train, validate and test; drawn once, then kept with the run.

random     shuffled, with each class's share in every split
temporal   the newest images test, the next newest validate; no time is on two sides
group      no group (a patient, a machine, a scene) is on two sides

What the publisher set apart stays apart. A file of splits names the images by their sha256, so that
a run goes on with the images that it began with, or not at all.
"""

from __future__ import annotations

import json
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from search.data_sources import FREE, TEST, VALIDATION, Labels, Raw
from search.errors import DatasetError, MissingExtra, StoreError

Indices = npt.NDArray[np.intp]
Kind = Literal["random", "temporal", "group"]
NAMES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How images are split; fractions are of those that the publisher left together.

    Args:
        seed: of the order; it is no run's seed: runs that are compared share their splits.
        validation_fraction: of the images that are not test.
        test_fraction: of all images, where the publisher sets no test images apart.

    Raises:
        DatasetError: no such kind, or a fraction outside (0, 1).
    """

    kind: Kind = "random"
    seed: int = 0
    validation_fraction: float = 0.1
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise DatasetError(f"a split is random, temporal or group, found {self.kind!r}")
        for fraction in (self.validation_fraction, self.test_fraction):
            if not 0 < fraction < 1:
                raise DatasetError(f"a fraction lies between 0 and 1, found {fraction}")


@dataclass(frozen=True, slots=True)
class DataIdentity:
    """What tells one set of images from another."""

    name: str
    images: int
    images_sha256: str
    labels_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Indices of the images of each split, and of which images under which rule."""

    train: Indices
    validation: Indices
    test: Indices
    rule: SplitRule
    data: DataIdentity

    def save(self, path: Path) -> None:
        """Write an .npz file, whole or not at all.

        Raises:
            StoreError: it cannot be written.
        """
        about = json.dumps({"rule": asdict(self.rule), "data": asdict(self.data)})
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with draft.open("wb") as stream:
                arrays = {name: getattr(self, name) for name in NAMES}
                np.savez(stream, allow_pickle=False, about=np.array(about), **arrays)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; make room") from error

    def keep(self, path: Path) -> None:
        """Save these splits, or check that those there are the same.

        Raises:
            DatasetError: they are of other images or by another rule.
            StoreError: the file cannot be read or written.
        """
        if not path.is_file():
            self.save(path)
            return
        kept = Splits.load(path)
        kept.check(self.data, self.rule, path)
        if not all(np.array_equal(getattr(self, name), getattr(kept, name)) for name in NAMES):
            raise DatasetError(
                f"{path} splits {self.data.name} otherwise, by the same rule; load the data with"
                " the splits that the run keeps"
            )

    @classmethod
    def load(cls, path: Path) -> Splits:
        """Return the splits of a file.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                indices = {name: arrays[name].astype(np.intp) for name in NAMES}
            rule, data = SplitRule(**about["rule"]), DataIdentity(**about["data"])
        except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise StoreError(f"{path} is damaged ({error}); start the run anew") from error
        return cls(**indices, rule=rule, data=data)

    def check(self, data: DataIdentity, rule: SplitRule, path: Path) -> None:
        """Check that these splits are of these images by this rule.

        Raises:
            DatasetError: they are of others; what differs is named.
        """
        pairs = {**asdict(self.data), **asdict(self.rule)}, {**asdict(data), **asdict(rule)}
        for name, expected in pairs[0].items():
            if (found := pairs[1][name]) != expected:
                raise DatasetError(
                    f"{path} splits {self.data.name}: expected its {name} {_short(expected)},"
                    f" found {_short(found)} in {data.name}; go on with the images and the split"
                    " that the run began with, or start a new run"
                )


def identify(raw: Raw) -> DataIdentity:
    """Return what tells these images from others."""
    images = raw.sha256 or _sha256(raw.images)
    return DataIdentity(raw.name, len(raw.labels), images, _sha256(raw.labels))


def find_splits(raw: Raw, rule: SplitRule, path: Path | None = None) -> Splits:
    """Return the splits that are kept at ``path``, or else draw them.

    Raises:
        DatasetError: those kept are of other images, or these cannot be split so.
    """
    data = identify(raw)
    if path is not None and path.is_file():
        kept = Splits.load(path)
        kept.check(data, rule, path)
        return kept
    return _draw(raw, rule, data)


def _draw(raw: Raw, rule: SplitRule, data: DataIdentity) -> Splits:
    rng = np.random.default_rng(rule.seed)
    free, validation, test = (
        np.flatnonzero(raw.parts == part) for part in (FREE, VALIDATION, TEST)
    )
    _check_classes(raw, free, needed=1 + (not len(validation)) + (not len(test)))
    if not len(test):
        free, test = _SPLITTERS[rule.kind](raw, free, rule.test_fraction, rng)
    if not len(validation):
        free, validation = _SPLITTERS[rule.kind](raw, free, rule.validation_fraction, rng)
    else:
        free = rng.permutation(free)
    _check_classes(raw, free, needed=1)
    return Splits(free, validation, test, rule, data)


def stratify(labels: Labels, fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Return shuffled indices of the rest and of ``fraction`` of every class, at least one."""
    chosen: list[Indices] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: max(1, round(fraction * len(members)))])
    taken = rng.permutation(np.concatenate(chosen))
    rest = rng.permutation(np.setdiff1d(np.arange(len(labels)), taken))
    return rest, taken


def _random(
    raw: Raw, free: Indices, fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    rest, taken = stratify(raw.labels[free], fraction, rng)
    return free[rest], free[taken]


def _temporal(
    raw: Raw, free: Indices, fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    times = _comparable(_known(raw, "times")[free])
    found, counts = np.unique(times, return_counts=True)
    newer = np.cumsum(counts[::-1])[::-1]  # images of each time or a newer one
    cut = max(1, int(np.flatnonzero(newer >= fraction * len(free))[-1]))
    if len(found) < 2:
        raise DatasetError(f"{raw.source}: expected images of several times, found one")
    is_new = times >= found[cut]
    return rng.permutation(free[~is_new]), rng.permutation(free[is_new])


def _group(
    raw: Raw, free: Indices, fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError as error:
        raise MissingExtra("a split by groups", "scikit-learn") from error
    groups = _known(raw, "groups")[free]
    n_groups = len(np.unique(groups))
    most = min(n_groups, int(np.bincount(raw.labels[free]).max()))
    folds = min(max(2, round(1 / fraction)), most)
    if folds < 2:
        raise DatasetError(f"{raw.source}: expected two groups or more to split, found {n_groups}")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes rarer than folds are as they are
        rest, taken = next(splitter.split(groups, raw.labels[free], groups))
    return rng.permutation(free[rest]), rng.permutation(free[taken])


_SPLITTERS: Mapping[
    str,
    Callable[[Raw, Indices, float, np.random.Generator], tuple[Indices, Indices]],
] = {"random": _random, "temporal": _temporal, "group": _group}


def _known(raw: Raw, name: Literal["groups", "times"]) -> npt.NDArray[np.generic]:
    values: npt.NDArray[np.generic] | None = getattr(raw, name)
    if values is None:
        raise DatasetError(
            f"{raw.source} says no {name}: expected an array {name!r} in the .npz, or a column"
            f" {name[:-1]!r} in metadata.csv; or choose a random split"
        )
    return values


def _comparable(times: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return times that sort by age: numbers written as text become numbers."""
    if times.dtype.kind not in "US":
        return times
    try:
        return times.astype(np.float64)
    except ValueError:
        return times


def _check_classes(raw: Raw, train: Indices, *, needed: int) -> None:
    counts = np.bincount(raw.labels[train], minlength=len(raw.classes))
    rare = int(counts.argmin())
    if counts[rare] < needed:
        raise DatasetError(
            f"{raw.source}: expected {needed} or more images of each class to train"
            f"{' and split' if needed > 1 else ''}, found {counts[rare]} of"
            f" {raw.classes[rare]!r}; add images, or leave the class out"
        )


def _sha256(values: npt.NDArray[np.generic]) -> str:
    digest = sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
