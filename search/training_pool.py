"""Trainings spread over worker processes: one thread each, results as they come.

    parent                                   worker (spawned, ignores Ctrl-C)
      job ------------------------------->     train, then classify the evaluation images
      progress, progress, ... <-----------
      FinishedTraining or FailedTraining <-
      job ------------------------------->     ...

A job is taken when a worker is free for it. A worker that dies takes one job with it, which fails
with the way it died, and is replaced. When the iteration ends, is closed or is interrupted, every
worker that trains is ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import torch

from networks.errors import NetworkError
from networks.network import ImageNetwork
from networks.torch_module import GraphModule
from search.datasets import Split
from search.errors import SearchError, TrainingDiverged, TrainingError
from search.stopping import Watch
from search.training import Logits, TrainedNetwork, TrainingSettings, classify_torch, train

PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One network to train from one seed; ``watch`` may end it early, on evaluation images."""

    network: ImageNetwork
    seed: int
    settings: TrainingSettings
    watch: Watch | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FinishedTraining:
    """What a worker sends back: the weights, and the logits of the evaluation images.

    ``curve`` is the watched quality after each epoch but the last, ``stopped`` whether it ended
    the training.
    """

    trained: TrainedNetwork
    logits: Logits
    curve: tuple[float, ...] = ()
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class FailedTraining:
    """A training that gave no network: what happened, in one line."""

    reason: str


class TrainingPool:
    """Worker processes that train networks on one split and classify another.

    Workers start when there is work, stay for the next `run`, and end at `close`; use it in a
    ``with`` statement.

    Args:
        data: images to train on; workers share them, and the evaluation images, through files.
        evaluation: images whose logits each result has.
        workers: how many processes, at one thread each.
        timeout_s: after which a job has failed and its worker is ended.

    Raises:
        TrainingError: there are no workers to train with.
    """

    def __init__(
        self, data: Split, evaluation: Split, *, workers: int = 2, timeout_s: float = 3600.0
    ) -> None:
        if workers < 1:
            raise TrainingError(f"training needs at least one worker, found {workers}")
        self._limit, self._timeout_s = workers, timeout_s
        self._workers: list[_Worker] = []
        self._files = tempfile.TemporaryDirectory(prefix="hilnas-training-")
        self._folder = Path(self._files.name)
        _save(self._folder, "data", data)
        _save(self._folder, "evaluation", evaluation)

    def __enter__(self) -> TrainingPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and remove the files."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._files.cleanup()

    def run(
        self,
        jobs: Sequence[TrainingJob],
        *,
        progress: Callable[[int, float], None] | None = None,
    ) -> Iterator[tuple[int, FinishedTraining | FailedTraining]]:
        """Train every job; yield its index and its result as it comes.

        Args:
            progress: called with a job's index and the share of it that is done.
        """
        return self.stream(iter(enumerate(jobs)), progress=progress)

    def stream(
        self,
        jobs: Iterator[tuple[int, TrainingJob] | None],
        *,
        progress: Callable[[int, float], None] | None = None,
    ) -> Iterator[tuple[int, FinishedTraining | FailedTraining]]:
        """Train jobs as they come; yield the number of each with its result, in any order.

        Args:
            jobs: numbered; taken one by one, when a worker is free. None in the place of a job
                says that the next one needs a result that is under way.
            progress: called with a job's number and the share of it that is done.

        Raises:
            TrainingError: a job needs a result, and nothing is under way.
        """
        needs_result = False
        try:
            while True:
                needs_result = needs_result or self._assign(jobs)
                busy = self._busy
                if not busy and needs_result:
                    raise TrainingError("the next job needs a result, and no job is under way")
                if not busy:
                    return
                ready = wait([worker.connection for worker in busy], timeout=1.0)
                for worker in busy:
                    index, message = worker.index, worker.take(worker.connection in ready)
                    if isinstance(message, float) and progress is not None:
                        progress(index, message)
                    if isinstance(message, FinishedTraining | FailedTraining):
                        needs_result = False
                        yield index, message
        finally:  # a training that nobody waits for any more
            for worker in self._busy:
                worker.end()

    @property
    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.busy]

    def _assign(self, jobs: Iterator[tuple[int, TrainingJob] | None]) -> bool:
        """Give jobs to idle workers, old or new; return whether the next one needs a result."""
        self._workers = [w for w in self._workers if w.busy or w.process.is_alive()]
        while len(self._busy) < self._limit:
            try:
                job = next(jobs)
            except StopIteration:
                return False
            if job is None:
                return True
            self._idle().give(*job)
        return False

    def _idle(self) -> _Worker:
        for worker in self._workers:
            if not worker.busy:
                return worker
        self._workers.append(_Worker(self._folder, self._timeout_s))
        return self._workers[-1]


def train_many(
    jobs: Sequence[TrainingJob],
    data: Split,
    evaluation: Split,
    *,
    workers: int = 2,
    progress: Callable[[int, float], None] | None = None,
) -> Iterator[tuple[int, FinishedTraining | FailedTraining]]:
    """Train every job in a pool of its own; yield index and result as they come."""
    used = max((job.settings.train_images or len(data) for job in jobs), default=0)
    with TrainingPool(data.first(used), evaluation, workers=workers) as pool:
        yield from pool.run(jobs, progress=progress)


class _Worker:
    """The parent's end of one worker process and of the job it has."""

    def __init__(self, folder: Path, timeout_s: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, folder), daemon=True
        )
        self.process.start()
        theirs.close()  # so that the end of the worker is the end of the stream
        self.busy, self.index = False, -1
        self._timeout_s, self._deadline = timeout_s, 0.0

    def give(self, index: int, job: TrainingJob) -> None:
        """Send the next job."""
        self.busy, self.index = True, index
        self._deadline = time.monotonic() + self._timeout_s
        with contextlib.suppress(BrokenPipeError):  # it died: `take` will say how
            self.connection.send(job)

    def take(self, ready: bool) -> float | FinishedTraining | FailedTraining | None:
        """Return what the worker sent, or how it died; None: nothing yet."""
        if not ready:
            if time.monotonic() < self._deadline:
                return None
            self.end()
            return FailedTraining(f"no result within {self._timeout_s:g} s; its worker was ended")
        try:
            message: float | FinishedTraining | FailedTraining = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join(timeout=5.0)  # or its exit code would be that of `end`
            self.end()
            return FailedTraining(f"its worker ended {_how(self.process.exitcode)}")
        self.busy = isinstance(message, float)
        return message

    def end(self) -> None:
        """End the process, whatever it does."""
        self.busy = False
        self.connection.close()
        self.process.kill()
        self.process.join()


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        hint = " (often: out of memory)" if -exit_code == signal.SIGKILL else ""
        return f"by signal {signal.Signals(-exit_code).name}{hint}"
    return f"with exit code {exit_code}"


def _work(connection: Connection, folder: Path) -> None:
    """Be a worker: train what comes until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    data, evaluation = _load(folder, "data"), _load(folder, "evaluation")
    reported = 0.0

    def report(share: float) -> None:
        nonlocal reported
        if time.monotonic() - reported > PROGRESS_INTERVAL_S:
            reported = time.monotonic()
            connection.send(share)

    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            job: TrainingJob = connection.recv()
            connection.send(_run(job, data, evaluation, report))


def _run(
    job: TrainingJob, data: Split, evaluation: Split, progress: Callable[[float], None]
) -> FinishedTraining | FailedTraining:
    curve: list[float] = []
    watch = job.watch

    def look(module: GraphModule) -> bool:
        assert watch is not None
        seen = evaluation.first(watch.images)
        curve.append(watch.metric(classify_torch(module, seen.images), seen.labels))
        return not watch.is_hopeless(curve)

    try:
        trained = train(
            job.network, data, job.settings, seed=job.seed, progress=progress,
            after_epoch=None if watch is None else look,
        )  # fmt: skip
        logits = classify_torch(trained.module(), evaluation.images)
        if not np.isfinite(logits).all():
            raise TrainingDiverged("the trained network gives NaN; lower the learning rate")
    except (SearchError, NetworkError, RuntimeError, MemoryError) as error:
        text = str(error).strip() or "out of memory"
        return FailedTraining(f"{type(error).__name__}: {text.splitlines()[0]}")
    stopped = watch is not None and bool(curve) and watch.is_hopeless(curve)
    return FinishedTraining(trained, logits, tuple(curve), stopped)


def _save(folder: Path, name: str, split: Split) -> None:
    np.save(folder / f"{name}-images.npy", split.images)
    np.save(folder / f"{name}-labels.npy", split.labels)


def _load(folder: Path, name: str) -> Split:
    """Map the split into memory, so that workers share its pages."""
    return Split(
        np.load(folder / f"{name}-images.npy", mmap_mode="c"),
        np.load(folder / f"{name}-labels.npy"),
    )
