"""TrainingStore: finished trainings in a folder, so that an interrupted comparison goes on.

One ``.npz`` a training, named by a hash of all that decides its result: the network, the
settings, the seed and the images.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import numpy as np

from networks.block_strings import format_network
from networks.cell_strings import format_cell_network
from networks.cells import CellNetwork
from networks.network import ImageNetwork, Network
from search.errors import StoreError
from search.training import TrainedNetwork
from search.training_pool import FinishedTraining, TrainingJob

_STATE = "state:"


class TrainingStore:
    """Trainings on one set of images; ``images`` is a text that tells sets apart."""

    def __init__(self, folder: Path, images: str) -> None:
        self._folder, self._images = folder, images

    def get(self, job: TrainingJob) -> FinishedTraining | None:
        """Return the training of this job, or None if it is not there whole."""
        try:
            with self._file(job).open("rb") as file, np.load(file) as arrays:
                about = json.loads(str(arrays["about"]))
                state = {
                    name.removeprefix(_STATE): arrays[name]
                    for name in arrays.files
                    if name.startswith(_STATE)
                }
                trained = TrainedNetwork(
                    job.network, job.settings, job.seed, state, tuple(arrays["losses"].tolist()),
                    about["wall_s"], about["cpu_s"],
                )  # fmt: skip
                return FinishedTraining(trained, arrays["logits"])
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None

    def put(self, job: TrainingJob, result: FinishedTraining) -> None:
        """Keep a training, whole or not at all.

        Raises:
            StoreError: the folder cannot be written, or the disk is full.
        """
        file = self._file(job)
        draft = file.with_name(f".{os.getpid()}.npz")
        trained = result.trained
        arrays = {_STATE + name: value for name, value in trained.state.items()}
        arrays["losses"], arrays["logits"] = np.array(trained.losses), result.logits
        arrays["about"] = np.array(json.dumps({"wall_s": trained.wall_s, "cpu_s": trained.cpu_s}))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                np.savez(draft, allow_pickle=False, **arrays)
                draft.replace(file)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write {file}: {error.strerror}; make room") from error

    def _file(self, job: TrainingJob) -> Path:
        decides = [self._images, _text(job.network), asdict(job.settings), job.seed]
        return self._folder / f"{sha256(json.dumps(decides).encode()).hexdigest()[:20]}.npz"


def _text(network: ImageNetwork) -> str:
    if isinstance(network, Network):
        return format_network(network)
    assert isinstance(network, CellNetwork)
    return format_cell_network(network)
