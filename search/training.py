"""TrainedNetwork: a network's weights after a short, seeded training in torch on one thread.

    Network, Split, TrainingSettings, seed  --train-->  TrainedNetwork  --module()-->  GraphModule

SGD with Nesterov momentum, label smoothing, linear warm-up, then a cosine to zero. The schedule
follows progress in [0, 1], which is steps done over steps planned or, under a time budget, time
spent over time allowed, whichever is further: a training that runs out of time still ends with
its learning rate at zero. Without a time budget one seed gives one result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from networks.cells import CellNetwork
from networks.graph import Add, Convolution
from networks.network import ImageNetwork
from networks.torch_module import GraphModule
from search.datasets import Images, Labels, Split
from search.drop_path import ScheduledDropPath
from search.errors import TrainingDiverged, TrainingError
from search.single_thread import single_thread

Logits = npt.NDArray[np.float32]
State = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a network is trained.

    Args:
        epochs: passes over the training images, fractions allowed.
        train_images: how many of the training images are used; None: all.
        batch: images a step.
        learning_rate: its peak, after ``warmup`` of the whole progress.
        label_smoothing: share of the target spread over all classes.
        batch_norm_momentum: share of the newest batch in the running statistics; a training of
            some hundred steps needs more than the 0.01 of a long one.
        time_budget_s: wall time after which it ends, in order; None: steps alone decide.
        class_weights: what an image of each class counts in the loss; None: all the same.
        drop_path_keep: in networks of cells, the share of the last cell's paths that is kept at
            the end, see `search.drop_path`; 1: all.
    """

    epochs: float = 2.0
    train_images: int | None = None
    batch: int = 64
    learning_rate: float = 0.05
    warmup: float = 0.3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    batch_norm_momentum: float = 0.1
    time_budget_s: float | None = None
    class_weights: tuple[float, ...] | None = None
    drop_path_keep: float = 1.0

    def __post_init__(self) -> None:
        limits = (self.epochs, self.learning_rate, self.time_budget_s or 1.0)
        if not all(math.isfinite(limit) and limit > 0 for limit in limits):
            raise TrainingError(f"epochs, learning rate and time are greater than 0, found {self}")
        if self.batch < 2 or (self.train_images is not None and self.train_images < 2):
            raise TrainingError(f"batch norm needs batches of 2 or more images, found {self}")
        shares = (self.warmup, self.momentum, self.label_smoothing, self.batch_norm_momentum)
        if not all(0 <= share < 1 for share in shares):
            raise TrainingError(f"a share lies in [0, 1), found {self}")
        if not 0 < self.drop_path_keep <= 1:
            raise TrainingError(f"a share that is kept lies in (0, 1], found {self}")

    def steps(self, n_images: int) -> int:
        """Return the number of steps planned for so many training images."""
        return max(1, math.ceil(self.epochs * self.steps_an_epoch(n_images)))

    def steps_an_epoch(self, n_images: int) -> int:
        """Return the number of full batches of so many training images, one at least."""
        used = min(n_images, self.train_images or n_images)
        return max(1, used // min(self.batch, used))

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate at a progress in [0, 1]: up in a line, down by a cosine."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        fall = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, fall)))


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A network with the weights that one training gave it.

    ``state`` is the module's state by name, ``losses`` the training loss of each step,
    ``cpu_s`` the thread's CPU seconds.
    """

    network: ImageNetwork
    settings: TrainingSettings
    seed: int
    state: State
    losses: tuple[float, ...]
    wall_s: float
    cpu_s: float

    def module(self) -> GraphModule:
        """Return a torch module with these weights, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            module = GraphModule(self.network.graph())
        module.load_state_dict({name: torch.tensor(value) for name, value in self.state.items()})
        return module.eval()


def train(
    network: ImageNetwork,
    data: Split,
    settings: TrainingSettings,
    *,
    seed: int,
    progress: Callable[[float], None] | None = None,
    after_epoch: Callable[[GraphModule], bool] | None = None,
) -> TrainedNetwork:
    """Return the network trained on ``data`` by ``settings``; one seed, one result.

    Args:
        seed: fixes the initial weights and the order of the images.
        progress: called after each step with the share done, in [0, 1].
        after_epoch: called after each epoch but the last; the training ends where it returns
            False. It may leave the module in evaluation mode.

    Raises:
        TrainingError: the images or labels do not fit the network.
        TrainingDiverged: the loss was no longer finite.
    """
    _check_fit(network, data, settings)
    images = torch.from_numpy(data.images)[: settings.train_images]
    labels = torch.from_numpy(data.labels)[: settings.train_images]
    batches = _batches(len(labels), min(settings.batch, len(labels)), np.random.default_rng(seed))
    n_steps, per_epoch = settings.steps(len(data)), settings.steps_an_epoch(len(data))
    losses: list[float] = []
    started, started_cpu = time.perf_counter(), time.thread_time()

    with single_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trainer = _Trainer(network, settings)
        for step in range(n_steps):
            spent = time.perf_counter() - started
            share = max(step / n_steps, spent / (settings.time_budget_s or math.inf))
            if share >= 1:
                break
            chosen = next(batches)
            losses.append(trainer.step(images[chosen], labels[chosen], share, 1 / n_steps / 2))
            if not math.isfinite(losses[-1]):
                raise TrainingDiverged(
                    f"the loss is {losses[-1]} at step {step + 1} of {n_steps};"
                    f" lower the learning rate of {settings.learning_rate:g}"
                )
            if progress is not None:
                progress(max(share, (step + 1) / n_steps))
            ends_epoch = (step + 1) % per_epoch == 0 and step + 1 < n_steps
            if ends_epoch and after_epoch is not None and not after_epoch(trainer.module):
                break
        state = {name: tensor.numpy() for name, tensor in trainer.module.state_dict().items()}
    return TrainedNetwork(
        network, settings, seed, state, tuple(losses),
        time.perf_counter() - started, time.thread_time() - started_cpu,
    )  # fmt: skip


class _Trainer:
    """A new module and what changes its weights."""

    def __init__(self, network: ImageNetwork, settings: TrainingSettings) -> None:
        self.module = GraphModule(network.graph(), momentum=settings.batch_norm_momentum)
        self._settings = settings
        _start_residuals_at_zero(self.module)
        self._drop_path = (
            ScheduledDropPath(self.module, network.paths(), settings.drop_path_keep)
            if settings.drop_path_keep < 1 and isinstance(network, CellNetwork)
            else None
        )
        weights = settings.class_weights
        self._weights = None if weights is None else torch.tensor(weights)
        self._optimizer = torch.optim.SGD(
            self.module.parameters(),
            settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )

    def step(
        self, images: torch.Tensor, labels: torch.Tensor, share: float, least_share: float
    ) -> float:
        """Return the loss of a batch, before the step that lowers it unless it is not finite.

        Args:
            share: of the training that is done, in [0, 1].
            least_share: what the learning rate goes by at the start, where it would be 0.
        """
        settings = self._settings
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(max(share, least_share))
        if self._drop_path is not None:
            self._drop_path.progress = share
        loss = functional.cross_entropy(
            self.module.train()(images),
            labels,
            weight=self._weights,
            label_smoothing=settings.label_smoothing,
        )
        value = loss.item()
        if math.isfinite(value):
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward([loss])
            self._optimizer.step()
        return value


def classify_torch(module: GraphModule, images: Images, *, batch: int = 250) -> Logits:
    """Return the logits of images ``(n, channels, height, width)``, shape ``(n, classes)``."""
    module.eval()
    with single_thread(), torch.inference_mode():
        parts = [module(part).numpy() for part in torch.split(torch.from_numpy(images), batch)]
    return np.concatenate(parts)


def accuracy(logits: Logits, labels: Labels) -> float:
    """Return the share of rows whose largest logit is at the label."""
    return float(np.mean(logits.argmax(axis=1) == labels))


def evaluate(module: GraphModule, data: Split) -> float:
    """Return the module's accuracy on ``data``."""
    return accuracy(classify_torch(module, data.images), data.labels)


def _start_residuals_at_zero(module: GraphModule) -> None:
    """Let every layer with a skip start as that skip: deep networks then learn from step one.

    Source: Goyal et al. 2017 (zero scale in the last batch norm of a residual branch).
    """
    graph = module.graph
    for operator in graph.operators:
        if isinstance(operator, Add):
            last = graph.operators[operator.inputs[0] - len(graph.inputs)]
            if isinstance(last, Convolution) and last.affine == "batch-norm":
                parameters = dict(module.get_submodule(last.name).named_parameters())
                torch.nn.init.zeros_(parameters["norm.weight"])


def _batches(n: int, batch: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Yield indices of shuffled full batches, epoch after epoch."""
    while True:
        order = torch.from_numpy(rng.permutation(n))
        yield from torch.split(order[: n // batch * batch], batch)


def _check_fit(network: ImageNetwork, data: Split, settings: TrainingSettings) -> None:
    shape, classes = network.input, network.output.channels
    expected = (shape.channels, shape.height, shape.width)
    if data.images.shape[1:] != expected:
        raise TrainingError(
            f"the network reads images {expected}, found {data.images.shape[1:]};"
            " load the data set at the network's resolution and channels"
        )
    if len(data) < 2 or int(data.labels.max()) >= classes:
        raise TrainingError(
            f"the network tells {classes} classes apart,"
            f" found {len(data)} images with labels up to {data.labels.max(initial=0)}"
        )
    if settings.class_weights is not None and len(settings.class_weights) != classes:
        raise TrainingError(
            f"expected {classes} class weights, found {len(settings.class_weights)}"
        )
    if settings.drop_path_keep < 1 and not isinstance(network, CellNetwork):
        raise TrainingError(
            f"only networks of cells drop paths, found a {type(network).__name__}; leave"
            " drop_path_keep at 1"
        )
