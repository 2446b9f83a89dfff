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

from networks.graph import Add, Convolution
from networks.network import Network
from networks.torch_module import GraphModule
from search.datasets import Images, Labels, Split
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

    def __post_init__(self) -> None:
        limits = (self.epochs, self.learning_rate, self.time_budget_s or 1.0)
        if not all(math.isfinite(limit) and limit > 0 for limit in limits):
            raise TrainingError(f"epochs, learning rate and time are greater than 0, found {self}")
        if self.batch < 2 or (self.train_images is not None and self.train_images < 2):
            raise TrainingError(f"batch norm needs batches of 2 or more images, found {self}")
        shares = (self.warmup, self.momentum, self.label_smoothing, self.batch_norm_momentum)
        if not all(0 <= share < 1 for share in shares):
            raise TrainingError(f"a share lies in [0, 1), found {self}")

    def steps(self, n_images: int) -> int:
        """Return the number of steps planned for so many training images."""
        used = min(n_images, self.train_images or n_images)
        return max(1, math.ceil(self.epochs * (used // min(self.batch, used))))

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

    network: Network
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
    network: Network,
    data: Split,
    settings: TrainingSettings,
    *,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> TrainedNetwork:
    """Return the network trained on ``data`` by ``settings``; one seed, one result.

    Args:
        seed: fixes the initial weights and the order of the images.
        progress: called after each step with the share done, in [0, 1].

    Raises:
        TrainingError: the images or labels do not fit the network.
        TrainingDiverged: the loss was no longer finite.
    """
    _check_fit(network, data)
    images = torch.from_numpy(data.images)[: settings.train_images]
    labels = torch.from_numpy(data.labels)[: settings.train_images]
    batches = _batches(len(labels), min(settings.batch, len(labels)), np.random.default_rng(seed))
    losses: list[float] = []
    started, started_cpu = time.perf_counter(), time.thread_time()

    with single_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = GraphModule(network.graph(), momentum=settings.batch_norm_momentum).train()
        _start_residuals_at_zero(module)
        optimizer = torch.optim.SGD(
            module.parameters(),
            settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )
        n_steps = settings.steps(len(data))
        for step in range(n_steps):
            spent = time.perf_counter() - started
            share = max(step / n_steps, spent / (settings.time_budget_s or math.inf))
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(max(share, 1 / n_steps / 2))
            chosen = next(batches)
            loss = functional.cross_entropy(
                module(images[chosen]), labels[chosen], label_smoothing=settings.label_smoothing
            )
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainingDiverged(
                    f"the loss is {losses[-1]} at step {step + 1} of {n_steps};"
                    f" lower the learning rate of {settings.learning_rate:g}"
                )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward([loss])
            optimizer.step()
            if progress is not None:
                progress(max(share, (step + 1) / n_steps))
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    return TrainedNetwork(
        network, settings, seed, state, tuple(losses),
        time.perf_counter() - started, time.thread_time() - started_cpu,
    )  # fmt: skip


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


def _check_fit(network: Network, data: Split) -> None:
    shape = network.input
    expected = (shape.channels, shape.height, shape.width)
    if data.images.shape[1:] != expected:
        raise TrainingError(
            f"the network reads images {expected}, found {data.images.shape[1:]};"
            " load the data set at the network's resolution and channels"
        )
    if len(data) < 2 or int(data.labels.max()) >= network.output.channels:
        raise TrainingError(
            f"the network tells {network.output.channels} classes apart,"
            f" found {len(data)} images with labels up to {data.labels.max(initial=0)}"
        )
