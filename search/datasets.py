"""Dataset: labelled images in three locked splits, of which a search sees two.

    Raw --find_splits--> Dataset --search_view()--> SearchView (train, validation) --> evaluators
                            |
                            +---- test ------------------------------------------> finalists, once

The splits are kept with the run, see `search.splits`. Images are normalised by the mean and the
standard deviation of each channel of the train split.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search.data_sources import Labels, Progress, load_raw
from search.errors import DatasetError
from search.pixels import Images, moments, prepare
from search.splits import Indices, SplitRule, Splits, find_splits

__all__ = ["Dataset", "Images", "Labels", "SearchView", "Split", "load_dataset"]


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
    """What a search may use: everything of a data set but its test images.

    ``splits`` are what the run keeps; of the test images they hold the numbers alone.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    splits: Splits | None = None

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return int(self.train.images.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images in three splits; ``source`` says in words where they came from."""

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    splits: Splits | None = None

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return int(self.train.images.shape[1])

    def search_view(self) -> SearchView:
        """Return the train and validation splits, without the test images."""
        return SearchView(
            self.name, self.source, self.classes, self.train, self.validation, self.splits
        )


def load_dataset(
    name: str | Path = "auto",
    *,
    resolution: int = 32,
    channels: int | None = None,
    rule: SplitRule | None = None,
    seed: int | None = None,
    kept: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return a data set in its three splits.

    Args:
        name: ``auto``, or one of the names and paths of `search.data_sources`.
        resolution: height and width in pixels, see `search.pixels.resize`.
        channels: None: those of the images; else grey is repeated, and colour weighed to grey.
        rule: how it is split; None: at random.
        seed: short for a rule with this seed.
        kept: a file of splits that a run keeps; splits are drawn where there is none.
        progress: called with the share of an image folder that was read.

    Raises:
        DatasetError: no images are there, or the name or a file is not right.
        MissingExtra: digits without scikit-learn.
        StoreError: the kept splits cannot be read.
    """
    rule = rule or SplitRule()
    raw = load_raw(name, resolution=resolution, progress=progress)
    splits = find_splits(raw, rule if seed is None else replace(rule, seed=seed), kept)
    mean, std = moments(raw.images[splits.train])

    def split(indices: Indices) -> Split:
        images = prepare(
            raw.images[indices],
            resolution,
            raw.images.shape[1] if channels is None else channels,
            border=raw.border,
            mean=mean,
            std=std,
        )
        return Split(images, np.ascontiguousarray(raw.labels[indices]))

    return Dataset(
        raw.name,
        raw.source,
        raw.classes,
        split(splits.train),
        split(splits.validation),
        split(splits.test),
        splits,
    )
